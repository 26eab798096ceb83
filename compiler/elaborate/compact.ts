/** Structured pruning in programs: a forward pass is elaborated as it is written, then made smaller before gradients are taken. */
import { elementCount } from '../../common/elements.ts';
import { CannotCompact, compactInto, keptOf, type Kept } from '../compact/compact.ts';
import { diagnose, Problem, refuse, type Diagnostics } from '../base/diagnostics.ts';
import type { Builder } from '../graph/build.ts';
import type { Graph, Value as GraphValue } from '../graph/graph.ts';
import { interpretGraph } from '../graph/interpret.ts';
import type { Tensor } from '../graph/op.ts';
import { mapped, type ValueMap } from '../graph/rewrite.ts';
import { createBuilder } from '../ops/builder.ts';
import { concrete } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';
import { evaluateBody, sumAndCount } from './bodies.ts';
import type { Context } from './context.ts';
import type { DataDescription } from './describe.ts';
import { createContext } from './evaluate.ts';
import { judge, purposeOf, type PlannedPrune } from './prune.ts';
import type { TrainBlock } from './train.ts';
import { slotPath, type Slot } from './value.ts';

/** The type of a parameter or buffer as the programs of the block have it. */
export function typeOf({ kept }: TrainBlock, slot: Slot): TensorType {
  const positions = kept.get(slotPath(slot));
  if (positions === undefined) return slot.type;
  return { ...slot.type, shape: slot.type.shape.map((size, axis) => positions[axis]?.length ?? size) };
}

const columnsOf = 'columns.';

/** The columns that stay, by path, from the results of the program below. */
export const readColumns = (
  results: Iterable<readonly [string, Iterable<number>]>,
): Record<string, readonly number[]> =>
  Object.fromEntries(
    [...results].map(([name, stays]) => [
      name.slice(columnsOf.length),
      [...stays].flatMap((kept, at) => (kept === 0 ? [] : [at])),
    ]),
  );

/** Which columns of each pruned weight stay: a result for each. */
export function buildColumns(block: TrainBlock, diagnostics: Diagnostics): Graph {
  const build = createBuilder(`${block.name}.columns`);
  const context = createContext(build, diagnostics);
  for (const prune of block.prunes)
    if (prune.structured)
      for (const slot of prune.weights) {
        build.origin = { span: prune.span, path: slotPath(slot) };
        const found = judge(context, prune, build.input(slotPath(slot), 'param', slot.type), build.constant(0, 'f32'));
        if (found.kind === 'tensor')
          build.output(`${columnsOf}${slotPath(slot)}`, 'result', build.cast(found.value, 'i32'));
      }
  return build.finish();
}

/** Weights that interpreting a pruner takes no noticeable time for. */
const fewWeights = 2 ** 21;

/** Weights of a line that have the same shape share a guess, that of the first. */
const standIn = ({ weights }: PlannedPrune, slot: Slot): Slot =>
  weights.find(({ type }) => type.shape.join() === slot.type.shape.join()) ?? slot;

/** What a pruner would leave of weights that are all different, before there are any: as many columns as it will. */
export function guessColumns(
  block: TrainBlock,
  diagnostics: Diagnostics,
): Record<string, readonly number[]> | undefined {
  const prunes = block.prunes.filter(({ structured }) => structured);
  const judged = prunes.map((prune) => ({
    ...prune,
    weights: prune.weights.filter((slot) => standIn(prune, slot) === slot),
  }));
  const graph = buildColumns({ ...block, prunes: judged }, diagnostics);
  const sizes = graph.inputs.map(({ value }) => elementCount(concrete(value.type.shape)));
  if (graph.outputs.length === 0 || Math.max(...sizes) > fewWeights) return undefined;
  const weights = graph.inputs.map(({ name, value: { type } }, at): [string, Tensor] => [
    name,
    { type, data: Float64Array.from({ length: sizes[at] }, (_, place) => ((place * 0.6180339887498949) % 1) - 0.5) },
  ]);
  const verdicts = interpretGraph(graph, new Map(weights), { precision: 'f64' });
  const columns = readColumns([...verdicts].map(([name, { data }]) => [name, data]));
  return Object.fromEntries(
    prunes.flatMap((prune) =>
      prune.weights.map((slot) => [slotPath(slot), columns[slotPath(standIn(prune, slot))]] as const),
    ),
  );
}

/**
 * The block without all that goes where only these columns of pruned weights stay. Weights that go together are judged by the first:
 * what it took away is not taken again. Throws a Problem that names the line which forbids it.
 */
