/**
 * Tensor IR: pure SSA over whole tensors. One graph is one program — a training step, an evaluation, an initialization.
 *
 * Broadcasting is explicit (a `view`), every value knows where in the source and in which instance it came from, and
 * nothing is mutated: state that changes comes in as an input and goes out as an output of the same name.
 */
import type { Span } from '../base/source.ts';
import type { Dim } from '../types/dim.ts';
import type { Dtype } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';

/** Where a value came from: shown by `nacre ir`, by errors and by `nacre explain`. */
export interface Origin {
  readonly span?: Span;
  /** `file:line:column`, for a graph that was read from text and has no source behind it. */
  readonly place?: string;
  /** The instance that was being applied, e.g. `model.blocks.0.attn`. */
  readonly path?: string;
}

/** One SSA value. Compared by identity; `id` is unique in its program and only for printing. */
export interface Value {
  readonly id: number;
  readonly type: TensorType;
}

/**
 * One coordinate of a tensor read as an affine function of iteration axes:
 * (Σ scale·axis + offset) / divisor. Where the division leaves a rest, or the coordinate is outside the tensor, the
 * element read is 0. `divisor` is 1 except in the adjoints of strided reads.
 */
export interface AffineIndex {
  readonly terms: readonly { readonly axis: number; readonly scale: Dim }[];
  readonly offset: Dim;
  readonly divisor: Dim;
}

export type Monoid = 'sum' | 'prod' | 'max' | 'min';

/** Elementwise functions of one, two and three tensors of one shape: also the scalar instructions of every target. */
export const unaryOps = [
  'neg',
  'abs',
  'sign',
  'exp',
  'log',
  'sin',
  'cos',
  'tanh',
  'erf',
  'sqrt',
  'rsqrt',
  'floor',
  'ceil',
  'round',
  'tf32',
  'not',
] as const;
export const binaryOps = [
  'add',
  'sub',
  'mul',
  'div',
  'rem',
  'pow',
  'max',
  'min',
  'eq',
  'ne',
  'lt',
  'le',
  'and',
  'or',
  'xor',
  'shl',
  'shr',
] as const;
export type UnaryOp = (typeof unaryOps)[number];
export type BinaryOp = (typeof binaryOps)[number];

interface NoAttributes {}

/** What each op carries besides its operands. The records in `ops/` say what each means. */
export interface Attributes extends Record<UnaryOp, NoAttributes>, Record<BinaryOp, NoAttributes> {
  /** One number everywhere (`value: number`), or the elements in row-major order. */
  constant: { readonly dtype: Dtype; readonly shape: readonly Dim[]; readonly value: number | readonly number[] };
  /** The coordinate along `axis`, as i32. */
  iota: { readonly shape: readonly Dim[]; readonly axis: number };
  /** Philox4x32-10 bits (u32): operands seed u32[2], step u32[]; element i is word 0 of counter (i, stream, step, 0). */
  random: { readonly stream: number; readonly shape: readonly Dim[] };
  /** (condition: bool, a, b) → a where condition else b. */
  where: NoAttributes;
  cast: { readonly dtype: Dtype };
  /** The value itself; its gradient stops here. */
  detach: NoAttributes;
  /** The first operand itself, not before the second is known: what is computed from it is computed that late. */
  after: NoAttributes;
  /** Row-major order kept, shape changed. */
  reshape: { readonly shape: readonly Dim[] };
  /** out[i₀, i₁, …] = x[index₀(i), index₁(i), …], 0 outside: transpose, broadcast, slice, pad, flip, window, diagonal. */
  view: { readonly shape: readonly Dim[]; readonly index: readonly AffineIndex[] };
  concat: { readonly axis: number };
  /** Σ over `reduce` of the product of the operands, each read at affine indices of (shape axes, then reduce axes). */
  contract: {
    readonly shape: readonly Dim[];
    readonly reduce: readonly Dim[];
    readonly indices: readonly (readonly AffineIndex[])[];
    /** Elements (i32) are four bytes each, the first operand's unsigned, the second's signed: a product is the sum of four. */
    readonly bytes?: true;
  };
  /** Combines over the axes and drops them. */
  reduce: { readonly monoid: Monoid; readonly axes: readonly number[] };
  /** Position (i32) of the first largest or smallest element along the axis, which is dropped. */
  argreduce: { readonly monoid: 'max' | 'min'; readonly axis: number };
  /** Running combination along the axis (inclusive). */
  cumulative: { readonly monoid: Monoid; readonly axis: number; readonly reverse: boolean };
  /** (x[b…, n, r…], ids: i32[b…, i…]) → x[b…, ids[b…, i…], r…]: `batch` leading axes are shared. Out of range is an error. */
  gather: { readonly batch: number };
  /** (ids[b…, i…], updates[b…, i…, r…]) → [b…, size, r…]: sums the updates into zeros, in index order. Gather's adjoint. */
  scatter: { readonly batch: number; readonly size: Dim };
  /**
   * Runs `body` `trips` times. Operands: `carried` initial values, then `scanned` sequences (walked along axis 0, from the
   * end if `reverse`), then constants. Body inputs in the same order (a scanned one without its axis 0); body outputs:
   * next carried values, then per-step results. Results: last carried values, then the per-step results stacked along a
   * new axis 0, in the order of the sequences (so reversed back when `reverse`).
   */
  loop: {
    readonly trips: Dim;
    readonly carried: number;
    readonly scanned: number;
    readonly reverse: boolean;
    readonly body: Graph;
  };
}

export type OpName = keyof Attributes;

export interface NodeOf<Name extends OpName> {
  readonly op: Name;
  readonly inputs: readonly Value[];
  /** One, except for `loop`. */
  readonly outputs: readonly Value[];
  readonly attributes: Attributes[Name];
  readonly origin: Origin;
}

/** One operation. Discriminated by `op`. */
export type Node = { [Name in OpName]: NodeOf<Name> }[OpName];

/** What an input is for: decides who provides it and how long it lives. */
export type InputRole =
  | 'batch' // a field of the current batch
  | 'param' // trained, saved
  | 'state' // kept from step to step, saved: optimizer moments, buffers
  | 'scalar'; // the driver's: step (u32[]), seed (u32[2])

export interface GraphInput {
  readonly name: string;
  readonly role: InputRole;
  readonly value: Value;
}

export interface GraphOutput {
  readonly name: string;
  /**
   * `update`: the next value of the param or state of that name, which need not be an input (first values are only written).
   * `result`: handed to the driver (loss, metrics), under a name that nothing else has.
   */
  readonly role: 'update' | 'result';
  readonly value: Value;
}

/** What a train block's `precision` asks for. */
export interface Precision {
  /** What operands of products are rounded to; f32: they are taken as they are. */
  readonly products: 'f32' | 'f16' | 'bf16' | 'tf32';
  /** What is kept in memory between products: of tf32, which has no memory of its own, f32. */
  readonly storage: 'f32' | 'f16' | 'bf16';
  /** Paths of instances in which nothing is rounded. */
  readonly except: readonly string[];
}

export interface Graph {
  readonly name: string;
  /** Still to be done, by the pass insert-casts. */
  readonly precision?: Precision;
  /** Paths of instances whose activations are computed again for the backward pass, none within another: for the pass rematerialize. */
  readonly recompute?: readonly string[];
  readonly inputs: readonly GraphInput[];
  /** In an order where every operand is defined before it is used. */
  readonly nodes: readonly Node[];
  readonly outputs: readonly GraphOutput[];
}
