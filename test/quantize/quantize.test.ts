/** Quantized weights and products, as graphs: what is rounded and how far, gradients, and that every way to multiply bytes is the same. */
import { describe, expect, it } from 'vitest';
import { differentiate } from '../../compiler/differentiate/differentiate.ts';
import type { Builder } from '../../compiler/graph/build.ts';
import type { Graph, Value } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import { at, pair } from '../../compiler/ops/affine.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { optimize } from '../../compiler/optimize/index.ts';
import { compile } from '../../compiler/pipeline.ts';
import { CannotQuantize, quantizeInto, stateNames } from '../../compiler/quantize/forward.ts';
import { decode, encode, most, simulate, type Scheme } from '../../compiler/quantize/weights.ts';
import { interpretTile } from '../../compiler/tile/interpret.ts';
import type { TensorType } from '../../compiler/types/tensor.ts';
import { numbers } from '../support/numbers.ts';
import { draw } from '../support/samples.ts';
import { machine } from '../schedule/support.ts';
import { nativeProblem, runNative } from '../tile/native.ts';
import { typed } from '../tile/values.ts';

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });
const precision = { precision: 'as-written' } as const;

function run(graph: Graph, inputs: ReadonlyMap<string, Tensor>): Map<string, Float64Array> {
  expect(verifyGraph(graph)).toEqual([]);
  return new Map([...interpretGraph(graph, inputs, precision)].map(([name, { data }]) => [name, data]));
}

const schemes: [string, Scheme][] = [
  ['int8 by column', { bits: 8, group: undefined, activations: true }],
  ['int8 in groups of 4', { bits: 8, group: 4, activations: false }],
  ['int4 in groups of 8', { bits: 4, group: 8, activations: false }],
  ['int4 in groups of 1', { bits: 4, group: 1, activations: false }],
];

describe.each(schemes)('%s', (_, scheme) => {
  it.each([[[7, 5]], [[8, 3]], [[3, 3, 2, 4]], [[1, 6]], [[25, 1]]])('keeps a weight of %j', (shape) => {
    const type = f32(...shape);
    const build = createBuilder('weight');
    const weight = build.input('w', 'param', type);
    const { codes, scale } = encode(build, weight, scheme);
    const back = decode(build, codes, scale, type, scheme);
    const rounded = simulate(build, weight, scheme);
    const [gradient] = differentiate(build, sum(build, build.binary('mul', rounded, rounded)), [weight]);
    const outputs: [string, Value][] = Object.entries({ codes, scale, back, rounded, gradient });
    for (const [name, value] of outputs) build.output(name, 'result', value);
    const w = draw(type, numbers(2));
    w.data[0] = 0;
    const found = run(build.finish(), new Map([['w', w]]));
    const [restored, scales] = ['back', 'scale'].map((name) => found.get(name) ?? new Float64Array());

    const columns = shape[shape.length - 1];
    const rows = w.data.length / columns;
    const group = scheme.group ?? rows;
    w.data.forEach((value, place) => {
      const [row, column] = [Math.floor(place / columns), place % columns];
      const step = scales[Math.floor(row / group) * columns + column];
      expect(Math.abs(restored[place] - value)).toBeLessThanOrEqual(step / 2 + 1e-6);
      const whole = restored[place] / step;
      expect(Math.abs(whole - Math.round(whole))).toBeLessThan(1e-4);
      expect(Math.abs(whole)).toBeLessThan(most(scheme.bits) + 0.5);
    });
    expect(restored[0]).toBe(0);
    expect(scales).toHaveLength(Math.ceil(rows / Math.min(group, rows)) * columns);
    // What training computes with is what is kept, and its gradient is that of the weight.
    expect(found.get('rounded')).toEqual(restored);
    found.get('gradient')?.forEach((value, place) => expect(value).toBeCloseTo(2 * restored[place], 4));
    const bytes = found.get('codes');
    expect(bytes).toHaveLength(scheme.bits === 8 ? w.data.length : Math.ceil(rows / 2) * columns);
  });

  it('keeps a weight of zeros', () => {
    const build = createBuilder('zeros');
    const { codes, scale } = encode(build, build.input('w', 'param', f32(4, 2)), scheme);
    build.output('back', 'result', decode(build, codes, scale, f32(4, 2), scheme));
    const zeros = { type: f32(4, 2), data: new Float64Array(8) };
    expect(run(build.finish(), new Map([['w', zeros]])).get('back')).toEqual(new Float64Array(8));
  });
});