export function compactBlock(
  block: TrainBlock,
  columns: Readonly<Record<string, readonly number[]>>,
  data: DataDescription | undefined,
  diagnostics: Diagnostics,
): TrainBlock {
  refuseNone(block, columns);
  const context = createContext(createBuilder(block.name), diagnostics, { training: true });
  const loss = evaluateBody(context, block, block.data, data, block.batch, block.loss.parameters, block.loss.body);
  const { sum, count } = sumAndCount(context, loss, block.loss.body.span);
  const graph = forwardGraph({ context, values: [sum, count] });
  let removed = new Map<string, number[]>();
  let kept = new Map<string, Kept>();
  for (const prune of block.prunes.filter(({ structured }) => structured))
    for (const slot of prune.weights) {
      const path = slotPath(slot);
      const stays = new Set(columns[path]);
      const last = slot.type.shape.length - 1;
      if (kept.get(path)?.[last] !== undefined) continue;
      const gone = Array.from({ length: columnsIn(slot) }, (_, at) => at).filter((at) => !stays.has(at));
      removed = new Map([...removed, [path, gone]]);
      kept = explained([prune], () => keptOf(graph, removed));
    }
  return { ...block, kept };
}

const columnsIn = ({ type: { shape } }: Slot): number => Number(shape[shape.length - 1]);

/** Refuses a line by which no column of one of its weights stays. */
export function refuseNone(block: TrainBlock, columns: Readonly<Record<string, readonly number[]>>): void {
  for (const { weights, pruner, span } of block.prunes.filter(({ structured }) => structured))
    for (const slot of weights)
      if (columns[slotPath(slot)]?.length === 0)
        refuse(
          'keeps-no-column',
          { name: pruner.declaration.name.name, path: slotPath(slot), columns: columnsIn(slot) },
          [span],
          { hint: 'Columns stay or go as a whole: keep a larger part of them.' },
        );
}

/** Refuses a line by which every column of all its weights stays: what was asked for is not what happens. */
export function refuseIdle(block: TrainBlock, columns: Readonly<Record<string, readonly number[]>>): void {
  for (const { weights, pruner, span } of block.prunes.filter(({ structured }) => structured))
    if (weights.every((slot) => columns[slotPath(slot)]?.length === columnsIn(slot)))
      refuse(
        'removes-no-column',
        {
          name: pruner.declaration.name.name,
          paths: weights.map((slot) => `\`${slotPath(slot)}\` (it has ${columnsIn(slot)})`).join(', '),
        },
        [span],
        {
          hint: 'Columns stay or go as a whole, and the part that goes is rounded to whole ones: keep less, or leave the line out.',
        },
      );
}

/** A forward pass as far as it was built, and values in it that are still needed. */
export interface Forward {
  readonly context: Context;
  readonly values: readonly GraphValue[];
}

/** The forward pass without what was removed: another graph. */
export function compactForward(block: TrainBlock, name: string, forward: Forward): Forward {
  if (block.kept.size === 0) return forward;
  const build = createBuilder(name);
  return rebuilt(
    forward,
    build,
    explained(block.prunes, () => compactInto(build, forwardGraph(forward), block.kept)),
  );
}

/** The forward pass in the graph that it was rewritten into. */
export function rebuilt({ context, values }: Forward, build: Builder, now: ValueMap): Forward {
  const at = (value: GraphValue): GraphValue => mapped(now, value);
  const rewritten = createContext(build, context.diagnostics, {
    training: context.training === true,
    ...(context.step !== undefined && now.has(context.step) && { step: at(context.step) }),
  });
  for (const [slot, value] of context.slots) rewritten.slots.set(slot, at(value));
  for (const [slot, value] of context.updates) rewritten.updates.set(slot, at(value));
  return { context: rewritten, values: values.map(at) };
}

/** What was built so far; a buffer and its next value have the same name. */
export function forwardGraph({ context: { root, updates }, values }: Forward): Graph {
  return {
    name: 'forward',
    inputs: root.inputs,
    nodes: root.nodes,
    outputs: [
      ...values.map((value, at) => ({ name: `value${at}`, role: 'result', value }) as const),
      ...[...updates].map(([slot, value]) => ({ name: slotPath(slot), role: 'update', value }) as const),
    ],
  };
}

/** Says which line forbids it; of several, the first that removes columns. */
function explained<T>(prunes: readonly PlannedPrune[], work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof CannotCompact)) throw error;
    const line = prunes.find(({ structured }) => structured);
    const where = error.node?.origin.span;
    throw new Problem(
      diagnose(
        'cannot-compact',
        { why: error.why },
        [
          ...(line === undefined ? [] : [{ span: line.span, text: '' }]),
          ...(where === undefined ? [] : [{ span: where, text: 'here' }]),
        ],
        {
          hint: 'Prune what lies before it by element: `magnitude` keeps all shapes. Or leave this weight out of the selector.',
          notes: [
            ...(error.node?.origin.path === undefined ? [] : [`inside \`${error.node.origin.path}\``]),
            ...(line === undefined ? [] : purposeOf(line.pruner)),
          ],
        },
      ),
    );
  }
}
