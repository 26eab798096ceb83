/** Whole networks: gradients against differences in double precision, optimized against not, and how small they get. */
import { describe, expect, test } from 'vitest';
import { differentiate } from '../../compiler/differentiate/differentiate.ts';
import type { Graph, Value } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { at, pair } from '../../compiler/ops/affine.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { optimize } from '../../compiler/optimize/index.ts';
import { showType } from '../../compiler/ops/rules.ts';
import type { Dim } from '../../compiler/types/dim.ts';
import { multiply, subtract, symbol } from '../../compiler/types/dim.ts';
import { networks } from '../support/networks.ts';
import { numbers } from '../support/numbers.ts';
import { draw } from '../support/samples.ts';

const oracle = { precision: 'f64' } as const;

const inputsOf = (graph: Graph): Map<string, Tensor> => {
  const next = numbers(5);
  return new Map(graph.inputs.map(({ name, value }) => [name, draw(value.type, next, { range: [-0.7, 0.7] })]));
};

/** Along random directions, the change of the loss is the gradient's component; for every param on its own. */
function expectGradients(graph: Graph): void {
  const inputs = inputsOf(graph);
  const exact = interpretGraph(graph, inputs, oracle);
  const lossWith = (name: string, data: Float64Array): number => {
    const tensor = inputs.get(name);
    return tensor === undefined
      ? NaN
      : (interpretGraph(graph, new Map([...inputs, [name, { ...tensor, data }]]), oracle).get('loss')?.data[0] ?? NaN);
  };
  for (const { name, role, value } of graph.inputs) {
    if (role !== 'param') continue;
    const gradient = exact.get(`d ${name}`);
    const before = inputs.get(name)?.data ?? new Float64Array();
    expect(gradient?.type).toEqual(value.type);
    const direction = draw({ dtype: 'f64', shape: value.type.shape }, numbers(value.id)).data;
    const moved = (eps: number): Float64Array => before.map((element, place) => element + eps * direction[place]);
    const numeric = (lossWith(name, moved(1e-6)) - lossWith(name, moved(-1e-6))) / 2e-6;
    const component = gradient?.data.reduce((sum, element, place) => sum + element * direction[place], 0) ?? NaN;
    expect(Math.abs(component - numeric), `${name}: ${component} against ${numeric}`).toBeLessThanOrEqual(
      1e-5 + 1e-3 * Math.abs(numeric),
    );
  }
}

describe.each(Object.entries(networks))('%s', (_, make) => {
  const graph = make();
  const small = optimize(graph, { verify: true });
  test('its gradients are right', () => expectGradients(graph));
  test('optimized it says the same', () => {
    const inputs = inputsOf(graph);
    const [expected, found] = [graph, small].map((one) => interpretGraph(one, inputs, oracle));
    // Folding rounds constants as the types say, which the oracle does not: equal to about single precision.
    for (const [name, { data }] of expected)
      data.forEach((value, place) => expect(found.get(name)?.data[place]).toBeCloseTo(value, 5));
  });
});

const countOf = (graph: Graph, op: string): number => graph.nodes.filter((node) => node.op === op).length;

test('gradient graphs stay as small as one would write them', () => {
  const [mlp, convnet, lstm, gpt] = [networks.mlp, networks.convnet, networks.lstm, networks.gpt].map((make) =>
    optimize(make()),
  );
  // Two layers: forward each, gradient of both weights, and of the first layer's output. Bias gradients are reductions.
  expect(countOf(mlp, 'contract')).toBe(5);
  expect(countOf(mlp, 'scatter')).toBe(0);
  // One convolution and its weight's gradient, reading the padded image in place, and three for the head: the pool's
  // windows do not overlap, so its gradient is laid side by side.
  expect(countOf(convnet, 'contract')).toBe(5);
  expect(countOf(lstm, 'loop')).toBe(2);
  // q, k, v, scores, mix, projection, two of the mlp, head: three contractions each, all fed by views in place.
  expect(countOf(gpt, 'contract')).toBe(27);
  expect(countOf(gpt, 'scatter')).toBe(1);
});

