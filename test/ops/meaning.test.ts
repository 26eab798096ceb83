/** What ops mean, on every sample: the types agree with the rules; and a few values worked out by hand. */
import { describe, expect, test } from 'vitest';
import type { Value } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import { IndexOutOfRange } from '../../compiler/graph/op.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { roundTo } from '../../compiler/ops/numeric.ts';
import { ops } from '../../compiler/ops/index.ts';
import { showType } from '../../compiler/ops/rules.ts';
import { concrete, product, symbol } from '../../compiler/types/dim.ts';
import { at } from '../../compiler/ops/affine.ts';
import { numbers } from '../support/numbers.ts';
import { draw, eachSample, graphOf, opNames } from '../support/samples.ts';

describe('every op, every sample', () => {
  test.each(opNames)('%s has samples and says what it does', (op) => {
    expect(ops[op].samples.length).toBeGreaterThan(1);
    expect(ops[op].doc).toMatch(/[.?]$/);
  });
  eachSample((op, sample, place) => {
    test(`${op} ${place}: ${sample.inputs.map(showType).join(', ')}`, () => {
      const next = numbers(place);
      const tensors = sample.inputs.map((type): Tensor => draw(type, next, sample));
      const before = tensors.map(({ data }) => [...data]);
      const graph = graphOf(op, sample);
      const results = interpretGraph(graph, new Map(tensors.map((tensor, input) => [`a${input}`, tensor])), {
        precision: 'as-written',
      });
      for (const { name, value } of graph.outputs) {
        const result = results.get(name);
        expect(result?.type).toEqual(value.type);
        expect(result?.data.length).toBe(product(concrete(value.type.shape)));
        // Every element is of its type, and operands are left alone.
        result?.data.forEach((element) => expect(roundTo(value.type.dtype, element)).toBe(element));
      }
      expect(tensors.map(({ data }) => [...data])).toEqual(before);
    });
  });
});

const f32 = (shape: number[], ...values: number[]): Tensor => ({
  type: { dtype: 'f32', shape },
  data: Float64Array.from(values),
});
const i32 = (shape: number[], ...values: number[]): Tensor => ({
  type: { dtype: 'i32', shape },
  data: Float64Array.from(values),
});

function evaluate(
  inputs: Record<string, Tensor>,
  make: (build: ReturnType<typeof createBuilder>, values: Record<string, Value>) => Value,
): number[] {
  const build = createBuilder('test');
  const values = Object.fromEntries(
    Object.entries(inputs).map(([name, { type }]) => [name, build.input(name, 'batch', type)]),
  );
  build.output('y', 'result', make(build, values));
  return [
    ...(interpretGraph(build.finish(), new Map(Object.entries(inputs)), { precision: 'as-written' }).get('y')?.data ??
      []),
  ];
}

describe('values', () => {
  const m = f32([2, 3], 1, 2, 3, 4, 5, 6);
  test('matmul broadcasts leading axes; vectors lose theirs', () => {
    expect(evaluate({ m, v: f32([3], 1, 0, -1) }, (b, { m: a, v }) => b.matmul(a, v))).toEqual([-2, -2]);
    expect(evaluate({ m, n: f32([2, 3, 1], 1, 0, 0, 0, 1, 0) }, (b, { m: a, n }) => b.matmul(a, n))).toEqual([
      1, 4, 2, 5,
    ]);
  });
  test('a view reads 0 outside and where a division leaves a rest', () => {
    expect(evaluate({ x: f32([3], 1, 2, 3) }, (b, { x }) => b.view(x, [5], [at(0, 1, -1)]))).toEqual([0, 1, 2, 3, 0]);
    expect(
      evaluate({ x: f32([3], 1, 2, 3) }, (b, { x }) =>
        b.view(x, [6], [{ terms: [{ axis: 0, scale: 1 }], offset: 1, divisor: 2 }]),
      ),
    ).toEqual([0, 2, 0, 3, 0, 0]);
  });
  test('empty reductions', () => {
    for (const [monoid, value] of [
      ['sum', 0],
      ['prod', 1],
      ['max', -Infinity],
      ['min', Infinity],
    ] as const)
      expect(evaluate({ x: f32([2, 0]) }, (b, { x }) => b.reduce(monoid, x, [1]))).toEqual([value, value]);
  });
  test('argmax takes the first of equals', () => {
    expect(
      evaluate({ x: f32([2, 3], 1, 3, 3, -Infinity, NaN, -Infinity) }, (b, { x }) => b.argreduce('max', x, 1)),
    ).toEqual([1, 0]);
  });
  test('scatter sums repeated positions; gather reads them back', () => {
    expect(
      evaluate({ ids: i32([3], 2, 0, 2), u: f32([3], 1, 10, 100) }, (b, { ids, u }) => b.scatter(ids, u, 0, 3)),
    ).toEqual([10, 0, 101]);
    expect(evaluate({ x: m, ids: i32([2], 2, 0) }, (b, { x, ids }) => b.gather(x, ids, 1))).toEqual([3, 4]);
  });
  test('sums of f32 are rounded once', () => {
    expect(evaluate({ x: f32([3], 1, 2 ** -24, 2 ** -24) }, (b, { x }) => b.reduce('sum', x, [0]))).toEqual([
      1 + 2 ** -23,
    ]);
  });
  test('an index outside names the place it came from', () => {
    const build = createBuilder('test');
    const x = build.input('x', 'batch', { dtype: 'f32', shape: [3] });
    const ids = build.input('ids', 'batch', { dtype: 'i32', shape: [1] });
    build.origin = { path: 'model.tokens' };
    build.output('y', 'result', build.gather(x, ids, 0));
    const run = (id: number) => () =>
      interpretGraph(
        build.finish(),
        new Map([
          ['x', f32([3], 1, 2, 3)],
          ['ids', i32([1], id)],
        ]),
        { precision: 'as-written' },
      );
    expect(run(2)).not.toThrow();
    for (const id of [-1, 3]) expect(run(id)).toThrow(IndexOutOfRange);
    expect(run(3)).toThrow('index 3 is outside an axis of size 3 in model.tokens');
  });
});

test('type rules work on sizes that are not known yet', () => {
  const build = createBuilder('generic');
  const [B, K] = [symbol('B'), symbol('K')];
  const x = build.input('x', 'batch', { dtype: 'f32', shape: [B, K] });
  const w = build.input('w', 'param', { dtype: 'f32', shape: [K, 10] });
  const y = build.reduce('sum', build.reshape(build.matmul(x, w), [B, 2, 5]), [2]);
  expect(showType(y.type)).toBe('f32[B, 2]');
  expect(() => build.matmul(w, x)).toThrow(
    'the sides of a matrix product do not fit: f32[K, 10] ends in [10], f32[B, K] begins with [B]',
  );
});
