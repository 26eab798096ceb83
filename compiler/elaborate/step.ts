/**
 * The programs of a train block as Tensor IR: one graph each for a training step (forward, backward, clip, update, metrics),
 * an evaluation step, and the first values of everything.
 */
import type { StepPhase, TrainPlan } from '../../runtime/program.ts';
import type { Diagnostics } from '../base/diagnostics.ts';
import { showPlace } from '../base/source.ts';
import { differentiate } from '../differentiate/differentiate.ts';
import type { Builder } from '../graph/build.ts';
import type { Graph, Value as GraphValue } from '../graph/graph.ts';
import { createBuilder } from '../ops/builder.ts';
import { concrete } from '../types/dim.ts';
import { evaluateBody, metricsOf, sumAndCount } from './bodies.ts';
import type { Context } from './context.ts';
import { batched } from './data.ts';
import type { DataDescription } from './describe.ts';
import { createContext } from './evaluate.ts';
import { initialize } from './initialize.ts';
import { lossScaleStates, scaleLoss, type LossScale } from './loss-scale.ts';
import { stateNames, type Mode } from '../quantize/forward.ts';
import { compactForward, typeOf, type Forward } from './compact.ts';
import { quantizedWeights, quantizeForward, quantizeStates } from './quantize.ts';
import { createMasks, maskingOf, pruneStates } from './masks.ts';
import { prunesOnce } from './prune.ts';
import { applyOptimizer, optimizerStates, stateName } from './optimizer.ts';
import type { PlannedParameter, TrainBlock } from './train.ts';
import { slotPath, type Slot } from './value.ts';

/** What the runtime found behind the block's data, in the order train, then evaluations. */
export interface BoundData {
  readonly train: DataDescription;
  readonly evaluations: readonly DataDescription[];
}

const accumulatedName = (path: string): string => `accumulated.${path}`;
const accumulatedCount = 'accumulated.count';

/** First values of parameters, buffers, optimizer states and accumulators. */
export function buildInit(block: TrainBlock, diagnostics: Diagnostics): Graph {
  const build = createBuilder(`${block.name}.init`);
  const context = createContext(build, diagnostics);
  const cutOff = new Set(block.cutOff.map(({ slot }) => slot));
  for (const root of block.roots.values())
    initialize(
      context,
      root,
      (slot) => cutOff.has(slot),
      (slot) => (block.kept.has(slotPath(slot)) ? typeOf(block, slot) : undefined),
    );
  for (const { path, optimizer, slot } of block.parameters) {
    if (optimizer === undefined) continue;
    for (const state of optimizerStates(context, optimizer, typeOf(block, slot)))
      build.output(stateName(state.name, path), 'update', state.initial);
    if (block.accumulate > 1)
      build.output(accumulatedName(path), 'update', build.constant(0, 'f32', typeOf(block, slot).shape));
  }
  if (block.accumulate > 1) build.output(accumulatedCount, 'update', build.constant(0, 'f32'));
  for (const { name, type, initial } of [...pruneStates(block), ...quantizeStates(block)])
    build.output(name, 'update', build.constant(initial, type.dtype, type.shape));
  if (needsScale(block))
    for (const { name, initial } of lossScaleStates) build.output(name, 'update', build.constant(initial, 'f32'));
  return build.finish();
}

/** Gradients that pass through f16 do. */
const needsScale = ({ precision }: TrainBlock): boolean => precision?.storage === 'f16';

/** The graph, and the precision it is to be computed in. */
const inPrecision = (graph: Graph, { precision }: TrainBlock): Graph =>
  precision === undefined ? graph : { ...graph, precision };

/** The forward pass as it runs: without what was pruned away, with quantized weights. */
export const lowered = (block: TrainBlock, name: string, forward: Forward, mode: Mode): Forward =>
  quantizeForward(block, name, compactForward(block, name, forward), mode);

