import { describe, expect, test } from 'vitest';
import { createContext, applyValue } from '../../compiler/elaborate/evaluate.ts';
import { find } from '../../compiler/elaborate/scope.ts';
import { tensor } from '../../compiler/elaborate/value.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { concrete } from '../../compiler/types/dim.ts';
import type { Dtype } from '../../compiler/types/dtype.ts';
import { load, shown } from './support.ts';

type Input = readonly [dtype: Dtype, ...shape: number[]];

/** Numbers that are all different and exact in f32, or small ids. */
function sample([dtype, ...shape]: Input, seed: number): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  const data = Float64Array.from({ length: size }, (_, i) =>
    dtype === 'f32' ? (((i * 37 + seed * 101) % 64) - 31) / 8 : (i * 7 + seed) % 3,
  );
  return { type: { dtype, shape }, data };
}

interface Result {
  readonly graph: Graph;
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

/** The last function of a text, applied to samples. */
function compute(text: string, inputs: readonly Input[]): { result: Result; tensors: Tensor[] } {
  const program = load(text);
  const builder = createBuilder('test');
  const context = createContext(builder, program.diagnostics);
  const tensors = inputs.map((input, place) => sample(input, place));
  const values = tensors.map(({ type }, place) => tensor(builder.input(`x${place}`, 'batch', type)));
  const declared = program.entry.loaded.tree.declarations.filter((declaration) => declaration.kind === 'function');
  const name = declared.at(-1)?.name;
  if (name === undefined) throw new Error('the text has no function');
  const binding = find(program.entry.scope, name.name);
  const value = binding?.kind === 'value' ? applyValue(context, binding.value, values, name.span) : undefined;
  expect(shown(program.diagnostics)).toBe('');
  if (value?.kind !== 'tensor') throw new Error('the function gave no tensor');
  builder.output('y', 'result', value.value);
  const graph = builder.finish();
  const y = interpretGraph(graph, new Map(tensors.map((x, place) => [`x${place}`, x])), { precision: 'f64' }).get('y');
  if (y === undefined) throw new Error('no result');
  return { result: { graph, shape: concrete(y.type.shape), data: [...y.data] }, tensors };
}

/** Every index of a shape, in row-major order. */
function* indices(shape: readonly number[]): Generator<number[]> {
  if (shape.length === 0) return yield [];
  const [first, ...rest] = shape;
  for (let i = 0; i < first; i++) for (const inner of indices(rest)) yield [i, ...inner];
}

const element = ({ type, data }: Tensor, ...index: readonly number[]): number =>
  data[index.reduce((at, i, axis) => at * Number(type.shape[axis]) + i, 0)];

const sum = (count: number, term: (i: number) => number): number =>
  Array.from({ length: count }, (_, i) => term(i)).reduce((a, b) => a + b, 0);

interface Case {
  readonly says: string;
  readonly text: string;
  readonly inputs: readonly Input[];
  readonly shape: readonly number[];
  readonly naive: (x: readonly Tensor[], ...index: number[]) => number;
  /** How many of these nodes the graph has. */
  readonly nodes?: Record<string, number>;
}

const cases: readonly Case[] = [
  {
    says: 'a matrix product is one contract',
    text: 'fn f(a: f32[M, K], b: f32[K, N]) -> f32[M, N] {\n let c[m, n] = sum[k] a[m, k] * b[k, n]\n c }',
    inputs: [
      ['f32', 3, 4],
      ['f32', 4, 5],
    ],
    shape: [3, 5],
    naive: ([a, b], m, n) => sum(4, (k) => element(a, m, k) * element(b, k, n)),
    nodes: { contract: 1, view: 0, reduce: 0 },
  },
  {
    says: 'attention scores are one contract and a division',
    text: 'fn f(q: f32[B, T, H, D], k: f32[B, U, H, D]) -> f32[B, H, T, U] {\n let s[b, h, t, u] = sum[d] q[b, t, h, d] * k[b, u, h, d] / sqrt(D)\n s }',
    inputs: [
      ['f32', 2, 3, 2, 4],
      ['f32', 2, 5, 2, 4],
    ],
    shape: [2, 2, 3, 5],
    naive: ([q, k], b, h, t, u) => sum(4, (d) => element(q, b, t, h, d) * element(k, b, u, h, d)) / 2,
    nodes: { contract: 1, div: 1, view: 0, reduce: 0 },
  },
  {
    says: 'a strided convolution is one contract',
    text: 'fn f{stride: int = 2}(x: f32[B, H, W, C], w: f32[K, L, C, O]) -> f32[B, (H - K) / stride + 1, (W - L) / stride + 1, O] {\n let y[b, i, j, o] = sum[u, v, c] x[b, i*stride + u, j*stride + v, c] * w[u, v, c, o]\n y }',
    inputs: [
      ['f32', 1, 7, 6, 2],
      ['f32', 3, 2, 2, 3],
    ],
    shape: [1, 3, 3, 3],
    naive: ([x, w], b, i, j, o) =>
      sum(3, (u) => sum(2, (v) => sum(2, (c) => element(x, b, 2 * i + u, 2 * j + v, c) * element(w, u, v, c, o)))),
    nodes: { contract: 1, view: 0, reduce: 0 },
  },
  {
    says: 'pooling is a view and a reduce',
    text: 'fn f(x: f32[B, H, W]) -> f32[B, H / 2, W / 2] {\n let y[b, i, j] = max[u in 0..2, v in 0..2] x[b, 2*i + u, 2*j + v]\n y }',
    inputs: [['f32', 2, 5, 4]],
    shape: [2, 2, 2],
    naive: ([x], b, i, j) => Math.max(...[0, 1].flatMap((u) => [0, 1].map((v) => element(x, b, 2 * i + u, 2 * j + v)))),
    nodes: { view: 1, reduce: 1 },
  },
  {
    says: 'a transposition is one view',
    text: 'fn f(x: f32[A, B, C]) -> f32[C, A, B] {\n let y[c, a, b] = x[a, b, c]\n y }',
    inputs: [['f32', 2, 3, 4]],
    shape: [4, 2, 3],
    naive: ([x], c, a, b) => element(x, a, b, c),
    nodes: { view: 1 },
  },
  {
    says: 'a diagonal',
    text: 'fn f(x: f32[N, N]) -> f32[N] {\n let y[i] = x[i, i]\n y }',
    inputs: [['f32', 4, 4]],
    shape: [4],
    naive: ([x], i) => element(x, i, i),
    nodes: { view: 1 },
  },
  {
    says: 'a read from the end',
    text: 'fn f(x: f32[N]) -> f32[N] {\n let y[i] = x[N - 1 - i]\n y }',
    inputs: [['f32', 5]],
    shape: [5],
    naive: ([x], i) => element(x, 4 - i),
    nodes: { view: 1 },
  },
  {
    says: 'a trace reduces to a number',
    text: 'fn f(a: f32[N, N]) -> f32 = sum[i] a[i, i]',
    inputs: [['f32', 4, 4]],
    shape: [],
    naive: ([a]) => sum(4, (i) => element(a, i, i)),
  },
  {
    says: 'three factors are two contracts',
    text: 'fn f(a: f32[I, J], b: f32[J, K], c: f32[K, L]) -> f32[I, L] {\n let y[i, l] = sum[j, k] a[i, j] * b[j, k] * c[k, l]\n y }',
    inputs: [
      ['f32', 2, 3],
      ['f32', 3, 4],
      ['f32', 4, 2],
    ],
    shape: [2, 2],
    naive: ([a, b, c], i, l) => sum(3, (j) => sum(4, (k) => element(a, i, j) * element(b, j, k) * element(c, k, l))),
    nodes: { contract: 2 },
  },
  {
    says: 'factors that do not depend on what is summed stay outside',
    text: 'fn f(a: f32[I, J], b: f32[J], g: f32[I]) -> f32[I] {\n let y[i] = 2 * sum[j] (-g[i]) * a[i, j] * b[j] / 4\n y }',
    inputs: [
      ['f32', 3, 4],
      ['f32', 4],
      ['f32', 3],
    ],
    shape: [3],
    naive: ([a, b, g], i) => (-2 * element(g, i) * sum(4, (j) => element(a, i, j) * element(b, j))) / 4,
    nodes: { contract: 1, reduce: 0 },
  },
  {
    says: 'a quotient inside a sum',
    text: 'fn f(a: f32[I, J], b: f32[J]) -> f32[I] {\n let y[i] = sum[j] a[i, j] / (5 + b[j])\n y }',
    inputs: [
      ['f32', 3, 4],
      ['f32', 4],
    ],
    shape: [3],
    naive: ([a, b], i) => sum(4, (j) => element(a, i, j) / (5 + element(b, j))),
  },
  {
    says: 'a sum of a difference of squares',
    text: 'fn f(a: f32[I, D], b: f32[J, D]) -> f32[I, J] {\n let y[i, j] = sum[d] (a[i, d] - b[j, d]) ^ 2\n y }',
    inputs: [
      ['f32', 2, 3],
      ['f32', 4, 3],
    ],
    shape: [2, 4],
    naive: ([a, b], i, j) => sum(3, (d) => (element(a, i, d) - element(b, j, d)) ** 2),
  },
  {
    says: 'reductions inside reductions',
    text: 'fn f(a: f32[I, J]) -> f32[I] {\n let y[i] = sum[j] (a[i, j] - mean[k] a[i, k]) * (a[i, j] - min[k] a[i, k])\n y }',
    inputs: [['f32', 2, 4]],
    shape: [2],
    naive: ([a], i) => {
      const row = [0, 1, 2, 3].map((j) => element(a, i, j));
      const mean = row.reduce((p, q) => p + q) / 4;
      return row.reduce((total, x) => total + (x - mean) * (x - Math.min(...row)), 0);
    },
  },
  {
    says: 'leading axes as `...`',
    text: 'fn f(x: f32[..., D], w: f32[D]) -> f32[...] = sum[d] x[..., d] * w[d]',
    inputs: [
      ['f32', 2, 3, 4],
      ['f32', 4],
    ],
    shape: [2, 3],
    naive: ([x, w], a, b) => sum(4, (d) => element(x, a, b, d) * element(w, d)),
    nodes: { contract: 1, view: 0 },
  },
  {
    says: '`...` on the left',
    text: 'fn f(x: f32[..., D], w: f32[D]) -> f32[..., D] {\n let y[..., d] = x[..., d] * w[d] - min[e] x[..., e]\n y }',
    inputs: [
      ['f32', 2, 3, 4],
      ['f32', 4],
    ],
    shape: [2, 3, 4],
    naive: ([x, w], a, b, d) =>
      element(x, a, b, d) * element(w, d) - Math.min(...[0, 1, 2, 3].map((e) => element(x, a, b, e))),
  },
  {
    says: 'a sum over leading axes',
    text: 'fn f(x: f32[..., D], w: f32[D]) -> f32[D] {\n let y[d] = sum[...] x[..., d] * x[..., d] * w[d]\n y }',
    inputs: [
      ['f32', 2, 3, 4],
      ['f32', 4],
    ],
    shape: [4],
    naive: ([x, w], d) => element(w, d) * sum(2, (a) => sum(3, (b) => element(x, a, b, d) ** 2)),
    nodes: { contract: 1 },
  },
  {
    says: 'blocks inside, with names and reductions of their own',
    text: 'fn f(a: f32[I, J], b: f32[J]) -> f32[I] {\n let y[i] = a[i, 0] + (if I > 1 then { let b = 2 * b\n let n = sum[j] a[i, j] * b[j]\n n + 1 } else b[0])\n y }',
    inputs: [
      ['f32', 3, 4],
      ['f32', 4],
    ],
    shape: [3],
    naive: ([a, b], i) => element(a, i, 0) + 1 + 2 * sum(4, (j) => element(a, i, j) * element(b, j)),
    nodes: { contract: 1 },
  },
  {
    says: 'indices as numbers',
    text: 'fn f(x: f32[T, U]) -> f32[T, U] {\n let y[t, u] = where(2*u <= t + 1, x[t, u] * t, f32(u) / 2)\n y }',
    inputs: [['f32', 3, 4]],
    shape: [3, 4],
    naive: ([x], t, u) => (2 * u <= t + 1 ? element(x, t, u) * t : u / 2),
  },
  {
    says: 'an index that nothing but its range knows',
    text: 'fn f(x: f32[N]) -> f32[2, N, 3] {\n let y[a in 0..2, i, b in 1..4] = x[i] + 10 * a + b\n y }',
    inputs: [['f32', 3]],
    shape: [2, 3, 3],
    naive: ([x], a, i, b) => element(x, i) + 10 * a + b + 1,
  },
  {
    says: 'rows that data choose',
    text: 'fn f(table: f32[N, D], ids: i32[B, T]) -> f32[B, T, D] {\n let y[b, t, d] = table[ids[b, t], d]\n y }',
    inputs: [
      ['f32', 3, 2],
      ['i32', 2, 4],
    ],
    shape: [2, 4, 2],
    naive: ([table, ids], b, t, d) => element(table, element(ids, b, t), d),
    nodes: { gather: 1 },
  },
  {
    says: 'one element of each row',
    text: 'fn f(x: f32[B, C], ids: i32[B]) -> f32[B] {\n let y[b] = x[b, ids[b]]\n y }',
    inputs: [
      ['f32', 4, 3],
      ['i32', 4],
    ],
    shape: [4],
    naive: ([x, ids], b) => element(x, b, element(ids, b)),
    nodes: { gather: 1 },
  },
  {
    says: 'two positions from data',
    text: 'fn f(x: f32[3, 3], i: i32[N], j: i32[N]) -> f32[N] {\n let y[n] = x[i[n], j[n]]\n y }',
    inputs: [
      ['f32', 3, 3],
      ['i32', 5],
      ['i32', 5],
    ],
    shape: [5],
    naive: ([x, i, j], n) => element(x, element(i, n), element(j, n)),
    nodes: { gather: 1 },
  },
  {
    says: 'a function of elements',
    text: 'fn half(x: f32[...]) -> f32[...] = x / 2\nfn f(x: f32[N, M]) -> f32[M, N] {\n let y[m, n] = half(x[n, m]) + relu(x[n, m])\n y }',
    inputs: [['f32', 2, 3]],
    shape: [3, 2],
    naive: ([x], m, n) => element(x, n, m) / 2 + Math.max(element(x, n, m), 0),
  },
  {
    says: 'fixed positions among indices',
    text: 'fn f(x: f32[N, 3]) -> f32[N] {\n let y[n] = x[n, 0] * x[n, -1]\n y }',
    inputs: [['f32', 4, 3]],
    shape: [4],
    naive: ([x], n) => element(x, n, 0) * element(x, n, 2),
  },
  {
    says: 'positions from the outside',
    text: 'fn f(x: f32[B, T, C], t: i32[B, T]) -> f32[B, T] = x[..., t]',
    inputs: [
      ['f32', 2, 2, 3],
      ['i32', 2, 2],
    ],
    shape: [2, 2],
    naive: ([x, t], b, s) => element(x, b, s, element(t, b, s)),
    nodes: { gather: 1 },
  },
  {
    says: 'slices',
    text: 'fn f(x: f32[4, 5, 2]) -> f32[2, 2] = x[1..3, -1, :]',
    inputs: [['f32', 4, 5, 2]],
    shape: [2, 2],
    naive: ([x], i, j) => element(x, i + 1, 4, j),
    nodes: { view: 1 },
  },
];

describe('index notation means what it says', () => {
  test.each(cases)('$says', ({ text, inputs, shape, naive, nodes }) => {
    const { result, tensors } = compute(text, inputs);
    expect(result.shape).toEqual(shape);
    const wanted = [...indices(shape)].map((index) => naive(tensors, ...index));
    expect(result.data.length).toBe(wanted.length);
    wanted.forEach((value, place) => expect(result.data[place]).toBeCloseTo(value, 5));
    for (const [op, count] of Object.entries(nodes ?? {}))
      expect([op, result.graph.nodes.filter((node) => node.op === op).length]).toEqual([op, count]);
  });
});