describe('loops', () => {
  /** An outer loop over rows whose body is a loop over columns; `w` is captured by the inner one. */
  function nested(): Graph {
    const build = createBuilder('nested');
    const x = build.input('x', 'param', { dtype: 'f32', shape: [3, 4, 2] });
    const w = build.input('w', 'param', { dtype: 'f32', shape: [2] });
    const start = build.input('start', 'param', { dtype: 'f32', shape: [2] });
    const outer = build.nested('outer');
    const [h, row, v] = [
      outer.input('h', 'batch', w.type),
      outer.input('row', 'batch', { dtype: 'f32', shape: [4, 2] }),
      outer.input('w', 'batch', w.type),
    ];
    const inner = outer.nested('inner');
    const [g, cell, u] = [
      inner.input('g', 'batch', w.type),
      inner.input('cell', 'batch', w.type),
      inner.input('w', 'batch', w.type),
    ];
    const next = inner.unary('tanh', inner.binary('add', inner.binary('mul', g, u), cell));
    inner.output('g', 'result', next);
    inner.output('square', 'result', inner.binary('mul', next, g));
    const [last, squares] = outer.loop([h, row, v], {
      trips: 4,
      carried: 1,
      scanned: 1,
      reverse: true,
      body: inner.finish(),
    });
    outer.output('h', 'result', outer.binary('mul', last, v));
    outer.output('sum', 'result', outer.reduce('sum', squares, [0]));
    const results = build.loop([start, x, w], {
      trips: 3,
      carried: 1,
      scanned: 1,
      reverse: false,
      body: outer.finish(),
    });
    const sum = (value: Value): Value => build.reduce('sum', value, [...value.type.shape.keys()]);
    const loss = build.binary('add', sum(results[0]), sum(results[1]));
    build.output('loss', 'result', loss);
    const wrt = [x, w, start];
    differentiate(build, loss, wrt).forEach((value, place) =>
      build.output(`d ${['x', 'w', 'start'][place]}`, 'result', value),
    );
    return build.finish();
  }

  test('inside loops', () => {
    const graph = nested();
    expect(verifyGraph(graph)).toEqual([]);
    expectGradients(graph);
    const small = optimize(graph, { verify: true });
    expectGradients(small);
    expect(countOf(small, 'loop')).toBe(2);
  });
});

test('what the loss does not depend on has a gradient of zeros, integers and detached values have none', () => {
  const build = createBuilder('test');
  const [x, other] = ['x', 'other'].map((name) => build.input(name, 'param', { dtype: 'f32', shape: [2] }));
  const counted = build.cast(build.cast(x, 'i32'), 'f32');
  const loss = build.reduce('sum', build.binary('add', build.binary('mul', x, build.detach(x)), counted), [0]);
  differentiate(build, loss, [x, other]).forEach((value, place) => build.output(`d${place}`, 'result', value));
  const tensor: Tensor = { type: x.type, data: Float64Array.of(2, 3) };
  const results = interpretGraph(
    build.finish(),
    new Map([
      ['x', tensor],
      ['other', tensor],
    ]),
    oracle,
  );
  expect([...(results.get('d0')?.data ?? [])]).toEqual([2, 3]);
  expect([...(results.get('d1')?.data ?? [])]).toEqual([0, 0]);
});

test('gradients have the types of what they are gradients of while sizes are still unknown', () => {
  const [B, H, K] = ['B', 'H', 'K'].map(symbol);
  const build = createBuilder('generic');
  const f32 = (...shape: Dim[]) => ({ dtype: 'f32', shape }) as const;
  const x = build.input('x', 'batch', f32(B, H, 3));
  const w = build.input('w', 'param', f32(K, 3, 4));
  const b = build.input('b', 'param', f32(4));
  const rows = subtract(H, subtract(K, 1));
  const convolved = build.contract(
    [x, w],
    [
      [at(0), pair(1, 1, 3, 1), at(4)],
      [at(3), at(4), at(2)],
    ],
    [B, rows, 4],
    [K, 3],
  );
  const h = build.binary('add', convolved, build.broadcast(b, [B, rows, 4]));
  const flat = build.reshape(build.slice(h, 1, 0, 2), [multiply(B, 2), 4]);
  const top = build.reduce('max', build.concat([flat, flat], 0), [0]);
  const gradients = differentiate(build, build.reduce('sum', top, [0]), [x, w, b]);
  expect(gradients.map(({ type }) => showType(type))).toEqual(['f32[B, H, 3]', 'f32[K, 3, 4]', 'f32[4]']);
});
