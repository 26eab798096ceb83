/** Pruning between two steps: which lines of the plan are due, and their programs. */
import { maskedBy } from '../common/state-names.ts';
import { placed, UserError } from './errors.ts';
import type { Programs, TrainPlan } from './program.ts';
import { chooseInputs, guardDevice, scalarsOf } from './step.ts';

/** What a line of the plan did to its weights. */
export type Pruned = {
  /** The part of the line's weights that is 0 now. */
  readonly sparsity: number;
  /** The step whose weights they went back to; null where they did not. */
  readonly rewind: number | null;
};

type PlannedPrune = NonNullable<TrainPlan['prunes']>[number];

const isDue = ({ every }: PlannedPrune, step: number): boolean =>
  every === undefined ? step === 0 : step > 0 && step % every === 0;

/** Does pruning look at the weights, or keep them, after `step`? */
export const isPruneDue = ({ prunes = [] }: TrainPlan, step: number): boolean =>
  prunes.some((prune) => isDue(prune, step) || prune.rewind === step);

/** Prunes what is due after `step`, and keeps the weights where a later rewind will want them. */
export async function pruneDue(plan: TrainPlan, programs: Programs, step: number): Promise<Pruned[]> {
  const done: Pruned[] = [];
  for (const [index, prune] of (plan.prunes ?? []).entries()) {
    const { rewind } = prune;
    if (isDue(prune, step)) {
      const program = await programs.prune(index);
      const inputs = chooseInputs(program, new Map(), scalarsOf(plan.seed, step, 0, 0));
      const results = await guardDevice(step, () => program.run(inputs));
      const sparsity = results.get('sparsity');
      if (sparsity === undefined) throw new Error('the prune program gave no sparsity');
      if (prune.every === undefined && sparsity[0] === 0)
        throw placed(
          new UserError(
            'prunes-nothing',
            'This prunes once, before the first step, and no weight becomes 0.',
            'A schedule begins with little or nothing: say `every 100`, and it goes on. Or give a larger number.',
          ),
          prune.place,
        );
      if (sparsity[0] === 1)
        throw placed(
          new UserError('prunes-everything', 'This sets every weight that it selects to 0.', 'Give a smaller number.'),
          prune.place,
        );
      done.push({ sparsity: sparsity[0], rewind: rewind ?? null });
    }
    if (rewind === step) {
      const program = await programs.snapshot();
      await guardDevice(step, () => program.run(new Map()));
    }
  }
  return done;
}

/** Refuses to go on with a run whose first weights were pruned by other lines than the file has now: what is gone is gone. */
export function refuseOtherPruning(run: string, before: TrainPlan, now: TrainPlan): void {
  refuseOtherWeights(run, before, now);
  if (JSON.stringify(before.prunedFirst) === JSON.stringify(now.prunedFirst)) return;
  const shown = ({ prunedFirst = [] }: TrainPlan): string =>
    prunedFirst.map(({ line }) => line).join('; ') || 'nothing';
  const [then, asked] = [shown(before), shown(now)];
  throw new UserError(
    'resume-pruned',
    `Before its first step ${run} pruned ${then}; the file now says ${then === asked ? 'the same of a pruner that is defined otherwise' : asked}. That is not done again in a run that goes on.`,
    'Write it as it was (config.json has the file), or start a new run.',
  );
}

/** Masks are states: the weights that lines prune more than once are those that have one. */
function refuseOtherWeights(run: string, before: TrainPlan, now: TrainPlan): void {
  const masked = ({ states }: TrainPlan): string[] => states.flatMap(({ name }) => maskedBy(name) ?? []);
  const [then, asked] = [masked(before), masked(now)];
  const [lost, added] = [then.filter((path) => !asked.includes(path)), asked.filter((path) => !then.includes(path))];
  if (lost.length + added.length === 0) return;
  const list = (paths: readonly string[]): string => paths.map((path) => `\`${path}\``).join(', ');
  const why = [
    ...(lost.length > 0
      ? [`it prunes ${list(lost)}, which the file does not any more: what is 0 would not stay 0`]
      : []),
    ...(added.length > 0 ? [`the file prunes ${list(added)}, which it did not`] : []),
  ];
  throw new UserError(
    'resume-pruned',
    `${run} cannot go on like this: ${why.join('; and ')}.`,
    'Write it as it was (config.json has the file), or start a new run and load its weights.',
  );
}
