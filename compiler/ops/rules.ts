/** What type rules are made of: checks that throw OpTypeError with a sentence a person can act on. */
import { OpTypeError, type OpCode } from '../graph/op.ts';
import type { Dim } from '../types/dim.ts';
import { equal, sameShape, showShape } from '../types/dim.ts';
import { isFloat, isInteger } from '../types/dtype.ts';
import type { Dtype } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';

export const showType = (type: TensorType): string =>
  type.shape.length === 0 ? `a scalar ${type.dtype}` : `${type.dtype}${showShape(type.shape)}`;

export const fail = (code: OpCode, message: string): never => {
  throw new OpTypeError(code, message);
};

export const sameType = (a: TensorType, b: TensorType): boolean => a.dtype === b.dtype && sameShape(a.shape, b.shape);

const miscounted = (op: string, count: string, inputs: readonly unknown[]): never =>
  fail('operand-count', `${op} takes ${count}, not ${inputs.length}`);

/** The operands as a tuple of the expected length. */
export function one<T>(op: string, inputs: readonly T[]): T {
  const [a] = inputs;
  return inputs.length === 1 && a !== undefined ? a : miscounted(op, 'one tensor', inputs);
}
export function two<T>(op: string, inputs: readonly T[]): [T, T] {
  const [a, b] = inputs;
  return inputs.length === 2 && a !== undefined && b !== undefined ? [a, b] : miscounted(op, 'two tensors', inputs);
}
export function three<T>(op: string, inputs: readonly T[]): [T, T, T] {
  const [a, b, c] = inputs;
  return inputs.length === 3 && a !== undefined && b !== undefined && c !== undefined
    ? [a, b, c]
    : miscounted(op, 'three tensors', inputs);
}

export function needSameShape(what: string, a: TensorType, b: TensorType): void {
  if (!sameShape(a.shape, b.shape))
    fail('size-mismatch', `${what} takes tensors of one shape, not ${showType(a)} and ${showType(b)}`);
}

export function needSameDtype(what: string, a: TensorType, b: TensorType): void {
  if (a.dtype !== b.dtype)
    fail(
      'dtype-mismatch',
      `${what} takes tensors of one element type, not ${a.dtype} and ${b.dtype}; convert one of them`,
    );
}

export function needFloat(what: string, type: TensorType): void {
  if (!isFloat(type.dtype)) fail('dtype-mismatch', `${what} takes floating point numbers, not ${type.dtype}`);
}

export function needInteger(what: string, type: TensorType): void {
  if (!isInteger(type.dtype)) fail('dtype-mismatch', `${what} takes integers, not ${type.dtype}`);
}

export function needNumber(what: string, type: TensorType): void {
  if (type.dtype === 'bool') fail('dtype-mismatch', `${what} takes numbers, not bool`);
}

export function needDtype(what: string, type: TensorType, dtype: Dtype): void {
  if (type.dtype !== dtype) fail('dtype-mismatch', `${what} has to be ${dtype}, not ${type.dtype}`);
}

export function needAxis(what: string, shape: readonly Dim[], axis: number): Dim {
  const size = shape[axis];
  if (!Number.isInteger(axis) || axis < 0 || size === undefined)
    return fail(
      'axis-out-of-range',
      `${what} names axis ${axis}, but ${showShape(shape)} has ${shape.length} ${shape.length === 1 ? 'axis' : 'axes'}`,
    );
  return size;
}

/** The leading `count` axes of both shapes have to agree. */
export function needSameLeading(what: string, a: TensorType, b: TensorType, count: number): void {
  for (let axis = 0; axis < count; axis++) {
    const [left, right] = [a.shape[axis], b.shape[axis]];
    if (left === undefined || right === undefined || !equal(left, right))
      fail(
        'size-mismatch',
        `${what} shares its first ${count} axes, but they differ in ${showType(a)} and ${showType(b)}`,
      );
  }
}

export function needSizes(shape: readonly Dim[]): void {
  for (const size of shape)
    if (typeof size === 'number' && (size < 0 || !Number.isInteger(size)))
      fail('bad-size', `${showShape(shape)} is not a shape: a size is a whole number from 0`);
}