function sum(build: Builder, value: Value): Value {
  return build.reduce(
    'sum',
    value,
    value.type.shape.map((_, axis) => axis),
  );
}

/** y = relu(pad(x) ∗ kernel) flattened, times a matrix. */
function network(): Graph {
  const build = createBuilder('network');
  const x = build.input('x', 'batch', f32(3, 6, 6, 2));
  const kernel = build.input('kernel', 'param', f32(3, 3, 2, 5));
  const matrix = build.input('matrix', 'param', f32(180, 4));
  const framed = build.view(x, [3, 8, 8, 2], [at(0), at(1, 1, -1), at(2, 1, -1), at(3)]);
  const window = [at(0), pair(1, 1, 4, 1), pair(2, 1, 5, 1), at(6)];
  const y = build.contract([framed, kernel], [window, [at(4), at(5), at(6), at(3)]], [3, 6, 6, 5], [3, 3, 2]);
  const positive = build.binary('max', y, build.constant(0, 'f32', y.type.shape));
  build.output('y', 'result', build.matmul(build.reshape(positive, [3, 180]), matrix));
  return build.finish();
}

/** The network in a mode of int8, with the outputs it had. */
function quantized(mode: 'observe' | 'simulate' | 'integers', names = ['kernel', 'matrix']): Graph {
  const graph = network();
  const build = createBuilder(`network ${mode}`);
  const scheme: Scheme = { bits: 8, group: undefined, activations: true };
  const now = quantizeInto(build, graph, new Map(names.map((name) => [name, scheme])), mode);
  for (const { name, value } of graph.outputs) build.output(name, 'result', now.get(value) ?? value);
  return build.finish();
}

function states(): Map<string, Tensor> {
  const next = numbers(5);
  const given = new Map(network().inputs.map(({ name, value: { type } }) => [name, draw(type, next)]));
  const scheme: Scheme = { bits: 8, group: undefined, activations: true };
  const build = createBuilder('encode');
  for (const name of ['kernel', 'matrix']) {
    const weight = given.get(name);
    if (weight === undefined) throw new Error(name);
    const { codes, scale } = encode(build, build.input(name, 'param', weight.type), scheme);
    build.output(stateNames(name).codes, 'result', codes);
    build.output(stateNames(name).scale, 'result', scale);
    given.set(stateNames(name).range, { type: f32(), data: new Float64Array(1) });
  }
  for (const [name, tensor] of interpretGraph(build.finish(), given, precision)) given.set(name, tensor);
  for (const [name, { data }] of interpretGraph(quantized('observe'), given, precision))
    if (name.startsWith('range.')) given.set(name, { type: f32(), data });
  return given;
}

describe('a network in int8', () => {
  const given = states();

  it('finds the largest size of what is multiplied', () => {
    const x = given.get('x')?.data ?? new Float64Array();
    expect(given.get('range.kernel')?.data[0]).toBeCloseTo(Math.max(...x.map(Math.abs)), 6);
  });

  it('computes with integers what it simulates in f32, near what it computes unrounded', () => {
    const [integers, simulated, plain] = [quantized('integers'), quantized('simulate'), network()].map(
      (graph) => run(graph, given).get('y') ?? new Float64Array(),
    );
    const size = Math.max(...plain.map(Math.abs));
    integers.forEach((value, place) => {
      expect(Math.abs(value - simulated[place]) / size).toBeLessThan(1e-5);
      expect(Math.abs(value - plain[place]) / size).toBeLessThan(0.05);
    });
    expect(integers).not.toEqual(plain);
  });

  it('reads no f32 weight', () => {
    expect(quantized('integers').inputs.filter(({ role }) => role === 'param')).toEqual([]);
  });

  it.runIf(nativeProblem === undefined)('has the same bits on every machine', async () => {
    const graph = quantized('integers');
    const oracle = run(graph, given).get('y');
    for (const lanes of [1, 4, 8, 16])
      for (const dotsBytes of [true, false]) {
        const { tile } = compile(graph, { ...machine(lanes), dotsBytes }, { verify: true });
        const inputs = tile.buffers.flatMap(({ name, dtype }) => {
          const tensor = given.get(name);
          return tensor === undefined ? [] : [[name, typed(dtype, tensor.data)] as const];
        });
        const y = (await runNative(tile, Object.fromEntries(inputs))).get('y');
        expect(Float64Array.from(y ?? []), `${lanes} lanes, ${dotsBytes}`).toEqual(oracle);
      }
  });

  it('learns its ranges while training, but not from what is not finite', () => {
    const graph = quantized('simulate');
    const next = run(graph, given);
    const range = given.get('range.kernel')?.data[0] ?? 0;
    expect(next.get('range.kernel')?.[0]).toBeCloseTo(range, 5);
    const x = given.get('x');
    const wild = new Map(given).set('x', { type: f32(3, 6, 6, 2), data: new Float64Array(216).fill(Infinity) });
    expect(run(graph, wild).get('range.kernel')?.[0]).toBe(range);
    const louder = new Map(given).set('x', {
      type: f32(3, 6, 6, 2),
      data: (x?.data ?? new Float64Array()).map((v) => 3 * v),
    });
    expect(run(graph, louder).get('range.kernel')?.[0]).toBeCloseTo(1.02 * range, 4);
  });

  it('refuses a weight that nothing is multiplied with', () => {
    const build = createBuilder('table');
    const table = build.input('table', 'param', f32(9, 4));
    build.output('y', 'result', build.gather(table, build.input('ids', 'batch', { dtype: 'i32', shape: [3] }), 0));
    const scheme: Scheme = { bits: 8, group: undefined, activations: true };
    expect(() => quantizeInto(createBuilder('q'), build.finish(), new Map([['table', scheme]]), 'observe')).toThrow(
      CannotQuantize,
    );
  });
});