/** One training step on a batch of this size. */
export function buildStep(
  block: TrainBlock,
  data: DataDescription,
  batch: number,
  phase: StepPhase,
  diagnostics: Diagnostics,
): Graph {
  const written = createBuilder(`${block.name}.step`);
  const number = written.input('step', 'scalar', { dtype: 'u32', shape: [] });
  const whole = createContext(written, diagnostics, { training: true, step: randomStep(written, block, number) });
  const loss = evaluateBody(whole, block, block.data, data, batch, block.loss.parameters, block.loss.body);
  const pair = sumAndCount(whole, loss, block.loss.body.span);
  const {
    context,
    values: [sum, count, step],
  } = lowered(block, `${block.name}.step`, { context: whole, values: [pair.sum, pair.count, number] }, 'simulate');
  const build = context.root;
  build.output('loss.sum', 'result', sum);
  build.output('loss.count', 'result', count);

  const trained = block.parameters.filter((parameter) => parameter.optimizer !== undefined);
  const values = trained.map(({ slot, path }) => {
    const value = context.slots.get(slot);
    if (value === undefined) throw new Error(`${path} was not checked to have a say in the loss`);
    return value;
  });
  build.origin = { span: block.loss.span };
  const scale = needsScale(block) ? scaleLoss(build) : undefined;
  const gradientsOf = (of: GraphValue): GraphValue[] =>
    differentiate(build, scale === undefined ? of : scale.scaled(of), values);
  const buffers = [...context.updates].map(([slot, next]) => ({ name: slotPath(slot), slot, next }));
  if (phase === 'only')
    update(context, block, trained, values, gradientsOf(build.binary('div', sum, count)), step, scale);
  else accumulate(context, block, trained, values, { sum: gradientsOf(sum), count, step, scale }, phase);
  for (const { name, slot, next } of buffers) {
    const before = scale === undefined ? undefined : bufferBefore(build, block, name, slot);
    build.output(name, 'update', before === undefined ? next : (scale?.settledBuffer(next, before) ?? next));
  }
  const graph = inPrecision(build.finish(), block);
  return block.recompute.length === 0 ? graph : { ...graph, recompute: block.recompute };
}

/** What a buffer held when the step began; a step that never read it declares it now. */
const bufferBefore = (build: Builder, block: TrainBlock, name: string, slot: Slot): GraphValue =>
  build.inputs.find((input) => input.name === name)?.value ?? build.input(name, 'state', typeOf(block, slot));

/** One batch of an evaluation: a sum and a count for each metric. */
export function buildEvaluation(
  block: TrainBlock,
  index: number,
  data: DataDescription | undefined,
  batch: number,
  diagnostics: Diagnostics,
): Graph {
  const { declaration, data: pipeline, name } = block.evaluations[index];
  const build = createBuilder(`${block.name}.${name}`);
  const context = createContext(build, diagnostics);
  const metrics = evaluateBody(context, block, pipeline, data, batch, declaration.parameters, declaration.body);
  const pairs = [...metricsOf(metrics, declaration.body.span)].flatMap(([metric, value]) => {
    const { sum, count } = sumAndCount(context, value, declaration.body.span);
    return [
      { name: `${metric}.sum`, value: sum },
      { name: `${metric}.count`, value: count },
    ];
  });
  const values = pairs.map(({ value }) => value);
  const forward = lowered(block, `${block.name}.${name}`, { context, values }, 'integers');
  pairs.forEach(({ name: result }, at) => forward.context.root.output(result, 'result', forward.values[at]));
  return inPrecision(forward.context.root.finish(), block);
}

