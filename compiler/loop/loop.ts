/**
 * Loop IR: a program as a short list of fused kernels over buffers. A kernel says *what* is computed at each point of
 * its axes and what is reduced over which; it does not say in which order, on how many threads or how wide — that is
 * the schedule's (Tile IR).
 *
 * Scalar expressions are shared by identity: the same object used twice is computed once.
 */
import type { BinaryOp, Monoid, Origin, UnaryOp } from '../graph/graph.ts';
import type { Dtype } from '../types/dtype.ts';

/** Who owns a buffer and how long it lives. */
export type BufferRole =
  | 'batch' // filled by the driver before each run
  | 'scalar' // step and seed, filled by the driver
  | 'param' // lives across runs; updated in place
  | 'state' // likewise
  | 'constant' // written once, from `data`
  | 'result' // read by the driver after a run
  | 'temporary'; // lives between its first and last use within one run, or at one point of a chain

/** A row-major, contiguous piece of memory. */
export interface Buffer {
  readonly name: string;
  readonly role: BufferRole;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** The elements of a constant. */
  readonly data?: readonly number[];
}

/** A loop variable, 0 ≤ axis < size. Compared by identity; `name` is unique within its kernel. */
export interface Axis {
  readonly name: string;
  readonly size: number;
}

/** (Σ scale·axis + offset) / divisor, or a coordinate computed from data (gather). */
export type Coordinate =
  | {
      readonly kind: 'affine';
      readonly terms: readonly { readonly axis: Axis; readonly scale: number }[];
      readonly offset: number;
      readonly divisor: number;
    }
  | { readonly kind: 'computed'; readonly value: Expression };

/** An element of a buffer. `shape` is how this access sees it (a reshape costs nothing): same number of elements. */
export interface Access {
  readonly buffer: Buffer;
  readonly shape: readonly number[];
  readonly index: readonly Coordinate[];
}

/** Scalar functions every target spells. `where` takes three operands; `philox` (index, stream, step, key0, key1) → u32 word 0. */
export type Scalar = UnaryOp | BinaryOp | 'where' | 'cast' | 'philox';

export type Expression =
  | { readonly kind: 'number'; readonly dtype: Dtype; readonly value: number }
  /** The value of an affine function of axes, as i32 (iota, comparisons between coordinates). */
  | { readonly kind: 'coordinate'; readonly dtype: 'i32'; readonly value: Coordinate }
  /**
   * `guard`: 'none' — always inside; 'zero' — 0 where a coordinate is outside or a division leaves a rest;
   * 'check' — a computed coordinate that must be inside: outside raises the program's flag and reads 0 (an affine
   * coordinate of the same access that is outside reads 0 and raises nothing).
   */
  | { readonly kind: 'load'; readonly dtype: Dtype; readonly access: Access; readonly guard: 'none' | 'zero' | 'check' }
  /** `where(condition, a, b)` in which only the chosen side may be loaded from (concat, piecewise reads). */
  | { readonly kind: 'apply'; readonly dtype: Dtype; readonly op: Scalar; readonly operands: readonly Expression[] }
  /** The result of an earlier reduce stage at this point of the kernel's axes, or a contraction's sum. */
  | { readonly kind: 'result'; readonly dtype: Dtype; readonly of: Result };

/** What a reduction leaves behind; compared by identity. */
export interface Result {
  readonly name: string;
  readonly dtype: Dtype;
}

export interface Store {
  readonly access: Access;
  readonly value: Expression;
}

/**
 * One part of a region, executed for every point of the region's axes. Later stages see earlier results, and read what
 * earlier stages stored at the same point of the region's axes. At each point all values of a list of stores are
 * computed before any is written: a store may overwrite an element that a value beside it reads.
 */
export type Stage =
  /** Sibling reductions over the same inner axes. */
  | {
      readonly kind: 'reduce';
      readonly axes: readonly Axis[];
      readonly results: readonly {
        readonly result: Result;
        readonly monoid: Monoid | 'argmax' | 'argmin';
        readonly value: Expression;
      }[];
    }
  /** Writes, for every point of further inner axes (none: once per point of the region). */
  | { readonly kind: 'store'; readonly axes: readonly Axis[]; readonly stores: readonly Store[] }
  /** Running combination along one inner axis; `stores` see `result` at each position. */
  | {
      readonly kind: 'cumulate';
      readonly axis: Axis;
      readonly reverse: boolean;
      readonly monoid: Monoid;
      readonly value: Expression;
      readonly result: Result;
      readonly stores: readonly Store[];
    };

