/** Is a line `prune … every …` ever due, and does its schedule let anything go by then? What a run has no step for is said before it. */
import { diagnose, Diagnostics, Problem, type Diagnostic } from '../base/diagnostics.ts';
import { createBuilder } from '../ops/builder.ts';
import { typeOf } from './compact.ts';
import { maskingOf, masksOf } from './masks.ts';
import { ofWeight, type PlannedPrune } from './prune.ts';
import type { TrainBlock } from './train.ts';
import { slotPath } from './value.ts';

/** More steps than this are not asked after: a schedule of one's own may do anything in between. */
const mostAsked = 1000;

/** The steps of the whole run, as the block says; undefined where the number of samples is needed and not known. */
export function stepsOf(block: TrainBlock, samples: number | undefined): number | undefined {
  const { epochs, steps = Infinity, accumulate } = block;
  if (epochs === undefined) return steps;
  const batches = samples === undefined ? undefined : batchesOf(block, samples);
  return batches === undefined ? undefined : Math.min(steps, epochs * Math.ceil(batches / accumulate));
}

/** The batches of an epoch. */
export function batchesOf({ data: { plan }, batch }: TrainBlock, samples: number): number {
  const whole = samples / batch;
  return plan.kind === 'batch' && plan.last === 'drop' ? Math.floor(whole) : Math.ceil(whole);
}

/** Reports the lines that this many steps never come to, or come to with nothing to prune. */
export function checkDue(block: TrainBlock, steps: number, diagnostics: Diagnostics): void {
  for (const prune of maskingOf(block)) {
    const { every, span } = prune;
    if (every === undefined) continue;
    const times = Math.ceil(steps / every) - 1;
    if (times < 1)
      diagnostics.report(
        diagnose('prunes-after-the-end', { every, steps }, [{ span, text: '' }], {
          hint: 'Say a smaller `every`, or train for longer.',
        }),
      );
    else if (times <= mostAsked) {
      const idle = idleThroughout(block, prune, every, times);
      if (idle !== undefined)
        diagnostics.report({
          ...idle,
          notes: [...idle.notes, `it prunes after ${shownSteps(every, times)}, and at none of them is it otherwise`],
          hint: `The run has ${steps} steps: let the schedule begin earlier, or let more go.`,
        });
    }
  }
}

const shownSteps = (every: number, times: number): string =>
  times === 1
    ? `step ${every}`
    : `the steps ${[every, 2 * every, ...(times > 3 ? ['…'] : []), ...(times > 2 ? [times * every] : [])].join(', ')}`;

/** What the pruner says of a weight after the last step, if it says something of that kind after every one. */
function idleThroughout(block: TrainBlock, prune: PlannedPrune, every: number, times: number): Diagnostic | undefined {
  const judged = prune.globally ? [prune.weights] : prune.weights.map((slot) => [slot]);
  const verdicts = judged.map((weights) => {
    let last: Diagnostic | undefined;
    // The last first: it is where a schedule has come to something.
    for (let time = times; time >= 1; time--) {
      const refused = refusedAt(block, { ...prune, weights }, time * every);
      if (refused === undefined) return undefined;
      last ??= refused;
    }
    return last;
  });
  const at = verdicts.findIndex((verdict) => verdict !== undefined);
  const verdict = verdicts[at];
  // What is so of every weight is no matter of the weight.
  if (verdict === undefined || !verdicts.includes(undefined)) return verdict;
  const [slot] = judged[at];
  return ofWeight(slotPath(slot), typeOf(block, slot), prune, verdict);
}

function refusedAt(block: TrainBlock, prune: PlannedPrune, step: number): Diagnostic | undefined {
  const build = createBuilder('prune');
  const diagnostics = new Diagnostics();
  const weights = prune.weights.map((slot) => ({
    path: slotPath(slot),
    value: build.input(slotPath(slot), 'param', typeOf(block, slot)),
  }));
  try {
    masksOf(build, prune, weights, build.constant(step, 'u32'), diagnostics);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return undefined;
  }
  return diagnostics.all.find(({ code }) => code === 'requirement');
}
