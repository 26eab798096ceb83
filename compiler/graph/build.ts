/**
 * The one way graphs are made. Type rules run at once: a wrong operand throws OpTypeError here, with the builder's
 * current origin, and never reaches a pass. The implementation is `ops/builder.ts` (it needs the op records).
 */
import type { Dim } from '../types/dim.ts';
import type { Dtype } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';
import type {
  AffineIndex,
  Attributes,
  BinaryOp,
  Graph,
  GraphInput,
  GraphOutput,
  InputRole,
  Monoid,
  Node,
  NodeOf,
  OpName,
  Origin,
  UnaryOp,
  Value,
} from './graph.ts';

export interface Builder {
  /** Values added from here on come from there. */
  origin: Origin;

  input(name: string, role: InputRole, type: TensorType): Value;
  output(name: string, role: GraphOutput['role'], value: Value): void;

  /** A filled tensor; shape defaults to a scalar. */
  constant(value: number | readonly number[], dtype: Dtype, shape?: readonly Dim[]): Value;
  iota(shape: readonly Dim[], axis: number): Value;
  random(seed: Value, step: Value, stream: number, shape: readonly Dim[]): Value;

  unary(op: UnaryOp, x: Value): Value;
  /** Same shape and dtype on both sides; broadcast first. Comparisons give bool. */
  binary(op: BinaryOp, a: Value, b: Value): Value;
  where(condition: Value, a: Value, b: Value): Value;
  cast(x: Value, dtype: Dtype): Value;
  detach(x: Value): Value;

  reshape(x: Value, shape: readonly Dim[]): Value;
  view(x: Value, shape: readonly Dim[], index: readonly AffineIndex[]): Value;
  /** NumPy's rule: axes aligned from the right, size 1 stretched. The value itself if nothing changes. */
  broadcast(x: Value, shape: readonly Dim[]): Value;
  /** out axis i is x axis order[i]. */
  transpose(x: Value, order: readonly number[]): Value;
  slice(x: Value, axis: number, start: Dim, size: Dim): Value;
  concat(xs: readonly Value[], axis: number): Value;

  contract(
    operands: readonly Value[],
    indices: readonly (readonly AffineIndex[])[],
    shape: readonly Dim[],
    reduce: readonly Dim[],
  ): Value;
  /** a[…, m, k] · b[…, k, n] with leading axes broadcast. */
  matmul(a: Value, b: Value): Value;
  /** Drops the axes. */
  reduce(monoid: Monoid, x: Value, axes: readonly number[]): Value;
  argreduce(monoid: 'max' | 'min', x: Value, axis: number): Value;
  cumulative(monoid: Monoid, x: Value, axis: number, reverse: boolean): Value;
  gather(x: Value, ids: Value, batch: number): Value;
  scatter(ids: Value, updates: Value, batch: number, size: Dim): Value;
  loop(operands: readonly Value[], attributes: Attributes['loop']): readonly Value[];

  /** Any op by name: what passes and the text reader use. */
  node<Name extends OpName>(op: Name, inputs: readonly Value[], attributes: Attributes[Name]): readonly Value[];

  /** Appends the adjoints of a node's operands, given those of its results (undefined: none flows). */
  pullback<Name extends OpName>(
    node: NodeOf<Name>,
    adjoints: readonly (Value | undefined)[],
  ): readonly (Value | undefined)[];

  /** The node that made a value; undefined for inputs. */
  producer(value: Value): Node | undefined;
  readonly nodes: readonly Node[];
  readonly inputs: readonly GraphInput[];
  /** A builder for the body of a loop; its `finish()` is the `body` attribute. */
  nested(name: string): Builder;
  finish(): Graph;
}