/** Elementwise work and reductions: softmax is one region with two reduce stages and a store. */
export interface Region {
  readonly kind: 'region';
  /** Independent of each other: may run in any order, on any thread. */
  readonly axes: readonly Axis[];
  readonly stages: readonly Stage[];
}

/**
 * result = Σ over `reduce` of left·right, then the stores (epilogue), at every point of `axes`. `left` and `right` are
 * any expressions over axes and reduce (prologue); as a rule a load. Accumulated in f32 (f64 for f64).
 */
export interface Contraction {
  readonly kind: 'contraction';
  readonly axes: readonly Axis[];
  readonly reduce: readonly Axis[];
  readonly left: Expression;
  readonly right: Expression;
  /** Both are words (i32) of four bytes, unsigned on the left, signed on the right: left·right is the sum of four products. */
  readonly bytes?: true;
  readonly result: Result;
  readonly stores: readonly Store[];
}

/** Zeroes `target`, then adds `value` at (batch axes, id, rest axes) for every point, in the order of `walk`: deterministic. */
export interface Scatter {
  readonly kind: 'scatter';
  /** Axes of the target shared with the updates before the scattered one, the walked ones, and those after. */
  readonly batch: readonly Axis[];
  readonly walk: readonly Axis[];
  readonly rest: readonly Axis[];
  readonly id: Expression;
  readonly value: Expression;
  readonly target: Buffer;
  /** How `target` is seen: [...batch sizes, size, ...rest sizes]. */
  readonly shape: readonly number[];
}

/**
 * Parts that hand on a block of rows in memory of their own: at each point of `axes`, for each position of `walk` in turn, its spans
 * of rows; after all positions, `last`. Points are independent; what a part writes elsewhere another may read at the same rows only.
 * Attention is a chain: scores, softmax and the sum over the values, for some queries at a time.
 */
export interface Chain {
  readonly kind: 'chain';
  readonly axes: readonly Axis[];
  /** Of the batch. */
  readonly walk: readonly Axis[];
  /** None of the program's buffers: one of each for every thread, garbage when a point begins. */
  readonly locals: readonly Buffer[];
  /** What is added to for all that is walked. */
  readonly sums: readonly Sum[];
  readonly spans: readonly Span[];
  readonly last: readonly Link[];
  /** What all points add to, and what is done with it after the last one. */
  readonly totals: readonly Sum[];
  readonly end: readonly Link[];
  /** Of what is handed on, columns beyond the number of the row plus this change nothing, and may be left out: a mask takes them out. */
  readonly reach?: number;
}

/** Blocks of rows of one size: for each position of `axes`, none or one, the parts one after the other. */
export interface Span {
  readonly axes: readonly Axis[];
  readonly parts: readonly Link[];
}

/** What parts of a chain add to: a buffer like its locals that holds the monoid's identity when a point (a total: the chain) begins. */
export interface Sum {
  readonly buffer: Buffer;
  readonly monoid: Monoid;
}

/** What a chain is made of. */
export type Link = Region | Contraction;

export type Segment = Link | Scatter | Chain;

/** One launch: its segments are independent of each other (one optimizer kernel over many parameters has one each). */
export interface Kernel {
  readonly kind: 'kernel';
  readonly name: string;
  readonly segments: readonly Segment[];
  /** What it was made from, for people. */
  readonly origins: readonly Origin[];
}

/** Runs `body` for axis = 0 … size-1 (from the end if `reverse`), one after the other; accesses inside may use the axis. */
export interface Repeat {
  readonly kind: 'repeat';
  readonly axis: Axis;
  readonly reverse: boolean;
  readonly body: readonly Step[];
}

export type Step = Kernel | Repeat;

export interface LoopProgram {
  readonly name: string;
  readonly buffers: readonly Buffer[];
  readonly steps: readonly Step[];
}
