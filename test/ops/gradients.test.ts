/** Every differentiable op, on every sample of its record: its gradient against central differences in float64. */
import { describe, expect, test } from 'vitest';
import { differentiate } from '../../compiler/differentiate/differentiate.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { OpName } from '../../compiler/graph/graph.ts';
import type { Sample, Tensor } from '../../compiler/graph/op.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { ops } from '../../compiler/ops/index.ts';
import { isFloat } from '../../compiler/types/dtype.ts';
import { showType } from '../../compiler/ops/rules.ts';
import { draw, eachSample, numbers } from '../support/samples.ts';

const oracle = { precision: 'f64' } as const;

/** loss = Σ results · weights, so that every element of the result matters in its own way. */
function lossGraph<Name extends OpName>(op: Name, sample: Sample<Name>) {
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

describe('gradients agree with central differences', () => {
  eachSample((op, sample, place) => {
    if (ops[op].gradient === undefined || !sample.inputs.some(({ dtype }) => isFloat(dtype))) return;
    test(`${op} ${place}: ${sample.inputs.map(showType).join(', ')}`, () => {
      const graph = lossGraph(op, sample);
      const next = numbers(place + 1);
      const tensors = sample.inputs.map((type): Tensor => draw(type, next, sample));
      const inputs = new Map(tensors.map((tensor, at) => [`a${at}`, tensor]));
      const exact = interpretGraph(graph, inputs, oracle);
      const lossAt = (): number => interpretGraph(graph, inputs, oracle).get('loss')?.data[0] ?? NaN;
      const eps = 1e-6;
      tensors.forEach(({ type, data }, at) => {
        if (!isFloat(type.dtype)) return;
        const gradient = exact.get(`d${at}`)?.data ?? new Float64Array();
        expect(gradient.length).toBe(data.length);
        for (let i = 0; i < data.length; i += Math.ceil(data.length / 40)) {
          const before = data[i];
          data[i] = before + eps;
          const above = lossAt();
          data[i] = before - eps;
          const below = lossAt();
          data[i] = before;
          const numeric = (above - below) / (2 * eps);
          expect(
            Math.abs(gradient[i] - numeric),
            `a${at}[${i}]: ${gradient[i]} against ${numeric}`,
          ).toBeLessThanOrEqual(1e-5 + 1e-3 * Math.abs(numeric));
        }
      });
    });
  });
});
