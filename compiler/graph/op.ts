/**
 * What the compiler knows about one op. A fact is said here once; the checker, the differentiator, the interpreter,
 * the tests and the docs read it.
 */
import type { TensorType } from '../types/tensor.ts';
import type { Builder } from './build.ts';
import type { Attributes, Node, OpName, Value } from './graph.ts';

/** A whole tensor in the interpreter: row-major, every element a JavaScript number already rounded to its dtype. */
export interface Tensor {
  readonly type: TensorType;
  readonly data: Float64Array;
}

/** How the interpreter computes: `f64` ignores float dtypes and keeps doubles (the oracle of gradient checks). */
export interface Arithmetic {
  readonly precision: 'as-written' | 'f64';
}

/** A type rule found the operands wrong: a sentence in the user's terms (code and text; the caller adds places). */
export class OpTypeError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface Op<Name extends OpName> {
  readonly name: Name;
  /** What it computes, in one or two sentences. */
  readonly doc: string;
  /** Result types from operand types; throws OpTypeError. Works on symbolic sizes. */
  type(inputs: readonly TensorType[], attributes: Attributes[Name]): TensorType[];
  /** The meaning. */
  interpret(inputs: readonly Tensor[], attributes: Attributes[Name], types: readonly TensorType[], arithmetic: Arithmetic): Tensor[];
  /**
   * Adjoints of the operands from adjoints of the results (undefined: no gradient flows), built with `build`. `undefined`
   * for a whole op: it is not differentiable (integers, comparisons) and gradients stop.
   */
  readonly gradient?: (node: Extract<Node, { op: Name }>, adjoints: readonly (Value | undefined)[], build: Builder) => (Value | undefined)[];
  /** Operands and attributes for the op's tests: at least the shapes that have broken others (scalar, size 1, size 0, odd sizes, strided). */
  readonly samples: readonly { readonly inputs: readonly TensorType[]; readonly attributes: Attributes[Name]; readonly range?: readonly [number, number] }[];
}
