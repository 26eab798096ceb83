/** Every differentiable op, on every sample of its record: its gradient against central differences in float64. */
import { describe, expect, test } from 'vitest';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { ops } from '../../compiler/ops/index.ts';
import { isFloat } from '../../compiler/types/dtype.ts';
import { showType } from '../../compiler/ops/rules.ts';
import { numbers } from '../support/numbers.ts';
import { draw, eachSample, lossGraphOf } from '../support/samples.ts';

const oracle = { precision: 'f64' } as const;

describe('gradients agree with central differences', () => {
  eachSample((op, sample, place) => {
    if (ops[op].gradient === undefined || !sample.inputs.some(({ dtype }) => isFloat(dtype))) return;
    test(`${op} ${place}: ${sample.inputs.map(showType).join(', ')}`, () => {
      const graph = lossGraphOf(op, sample);
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
