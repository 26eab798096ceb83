/** The lines `prune … with …` of a train block, resolved. What they ask of the programs is in masks.ts. */
import type { TrainPrune } from '../../grammar/ast.ts';
import type { TrainPlan } from '../../runtime/program.ts';
import { Diagnostics, Problem, refuse, type Diagnostic } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import type { Value as GraphValue } from '../graph/graph.ts';
import { createBuilder } from '../ops/builder.ts';
import type { TensorType } from '../types/tensor.ts';
import { apply } from './calls.ts';
import type { Context } from './context.ts';
import { createContext } from './evaluate.ts';
import { claims } from './selectors.ts';
import { describe, showType, slotPath, tensor, type FunctionValue, type Slot, type Value } from './value.ts';

/** A line `prune`, resolved. */
export interface PlannedPrune {
  readonly weights: readonly Slot[];
  /** (weight, step) → which elements are kept. */
  readonly pruner: FunctionValue;
  /** The pruner in the file, with its hyperparameters. */
  readonly written: Span;
  /** The weights are judged together, as one. */
  readonly globally: boolean;
  /** It says which columns of the last axis stay, not which elements: the others, and all that goes with them, are removed. */
  readonly structured: boolean;
  /** Undefined: once, before the first step. */
  readonly every: number | undefined;
  /** The step after which the weights were what they become again. */
  readonly rewind: number | undefined;
  readonly span: Span;
}

/** Resolves the lines; `whole` reads a number of steps. Throws a Problem with what is wrong. */
export function resolvePrunes(
  entries: readonly TrainPrune[],
  slots: readonly Slot[],
  value: (expression: TrainPrune['pruner']) => Value,
  whole: (name: string, expression: TrainPrune['pruner'], least: 0 | 1) => number,
): PlannedPrune[] {
  const claim = claims(
    'prunes-nothing',
    'pruned-twice',
    ({ declaration }) => declaration.role === 'param',
    'Buffers are not pruned: select parameters, as `*.weight`.',
  );
  const prunes = entries.map((entry) => {
    const weights = claim(entry, slots);
    const pruner = value(entry.pruner);
    if (pruner.kind !== 'function')
      return refuse(
        'bad-setting',
        { name: 'prune … with', wanted: 'a pruner, as `magnitude{sparsity: 0.8}`', found: describe(pruner) },
        [entry.pruner.span],
      );
    const every = entry.every && whole('every', entry.every, 1);
    const rewind = entry.rewind && whole('rewind', entry.rewind, 0);
    if (entry.rewind !== undefined && rewind !== undefined) {
      if (every === undefined)
        return refuse('rewinds-nowhere', { rewind }, [entry.rewind.span], {
          hint: 'Say when it is pruned, later than that: `every 1000 rewind 0`.',
        });
      if (rewind >= every)
        return refuse('rewinds-too-late', { rewind, every }, [entry.rewind.span], {
          hint: `Let them go back to an earlier step: \`every ${every} rewind 0\`.`,
        });
    }
    const { globally, span } = entry;
    const prune = { weights, pruner, written: entry.pruner.span, globally, structured: false, every, rewind, span };
    if (!judgesColumns(prune)) return prune;
    const words = { globally: entry.globally, every: entry.every !== undefined, rewind: entry.rewind !== undefined };
    for (const [word, isThere] of Object.entries(words))
      if (isThere) return refuse('columns-once', { word }, [entry.span]);
    return { ...prune, structured: true };
  });
  const rewinding = entries.filter(({ rewind }) => rewind !== undefined);
  if (rewinding.length > 1)
    return refuse('repeated-setting', { name: 'rewind' }, [rewinding[1].span, rewinding[0].span], {
      hint: 'All weights that are trained go back together, so one line says when.',
    });
  return prunes;
}

/** What a pruner says of a weight. */
export function judge(
  context: Context,
  { pruner, span }: Pick<PlannedPrune, 'pruner' | 'span'>,
  weight: GraphValue,
  step: GraphValue,
): Value {
  const given = [weight, step].map((value) => ({ value: tensor(value), span }));
  return apply(context, pruner, given, span);
}

/** What a pruner is for, in the first sentence of its doc comment: a weight that it does not fit is seldom one that it was made for. */
export function purposeOf({ declaration: { name, doc } }: FunctionValue): readonly string[] {
  const sentence = doc === undefined ? undefined : /^.*?[.:](?=\s|$)/.exec(doc.replace(/\s+/g, ' '))?.[0];
  return sentence === undefined ? [] : [`\`${name.name}\`: ${sentence.replace(/:$/, '.')}`];
}

/** The lines that prune once, before the first step: what a run that goes on does not do again. */
export const prunesOnce = (prunes: readonly PlannedPrune[]): NonNullable<TrainPlan['prunedFirst']> =>
  prunes
    .filter(({ every }) => every === undefined)
    .map(({ weights, pruner, globally }) => {
      const { span } = pruner.declaration;
      const isOwn = !span.source.name.startsWith('stdlib/');
      return {
        line: `${weights.map(slotPath).join(', ')} with ${writtenOut(pruner)}${globally ? ' globally' : ''}`,
        ...(isOwn && { definition: span.source.text.slice(span.start, span.end).replace(/\s+/g, ' ') }),
      };
    });

/** `magnitude{sparsity: 0.8}`, with numbers as they came out. */
function writtenOut(value: Value): string {
  if (value.kind !== 'function')
    return 'value' in value && typeof value.value !== 'object' ? String(value.value) : describe(value);
  const given = [...value.hyper].map(([name, fixed]) => `${name}: ${writtenOut(fixed.value)}`);
  return `${value.declaration.name.name}${given.length === 0 ? '' : `{${given.join(', ')}}`}`;
}

/** Says of what goes wrong with a weight of a line which weight it is. */
export const ofWeight = (
  path: string,
  type: TensorType,
  { pruner }: Pick<PlannedPrune, 'pruner'>,
  diagnostic: Diagnostic,
): Diagnostic => ({
  hint: 'Select other weights, or give this one a pruner of its own.',
  ...diagnostic,
  notes: [`the weight is \`${path}\`, ${showType(type)}`, ...purposeOf(pruner), ...diagnostic.notes],
});

function attempt(work: () => Value): Value | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return undefined;
  }
}

/** Is it about columns? What is wrong with it is said when its program is checked. */
function judgesColumns(prune: PlannedPrune): boolean {
  const verdicts = prune.weights.map((slot) => {
    const build = createBuilder('prune');
    const weight = build.input('weight', 'param', slot.type);
    const diagnostics = new Diagnostics();
    const found = attempt(() => judge(createContext(build, diagnostics), prune, weight, build.constant(0, 'f32')));
    const { shape } = slot.type;
    const ofColumns =
      found?.kind === 'tensor' &&
      shape.length > 1 &&
      found.value.type.dtype === 'bool' &&
      found.value.type.shape.length === 1 &&
      found.value.type.shape[0] === shape[shape.length - 1];
    return { slot, ofColumns, problem: diagnostics.sorted().at(0) };
  });
  if (!verdicts.every(({ ofColumns }) => ofColumns)) return false;
  // Of other pruners it is said when their program is built; these have none.
  for (const { slot, problem } of verdicts)
    if (problem !== undefined)
      throw new Problem(
        verdicts.some((other) => other.problem === undefined)
          ? ofWeight(slotPath(slot), slot.type, prune, problem)
          : problem,
      );
  return true;
}