/** Everything the runtime needs to know besides the programs; `metrics` as `checkTrain` gave them; `columns` made the block small. */
export function planTrain(
  block: TrainBlock,
  data: BoundData,
  metrics: readonly (readonly string[])[],
  diagnostics: Diagnostics,
  columns?: TrainPlan['columns'],
): TrainPlan {
  const context = createContext(createBuilder(block.name), diagnostics);
  const field = (name: string, shape: readonly number[]) => ({ name, dtype: 'f32', shape }) as const;
  const trained = block.parameters.flatMap(({ optimizer, slot, path }) =>
    optimizer === undefined ? [] : [{ optimizer, slot, path }],
  );
  const states = trained.flatMap(({ optimizer, slot, path }) =>
    optimizerStates(context, optimizer, typeOf(block, slot)).map((state) =>
      field(stateName(state.name, path), concrete(typeOf(block, slot).shape)),
    ),
  );
  const accumulated =
    block.accumulate === 1
      ? []
      : [
          ...trained.map(({ slot, path }) => field(accumulatedName(path), concrete(typeOf(block, slot).shape))),
          field(accumulatedCount, []),
        ];
  const scale = needsScale(block) ? lossScaleStates.map(({ name }) => field(name, [])) : [];
  const compressing = [...pruneStates(block), ...quantizeStates(block)].map(({ name, type }) => ({
    name,
    dtype: type.dtype,
    shape: concrete(type.shape),
  }));
  const evaluations = block.evaluations.map((evaluation, index) => {
    const batch = evaluation.data.batch ?? Math.min(250, data.evaluations[index].count);
    const every = block.evalEvery === undefined ? {} : { every: block.evalEvery };
    return { name: evaluation.name, data: batched(evaluation.data, batch), batch, metrics: metrics[index], ...every };
  });
  return {
    version: 1,
    name: block.name,
    seed: block.seed,
    data: batched(block.data, block.batch),
    batch: block.batch,
    ...(block.epochs === undefined ? {} : { epochs: block.epochs }),
    ...(block.steps === undefined ? {} : { steps: block.steps }),
    ...(block.precision === undefined ? {} : { precision: block.precision }),
    ...(columns === undefined ? {} : { columns }),
    ...(maskingOf(block).length === 0
      ? {}
      : {
          prunes: maskingOf(block).map(({ every, rewind, span }) => ({
            ...(every === undefined ? {} : { every }),
            ...(rewind === undefined ? {} : { rewind }),
            place: showPlace(span),
          })),
        }),
    ...(block.prunes.every(({ every }) => every !== undefined) ? {} : { prunedFirst: prunesOnce(block.prunes) }),
    ...(block.quantizes.length === 0 ? {} : { quantization: quantizationOf(block) }),
    accumulate: block.accumulate,
    evaluations,
    saves: block.saves,
    loads: block.loads,
    parameters: block.parameters.map(({ slot, path, optimizer }) => ({
      name: path,
      dtype: typeOf(block, slot).dtype,
      shape: concrete(typeOf(block, slot).shape),
      trained: optimizer !== undefined,
      ...(slot.declaration.tag === undefined ? {} : { tag: slot.declaration.tag.name }),
    })),
    states: [
      ...block.buffers.map((slot) => ({
        name: slotPath(slot),
        dtype: typeOf(block, slot).dtype,
        shape: concrete(typeOf(block, slot).shape),
        buffer: true,
      })),
      ...[...states, ...accumulated, ...scale, ...compressing].map((state) => ({ ...state, buffer: false })),
    ],
  };
}

/** The weights that are saved in few bits, and how many batches are looked at before. */
function quantizationOf(block: TrainBlock): NonNullable<TrainPlan['quantization']> {
  return {
    calibrate: Math.max(...block.quantizes.map(({ calibrate }) => calibrate)),
    weights: quantizedWeights(block).map(({ slot, scheme: { bits, group, activations } }) => ({
      name: slotPath(slot),
      bits,
      ...(group === undefined ? {} : { group }),
      states: Object.values(stateNames(slotPath(slot))).slice(0, activations ? 3 : 2),
    })),
  };
}

/** Random numbers differ between the micro-batches of a step. */
function randomStep(build: Builder, block: TrainBlock, step: GraphValue): GraphValue {
  if (block.accumulate === 1) return step;
  const micro = build.input('micro', 'scalar', { dtype: 'u32', shape: [] });
  return build.binary('add', build.binary('mul', step, build.constant(block.accumulate, 'u32')), micro);
}

