/**
 * Pruning in programs. A mask is a state: which elements of a weight are kept. The prune program computes it from the weight and
 * sets what is not kept to 0; in a training step the gradients and the next values of a pruned weight pass through its mask, so
 * that what is 0 stays 0, whatever the optimizer remembers. The forward pass reads weights as they are.
 */
import { elementCount, totalElements } from '../../common/elements.ts';
import { maskName } from '../../common/state-names.ts';
import { diagnose, Diagnostics, Problem } from '../base/diagnostics.ts';
import type { Builder } from '../graph/build.ts';
import type { Graph, Value as GraphValue } from '../graph/graph.ts';
import { createBuilder } from '../ops/builder.ts';
import { concrete } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';
import type { Context } from './context.ts';
import { typeOf } from './compact.ts';
import { createContext } from './evaluate.ts';
import { optimizerStates, stateName } from './optimizer.ts';
import { judge, ofWeight, type PlannedPrune } from './prune.ts';
import type { TrainBlock } from './train.ts';
import { describe, pathOf, showType, slotPath, type Slot } from './value.ts';

const rewindName = (path: string): string => `rewind.${path}`;
const maskType = (block: TrainBlock, slot: Slot): TensorType => ({ dtype: 'bool', shape: typeOf(block, slot).shape });

/** The lines that keep masks. */
export const maskingOf = ({ prunes }: TrainBlock): PlannedPrune[] => prunes.filter(({ structured }) => !structured);

const trainedOf = ({ parameters }: TrainBlock): TrainBlock['parameters'] =>
  parameters.filter(({ optimizer }) => optimizer !== undefined);

/** The states that pruning keeps: a mask of each pruned weight, and what trained weights go back to. */
export function pruneStates(
  block: TrainBlock,
): { readonly name: string; readonly type: TensorType; readonly initial: number }[] {
  const masks = maskingOf(block)
    .flatMap(({ weights }) => weights)
    .map((slot) => ({ name: maskName(slotPath(slot)), type: maskType(block, slot), initial: 1 }));
  if (block.prunes.every(({ rewind }) => rewind === undefined)) return masks;
  return [
    ...masks,
    ...trainedOf(block).map(({ path, slot }) => ({ name: rewindName(path), type: typeOf(block, slot), initial: 0 })),
  ];
}

/** Lets through what the mask of a weight keeps, the rest becomes 0; weights that are not pruned are let through whole. */
export function createMasks(build: Builder, block: TrainBlock): (value: GraphValue, slot: Slot) => GraphValue {
  const pruned = new Map(maskingOf(block).flatMap(({ weights, span }) => weights.map((slot) => [slot, span] as const)));
  const masks = new Map<Slot, GraphValue>();
  return (value, slot) => {
    const span = pruned.get(slot);
    if (span === undefined) return value;
    const mask = masks.get(slot) ?? build.input(maskName(slotPath(slot)), 'state', maskType(block, slot));
    masks.set(slot, mask);
    const { origin } = build;
    build.origin = { span, path: pathOf(slot.owner) };
    const kept = build.where(mask, value, build.constant(0, value.type.dtype, value.type.shape));
    build.origin = origin;
    return kept;
  };
}

/** Computes the masks of one line anew and applies them. Result: `sparsity`, the part of its weights that is 0. */
export function buildPrune(block: TrainBlock, index: number, diagnostics: Diagnostics): Graph {
  const build = createBuilder(`${block.name}.prune`);
  const prune = maskingOf(block)[index];
  // Once means before the first step: what a schedule says of that is known.
  const step =
    prune.every === undefined ? build.constant(0, 'u32') : build.input('step', 'scalar', { dtype: 'u32', shape: [] });
  const context = createContext(build, diagnostics, { step });
  build.origin = { span: prune.span };
  const weights = prune.weights.map((slot) => ({
    slot,
    path: slotPath(slot),
    value: build.input(slotPath(slot), 'param', typeOf(block, slot)),
  }));
  const masks = masksOf(build, prune, weights, step, diagnostics);
  const rewound = prune.rewind === undefined ? undefined : rewind(context, block);
  const zero = (value: GraphValue): GraphValue => build.constant(0, value.type.dtype, value.type.shape);
  weights.forEach(({ slot, path, value }, at) => {
    const before = rewound?.get(slot) ?? value;
    rewound?.delete(slot);
    build.output(maskName(path), 'update', masks[at]);
    build.output(path, 'update', build.where(masks[at], before, zero(before)));
  });
  for (const [slot, before] of rewound ?? []) build.output(slotPath(slot), 'update', before);
  build.output('sparsity', 'result', sparsityOf(build, masks));
  return build.finish();
}

/** A weight of a line in a program. */
interface Judged {
  readonly path: string;
  readonly value: GraphValue;
}