describe('products of bytes', () => {
  const next = numbers(11);
  const whole = (least: number, most: number): number => least + Math.floor(next() * (most - least + 1));
  const cases = Array.from({ length: 40 }, (_, seed): [number, Graph] => {
    const build = createBuilder(`bytes${seed}`);
    const bytes = (name: string, shape: number[]): Value =>
      build.cast(build.input(name, 'batch', { dtype: 'i8', shape }), 'i32');
    const [m, n, c] = [whole(2, 9), whole(2, 40), whole(1, 19)];
    if (seed % 2 === 0) {
      const long = seed % 8 === 0 ? 1100 : c;
      build.output('y', 'result', build.matmul(bytes('a', [m, long]), bytes('b', [long, n])));
    } else {
      const [size, kernel, padding, stride] = [whole(4, 7), whole(1, 3), whole(0, 1), whole(1, 2)];
      const out = Math.floor((size + 2 * padding - kernel) / stride) + 1;
      const window = [at(0), pair(1, stride, 4, 1, -padding), pair(2, stride, 5, 1, -padding), at(6)];
      const operands = [bytes('a', [2, size, size, c]), bytes('b', [kernel, kernel, c, n])];
      const indices = [window, [at(4), at(5), at(6), at(3)]];
      build.output('y', 'result', build.contract(operands, indices, [2, out, out, n], [kernel, kernel, c]));
    }
    return [seed, build.finish()];
  });

  const drawn = (graph: Graph) =>
    new Map(graph.inputs.map(({ name, value }) => [name, draw(value.type, next, { integers: [-128, 127] })]));

  it.each(cases)('are the same however they are summed (%i)', (_, graph) => {
    const inputs = drawn(graph);
    const oracle = run(graph, inputs).get('y');
    for (const without of [[], ['pack-bytes'], ['byte-products'], ['pack-bytes', 'byte-products']])
      expect(run(optimize(graph, { without, verify: true }), inputs).get('y')).toEqual(oracle);
    const { tile } = compile(graph, machine(16), { verify: true });
    const memories = new Map([...inputs].map(([name, { data }]) => [name, Float64Array.from(data)]));
    interpretTile(tile, memories);
    expect(memories.get('y')).toEqual(oracle);
  });

  it.skipIf(nativeProblem !== undefined).each(cases)('are the same in machine code (%i)', async (_, graph) => {
    const inputs = drawn(graph);
    const native = await runNative(
      compile(graph, machine(16), { verify: true }).tile,
      Object.fromEntries([...inputs].map(([name, { type, data }]) => [name, typed(type.dtype, data)])),
    );
    expect(Float64Array.from(native.get('y') ?? [])).toEqual(run(graph, inputs).get('y'));
  });

  it('are packed where they pay', () => {
    const packed = cases.filter(([, graph]) =>
      optimize(graph).nodes.some((node) => node.op === 'contract' && node.attributes.bytes === true),
    );
    expect(packed.length).toBeGreaterThan(20);
    expect(packed.length).toBeLessThan(40);
  });
});