/** Adds this micro-batch to the gradients of the step; the last one divides by all that was counted and updates. */
function accumulate(
  context: Context,
  block: TrainBlock,
  trained: readonly PlannedParameter[],
  values: readonly GraphValue[],
  /** `sum`: the gradients of the sum. */
  loss: { sum: readonly GraphValue[]; count: GraphValue; step: GraphValue; scale: LossScale | undefined },
  phase: 'accumulate' | 'last',
): void {
  const build = context.root;
  const count = build.binary('add', build.input(accumulatedCount, 'state', { dtype: 'f32', shape: [] }), loss.count);
  const sums = loss.sum.map((gradient, at) =>
    build.binary(
      'add',
      build.input(accumulatedName(trained[at].path), 'state', typeOf(block, trained[at].slot)),
      gradient,
    ),
  );
  const last = phase === 'last';
  build.output(accumulatedCount, 'update', last ? build.constant(0, 'f32') : count);
  trained.forEach(({ path, slot }, at) =>
    build.output(
      accumulatedName(path),
      'update',
      last ? build.constant(0, 'f32', typeOf(block, slot).shape) : sums[at],
    ),
  );
  if (!last) return;
  const means = sums.map((sum) => build.binary('div', sum, build.broadcast(count, sum.type.shape)));
  update(context, block, trained, values, means, loss.step, loss.scale);
}

/** Clips the gradients and gives every trained parameter and its optimizer states their next values. */
function update(
  context: Context,
  block: TrainBlock,
  trained: readonly PlannedParameter[],
  values: readonly GraphValue[],
  gradients: readonly GraphValue[],
  step: GraphValue,
  scale: LossScale | undefined,
): void {
  const build = context.root;
  const masked = createMasks(build, block);
  const kept = gradients.map((gradient, at) => masked(gradient, trained[at].slot));
  const clipped = clip(build, block, scale === undefined ? kept : scale.unscaled(kept));
  const at = scale === undefined ? build.cast(step, 'f32') : scale.update;
  const settled = (next: GraphValue, before: GraphValue): GraphValue => scale?.settled(next, before) ?? next;
  trained.forEach(({ path, slot, optimizer }, index) => {
    if (optimizer === undefined) return;
    build.origin = { span: optimizer.span, path };
    const states = new Map(
      optimizerStates(context, optimizer, typeOf(block, slot)).map(({ name }) => [
        name,
        build.input(stateName(name, path), 'state', typeOf(block, slot)),
      ]),
    );
    const next = applyOptimizer(context, optimizer, { param: values[index], grad: clipped[index], step: at, states });
    build.output(path, 'update', masked(settled(next.param, values[index]), slot));
    for (const [name, before] of states)
      build.output(stateName(name, path), 'update', settled(next.states.get(name) ?? before, before));
  });
  scale?.finish();
}

/** By global norm (Pascanu et al. 2013; as in PyTorch, limit / (norm + 1e-6) at most 1) or elementwise. */
function clip(build: Builder, block: TrainBlock, gradients: readonly GraphValue[]): readonly GraphValue[] {
  if (block.clip === undefined) return gradients;
  const limit = (value: number, like: GraphValue): GraphValue => build.constant(value, 'f32', like.type.shape);
  const bound = block.clip.limit;
  if (block.clip.by === 'value')
    return gradients.map((gradient) =>
      build.binary('max', build.binary('min', gradient, limit(bound, gradient)), limit(-bound, gradient)),
    );
  const squares = gradients.map((gradient) =>
    build.reduce(
      'sum',
      build.binary('mul', gradient, gradient),
      gradient.type.shape.map((_, axis) => axis),
    ),
  );
  const norm = build.unary(
    'sqrt',
    squares.reduce((sum, square) => build.binary('add', sum, square)),
  );
  build.output('grad_norm', 'result', norm);
  const one = build.constant(1, 'f32');
  const factor = build.binary(
    'min',
    one,
    build.binary('div', build.constant(bound, 'f32'), build.binary('add', norm, build.constant(1e-6, 'f32'))),
  );
  return gradients.map((gradient) => build.binary('mul', gradient, build.broadcast(factor, gradient.type.shape)));
}