/** What stays of each of the weights of a line after a step. */
export function masksOf(
  build: Builder,
  prune: PlannedPrune,
  weights: readonly Judged[],
  step: GraphValue,
  diagnostics: Diagnostics,
): readonly GraphValue[] {
  const at = build.cast(step, 'f32');
  const mask = (value: GraphValue, own: Diagnostics): GraphValue =>
    maskOf(createContext(build, own, { step }), prune, value, at);
  if (prune.globally) return together(build, weights, (all) => asOne(() => mask(all, diagnostics)));
  const verdicts = weights.map((weight) => {
    const own = new Diagnostics();
    return { weight, own, mask: about(weight, prune, () => mask(weight.value, own)) };
  });
  // What is wrong with every weight is no matter of the weight.
  const isOfSome = verdicts.some(({ own }) => own.isEmpty);
  for (const { weight, own } of verdicts)
    for (const diagnostic of own.all)
      diagnostics.report(
        isOfSome
          ? ofWeight(weight.path, weight.value.type, prune, diagnostic)
          : { ...diagnostic, ...(beginsIdle(prune) && { hint: diagnostic.hint ?? onlyOnce }) },
      );
  return verdicts.map((verdict) => verdict.mask);
}

/** A schedule that is asked once, before the first step. */
const beginsIdle = ({ every, pruner: { hyper } }: PlannedPrune): boolean =>
  every === undefined && [...hyper.values()].some(({ value }) => value.kind === 'function');
const onlyOnce =
  'Without `every` this prunes once, before the first step, where a schedule begins with little or nothing: say `every 100`.';

/** Keeps the trained weights as they are now, for a later rewind. */
export function buildSnapshot(block: TrainBlock): Graph {
  const build = createBuilder(`${block.name}.snapshot`);
  for (const { path, slot } of trainedOf(block))
    build.output(rewindName(path), 'update', build.input(path, 'param', typeOf(block, slot)));
  return build.finish();
}

/** What a pruner says of a weight: bool, of its shape. */
function maskOf(context: Context, prune: PlannedPrune, weight: GraphValue, step: GraphValue): GraphValue {
  const { span, pruner } = prune;
  const found = judge(context, prune, weight, step);
  const wanted = showType({ dtype: 'bool', shape: weight.type.shape });
  if (found.kind === 'tensor' && showType(found.value.type) === wanted) return found.value;
  // Why it is unknown was said already.
  if (found.kind === 'unknown' && !context.diagnostics.isEmpty)
    return context.root.constant(1, 'bool', weight.type.shape);
  throw new Problem(
    diagnose('not-a-mask', { name: pruner.declaration.name.name, wanted, found: describe(found) }, [
      { span, text: '' },
      { span: pruner.declaration.name.span, text: '' },
    ]),
  );
}

/** Says of what goes wrong within which weight it is about. */
function about<T>(weight: Judged, prune: PlannedPrune, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new Problem(ofWeight(weight.path, weight.value.type, prune, error.diagnostic));
  }
}

/** Says of what goes wrong that all weights in a row are a list of numbers, which may be what is wrong. */
function asOne<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Problem) || error.diagnostic.hint !== undefined) throw error;
    const hint = 'With `globally` the pruner is given one list of all their numbers: without it, each weight as it is.';
    throw new Problem({ ...error.diagnostic, hint });
  }
}

/** One mask for all weights in a row, cut into theirs. */
function together(build: Builder, weights: readonly Judged[], judge: (all: GraphValue) => GraphValue): GraphValue[] {
  const sizes = weights.map(({ value }) => elementCount(concrete(value.type.shape)));
  const flat = weights.map(({ value }, at) => build.reshape(value, [sizes[at]]));
  const mask = judge(build.concat(flat, 0));
  let start = 0;
  return weights.map(({ value }, at) => {
    const part = build.slice(mask, 0, start, sizes[at]);
    start += sizes[at];
    return build.reshape(part, value.type.shape);
  });
}

/** What every trained weight was; the optimizer begins anew. */
function rewind(context: Context, block: TrainBlock): Map<Slot, GraphValue> {
  const build = context.root;
  return new Map(
    trainedOf(block).map(({ path, slot, optimizer }) => {
      if (optimizer !== undefined)
        for (const { name, initial } of optimizerStates(context, optimizer, typeOf(block, slot)))
          build.output(stateName(name, path), 'update', initial);
      return [slot, build.input(rewindName(path), 'state', typeOf(block, slot))];
    }),
  );
}

function sparsityOf(build: Builder, masks: readonly GraphValue[]): GraphValue {
  const kept = masks.map((mask) =>
    build.reduce(
      'sum',
      build.cast(mask, 'f32'),
      mask.type.shape.map((_, axis) => axis),
    ),
  );
  const count = totalElements(masks.map(({ type }) => ({ shape: concrete(type.shape) })));
  const whole = kept.reduce((sum, one) => build.binary('add', sum, one));
  return build.binary('sub', build.constant(1, 'f32'), build.binary('div', whole, build.constant(count, 'f32')));
}
