/**
 * What the compiler knows about one op. A fact is said here once; the checker, the differentiator, the interpreter,
 * the tests and the docs read it.
 */
import type { TensorType } from '../types/tensor.ts';
import type { Builder } from './build.ts';
import type { Attributes, Graph, NodeOf, OpName, Origin, Value } from './graph.ts';

/** A whole tensor in the interpreter: row-major, every element a JavaScript number already rounded to its dtype. */
export interface Tensor {
  readonly type: TensorType;
  readonly data: Float64Array;
}

/** How the interpreter computes: `f64` ignores float dtypes and keeps doubles (the oracle of gradient checks). */
export interface Arithmetic {
  readonly precision: 'as-written' | 'f64';
}

/** What an op may ask of the interpreter that runs it. */
export interface Interpretation extends Arithmetic {
  /** Runs a graph (the body of a loop) on tensors in the order of its inputs; results in the order of its outputs. */
  run(body: Graph, inputs: readonly Tensor[]): Tensor[];
}

/** gather or scatter was given a position that is not in the tensor. Data, not code, is wrong: runs must say so. */
export class IndexOutOfRange extends Error {
  readonly index: number;
  readonly size: number;
  /** Where the reading op came from, once the interpreter has said so. */
  readonly origin: Origin | undefined;
  constructor(index: number, size: number, origin?: Origin) {
    super(`index ${index} is outside an axis of size ${size}${origin?.path === undefined ? '' : ` in ${origin.path}`}`);
    this.index = index;
    this.size = size;
    this.origin = origin;
  }
}

/** A tensor that is larger than JavaScript can hold. */
export class TensorTooLarge extends Error {
  readonly type: TensorType;
  /** Where the op that makes it came from, once the interpreter has said so. */
  readonly origin: Origin | undefined;
  constructor(type: TensorType, origin?: Origin) {
    super(`a tensor of type ${type.dtype}[${type.shape.join(', ')}] is too large for the interpreter`);
    this.type = type;
    this.origin = origin;
  }
}

/** What type rules call what they find. */
export const opCodes = [
  'axis-out-of-range',
  'bad-index',
  'bad-size',
  'dtype-mismatch',
  'operand-count',
  'out-of-range',
  'rank-mismatch',
  'size-mismatch',
] as const;
export type OpCode = (typeof opCodes)[number];

/** A type rule found the operands wrong: a sentence in the user's terms (code and text; the caller adds places). */
export class OpTypeError extends Error {
  readonly code: OpCode;
  constructor(code: OpCode, message: string) {
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
  interpret(
    inputs: readonly Tensor[],
    attributes: Attributes[Name],
    types: readonly TensorType[],
    context: Interpretation,
  ): Tensor[];
  /**
   * Adjoints of the operands from adjoints of the results (undefined: no gradient flows), built with `build`.
   * `undefined`
   * for a whole op: it is not differentiable (integers, comparisons) and gradients stop.
   */
  readonly gradient?: (
    node: NodeOf<Name>,
    adjoints: readonly (Value | undefined)[],
    build: Builder,
  ) => (Value | undefined)[];
  /**
   * Operands and attributes for the op's tests: at least the shapes that have broken others (scalar, size 1, size 0,
   * odd sizes, strided).
   */
  readonly samples: readonly Sample<Name>[];
}

export interface Sample<Name extends OpName> {
  readonly inputs: readonly TensorType[];
  readonly attributes: Attributes[Name];
  /** What floating operands are drawn from; -2 to 2 when absent. */
  readonly range?: readonly [number, number];
  /** What integer operands are drawn from, both ends included; 0 to 2 when absent. */
  readonly integers?: readonly [number, number];
}
