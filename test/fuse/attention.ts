/** Attention of many kinds, as graphs: what tests of chains are about. */
import { differentiate } from '../../compiler/differentiate/differentiate.ts';
import type { Builder } from '../../compiler/graph/build.ts';
import type { AffineIndex, Graph, Precision, Value } from '../../compiler/graph/graph.ts';
import { at } from '../../compiler/ops/affine.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { f32, shorthand } from './networks.ts';

interface Sizes {
  readonly batch?: readonly number[];
  readonly rows: number;
  readonly columns?: number;
  readonly width?: number;
}

export interface Variant extends Sizes {
  readonly causal?: boolean;
  readonly dropout?: boolean;
  readonly bias?: boolean;
  /** Keys and values are shared along the last axis of the batch (Shazeer 2019). */
  readonly shared?: boolean;
  readonly backward?: boolean;
  readonly precision?: Precision;
  /** What the softmax is taken of, made of the scores; `param` gives one more tensor whose gradient is wanted. */
  readonly of?: (build: Builder, scores: Value, param: (...sizes: number[]) => Value) => Value;
  /** Two softmaxes, one less the other times a number that is trained (Ye et al. 2024). */
  readonly twice?: boolean;
  /** The loss sees the mean over the rows: the gradient of each is the same. */
  readonly pooled?: boolean;
  /** What is trained is overwritten. */
  readonly updates?: boolean;
  /** Added to the loss. */
  readonly penalty?: (build: Builder, softmax: Value) => Value;
  /** What is made of them beside the loss is a chain of its own. */
  readonly chains?: number;
  /** Tensors that have as many rows and columns and are no scores. */
  readonly square?: number;
  /** What else is made of the scores or of their softmax. */
  readonly also?: (build: Builder, scores: Value, softmax: Value) => void;
}

/** softmax(q·kᵀ)·v, the sum of its squares, and the gradients of q, k and v. */
export function attention(variant: Variant): Graph {
  const {
    batch = [2, 4],
    rows,
    columns = rows,
    width = 4,
    causal,
    dropout,
    bias,
    shared,
    backward = true,
    also,
  } = variant;
  const build = createBuilder('attention');
  const { softmax, scale } = shorthand(build);
  const few = shared ? batch.slice(0, -1) : batch;
  const [q, k, v] = [
    [...batch, rows],
    [...few, columns],
    [...few, columns],
  ].map((sizes, at) => build.input('qkv'[at], 'batch', f32(...sizes, width)));
  // A contraction of axes by name, as index notation makes it: the last axis of the batch may be missing in keys and values.
  const axes = [...batch.keys()].map((axis) => at(axis));
  const [row, column, inner] = [0, 1, 2].map((after) => at(batch.length + after));
  const own = axes.slice(0, few.length);
  const product = (a: Value, b: Value, ofB: readonly AffineIndex[], free: number, sum: number): Value =>
    build.contract(
      [a, b],
      [
        [...axes, row, inner],
        [...own, ...ofB],
      ],
      [...batch, rows, free],
      [sum],
    );
  const wanted = [q, k, v];
  const param = (...sizes: number[]): Value => {
    const made = build.input(`p${wanted.length}`, 'param', f32(...sizes));
    wanted.push(made);
    return made;
  };
  const scoresOf = (left: Value): Value => scale(product(left, k, [column, inner], columns, width), 0.5);
  const scores = scoresOf(q);
  const shape = scores.type.shape;
  let seen = variant.of?.(build, scores, param) ?? scores;
  if (bias) seen = build.binary('add', seen, build.broadcast(build.input('bias', 'batch', f32(columns)), shape));
  if (causal)
    seen = build.where(
      build.binary('le', build.iota(shape, batch.length + 1), build.iota(shape, batch.length)),
      seen,
      build.constant(-Infinity, 'f32', shape),
    );
  let p = softmax(seen);
  if (variant.twice)
    p = build.binary(
      'sub',
      p,
      build.binary('mul', softmax(scoresOf(param(...batch, rows, width))), build.broadcast(param(), shape)),
    );
  also?.(build, scores, p);
  if (dropout) {
    const seed = build.input('seed', 'scalar', { dtype: 'u32', shape: [2] });
    const step = build.input('step', 'scalar', { dtype: 'u32', shape: [] });
    const bits = build.random(seed, step, 7, shape);
    const isKept = build.binary('lt', bits, build.constant(2 ** 31, 'u32', shape));
    p = build.where(isKept, scale(p, 2), build.constant(0, 'f32', shape));
  }
  const y = product(p, v, [inner, column], width, columns);
  const seenByLoss = variant.pooled ? build.reduce('sum', y, [batch.length]) : y;
  const squares = build.binary('mul', seenByLoss, seenByLoss);
  let loss = build.reduce('sum', squares, [...squares.type.shape.keys()]);
  const penalty = variant.penalty?.(build, p);
  if (penalty !== undefined) loss = build.binary('add', loss, penalty);
  build.output('loss.sum', 'result', loss);
  if (backward)
    differentiate(build, loss, wanted).forEach((gradient, at) => {
      if (at < 3 || !variant.updates) build.output(`d${['q', 'k', 'v'][at] ?? at}`, 'result', gradient);
      else build.output(`p${at}`, 'update', build.binary('sub', wanted[at], scale(gradient, 0.1)));
    });
  const graph = build.finish();
  return variant.precision === undefined ? graph : { ...graph, precision: variant.precision };
}

