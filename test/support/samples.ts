/** Drawing tensors and building one-op graphs from the records' samples. */
import { differentiate } from '../../compiler/differentiate/differentiate.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { ops } from '../../compiler/ops/index.ts';
import { elements, roundAll } from '../../compiler/ops/numeric.ts';
import type { Graph, OpName } from '../../compiler/graph/graph.ts';
import type { Sample, Tensor } from '../../compiler/graph/op.ts';
import type { TensorType } from '../../compiler/types/tensor.ts';
import { isFloat } from '../../compiler/types/dtype.ts';
import { numbers } from './numbers.ts';

export interface Ranges {
  readonly range?: readonly [number, number];
  readonly integers?: readonly [number, number];
}

export function draw(
  type: TensorType,
  next: () => number,
  { range = [-2, 2], integers = [0, 2] }: Ranges = {},
): Tensor {
  const data = new Float64Array(elements(type));
  const [low, high] = isFloat(type.dtype) ? range : [integers[0], integers[1] + 1];
  for (let i = 0; i < data.length; i++)
    data[i] = isFloat(type.dtype) ? low + next() * (high - low) : Math.floor(low + next() * (high - low));
  roundAll(data, type.dtype, { precision: 'as-written' });
  return { type, data };
}

/** A graph of just this op, inputs a0, a1, …, results y0, y1, … */
export function graphOf<Name extends OpName>(op: Name, sample: Sample<Name>): Graph {
  const build = createBuilder(op);
  const inputs = sample.inputs.map((type, place) => build.input(`a${place}`, 'batch', type));
  build.node(op, inputs, sample.attributes).forEach((value, place) => build.output(`y${place}`, 'result', value));
  return build.finish();
}

/** loss = Σ results · weights, so that every element of the result matters in its own way; and its gradients d0, d1, … */
export function lossGraphOf<Name extends OpName>(op: Name, sample: Sample<Name>): Graph {
  const build = createBuilder(op);
  const inputs = sample.inputs.map((type, place) => build.input(`a${place}`, 'batch', type));
  const next = numbers(99);
  let loss = build.constant(0, 'f32');
  for (const result of build.node(op, inputs, sample.attributes)) {
    if (!isFloat(result.type.dtype)) continue;
    const weights = build.constant(
      [...draw({ dtype: 'f64', shape: result.type.shape }, next).data],
      result.type.dtype,
      result.type.shape,
    );
    const total = build.reduce(
      'sum',
      build.binary('mul', result, weights),
      result.type.shape.map((_, axis) => axis),
    );
    loss = build.binary('add', loss, build.cast(total, 'f32'));
  }
  build.output('loss', 'result', loss);
  const float = inputs.filter(({ type }) => isFloat(type.dtype));
  differentiate(build, loss, float).forEach((value, place) =>
    build.output(`d${inputs.indexOf(float[place])}`, 'result', value),
  );
  return build.finish();
}

export const opNames = Object.keys(ops) as OpName[];

/** Calls back with every sample of every op. */
export function eachSample(visit: <Name extends OpName>(op: Name, sample: Sample<Name>, place: number) => void): void {
  const one = <Name extends OpName>(op: Name): void =>
    ops[op].samples.forEach((sample, place) => visit(op, sample, place));
  for (const op of opNames) one(op);
}