export const variants: Readonly<Record<string, Variant>> = {
  'one block': { rows: 5, columns: 7 },
  'two blocks, causal': { rows: 96, causal: true },
  'no batch but heads, a prime number of rows': { batch: [8], rows: 67, columns: 3 },
  'dropout and a bias': { rows: 6, columns: 9, dropout: true, bias: true },
  'dropout in blocks': { rows: 72, columns: 11, dropout: true, causal: true },
  'keys that heads share': { batch: [8, 3], rows: 7, columns: 5, shared: true },
  'keys that heads share, in blocks': { batch: [8, 2], rows: 80, columns: 6, shared: true, causal: true },
  'forward only': { rows: 96, columns: 10, backward: false, causal: true },
  'one block, and rows that are left': { batch: [8], rows: 127, columns: 3 },
  'blocks, and rows that are left, causal': { batch: [2], rows: 97, causal: true },
  'two blocks, and rows that are left': { rows: 131, columns: 3 },
  'forward only, rows that are left': { batch: [3], rows: 197, columns: 5, backward: false },
  'keys that heads share, rows that are left': { batch: [2, 3], rows: 131, columns: 5, shared: true },
  'few samples, blocks of rows': { batch: [2], rows: 192, columns: 5 },
  'few samples, rows that are left': { batch: [3], rows: 197, columns: 5 },
  'few samples, one block': { batch: [2], rows: 8 },
  'one sample of few heads': { batch: [1, 3], rows: 96, columns: 5 },
  'rows longer than the cache': { batch: [2], rows: 25, columns: 5000, width: 2, backward: false },
  'heads as wide as they are long': { batch: [3], rows: 8, width: 8, square: 2 },
  'a trained bias of all heads': {
    rows: 70,
    columns: 5,
    of: (build, scores, param) => build.binary('add', scores, build.broadcast(param(70, 5), scores.type.shape)),
  },
  'keys that heads share, the same gradient for all rows': {
    batch: [4, 3],
    rows: 70,
    columns: 5,
    shared: true,
    pooled: true,
  },
  'a trained bias that is updated in place': {
    rows: 70,
    columns: 5,
    updates: true,
    // Its gradient.
    square: 1,
    of: (build, scores, param) => build.binary('add', scores, build.broadcast(param(4, 70, 5), scores.type.shape)),
  },
  'a trained temperature that is updated in place': {
    rows: 70,
    columns: 5,
    updates: true,
    of: (build, scores, param) => build.binary('mul', scores, build.broadcast(param(), scores.type.shape)),
  },
  'a trained bias of each head, rows that are left': {
    batch: [3, 2],
    rows: 127,
    columns: 5,
    of: (build, scores, param) => build.binary('add', scores, build.broadcast(param(2, 127, 5), scores.type.shape)),
  },
  'a trained temperature': {
    batch: [3, 4],
    rows: 96,
    columns: 5,
    of: (build, scores, param) => build.binary('mul', scores, build.broadcast(param(), scores.type.shape)),
  },
  'a temperature of each head': {
    batch: [3, 4],
    rows: 8,
    columns: 5,
    of: (build, scores, param) =>
      build.binary('mul', scores, build.broadcast(build.reshape(param(4), [4, 1, 1]), scores.type.shape)),
  },
  'a difference of two': { rows: 96, columns: 5, twice: true },
  'its entropy in the loss': {
    rows: 70,
    columns: 5,
    penalty: (build, p) => build.reduce('sum', build.binary('mul', p, build.unary('log', p)), [0, 1, 2, 3]),
  },
  'running sums, in another shape': {
    rows: 70,
    columns: 5,
    of: (build, scores) => {
      const flat = build.reshape(scores, [2 * 4 * 70, 5]);
      return build.reshape(build.cumulative('sum', flat, 1, false), [2, 4, 70, 5]);
    },
    chains: 3,
    square: 4,
  },
  'a mean over the heads as well': {
    rows: 96,
    columns: 5,
    backward: false,
    also: (build, _, p) => build.output('mean', 'result', build.reduce('sum', p, [1])),
    chains: 2,
  },
  'the largest of each column as well': {
    rows: 197,
    columns: 5,
    backward: false,
    also: (build, scores) => build.output('top', 'result', build.reduce('max', scores, [2])),
    chains: 2,
  },
  'in bf16': { rows: 70, columns: 16, precision: { products: 'bf16', storage: 'bf16', except: [] } },
};
