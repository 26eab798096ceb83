/**
 * Bringing operands of an elementwise operation together: numbers become constants of the tensors' element type, shapes
 * are broadcast (NumPy's rule), and elements of index notation meet over the union of their index variables.
 */
import type { Span } from '../base/source.ts';
import type { Value as GraphValue } from '../graph/graph.ts';
import { equal, type Dim } from '../types/dim.ts';
import { isFloat, isInteger, type Dtype } from '../types/dtype.ts';
import { at, emit, fail, type Context } from './context.ts';
import { elementOf, materialize, sizeOf, toIndexed, unionAxes } from './indexed.ts';
import { describe, showType, tensor, type Value } from './value.ts';

export interface Operand {
  readonly value: Value;
  readonly span: Span;
  /** A condition is bool whatever the element type of the others. */
  readonly condition?: boolean;
}

export interface Aligned {
  /** In the order of the operands, all of one shape. */
  readonly values: readonly GraphValue[];
  /** Makes the result of the operation a value again. */
  wrap(value: GraphValue): Value;
}

/** Undefined when an operand is unknown: then so is the result. */
export function align(
  context: Context,
  operator: string,
  operands: readonly Operand[],
  span: Span,
): Aligned | undefined {
  if (operands.some(({ value }) => value.kind === 'unknown')) return undefined;
  const prepared = operands.map((operand) => ({ ...operand, value: withoutLoss(context, operand) }));
  const dtype = commonDtype(context, operator, prepared);
  const inIndices = prepared.some(({ value }) => value.kind === 'index' || value.kind === 'indexed');
  return inIndices
    ? alignIndexed(context, operator, prepared, dtype, span)
    : alignShapes(context, operator, prepared, dtype, span);
}

const dtypeOf = (value: Value): Dtype | undefined =>
  value.kind === 'tensor' || value.kind === 'indexed'
    ? value.value.type.dtype
    : value.kind === 'bool'
      ? 'bool'
      : undefined;

/** A loss among other numbers is its mean. */
function withoutLoss(context: Context, { value, span }: Operand): Value {
  return value.kind === 'loss'
    ? tensor(emit(context, span, (builder) => builder.binary('div', value.sum, value.count)))
    : value;
}

/** The element type of all operands that are no conditions. */
function commonDtype(context: Context, operator: string, operands: readonly Operand[]): Dtype {
  let first: Operand | undefined;
  for (const operand of operands) {
    if (operand.condition === true) continue;
    const dtype = dtypeOf(operand.value);
    if (dtype === undefined) continue;
    if (first === undefined) first = operand;
    const wanted = dtypeOf(first.value);
    if (wanted === undefined || wanted === dtype) continue;
    const [one, other] = isFloat(dtype) ? [first, operand] : [operand, first];
    fail(
      context,
      'mixed-dtypes',
      { operator, left: wanted, right: dtype },
      [at(operand.span, `this holds ${dtype}`), at(first.span, `this holds ${wanted}`)],
      {
        hint: `Convert one of them: \`${dtypeOf(other.value) ?? dtype}(${one.span.source.text.slice(one.span.start, one.span.end)})\`.`,
      },
    );
  }
  const found = first === undefined ? undefined : dtypeOf(first.value);
  if (found !== undefined) return found;
  return operands.some(({ value, condition }) => condition !== true && value.kind === 'float') ? 'f32' : 'i32';
}

const integerRange: Partial<Record<Dtype, readonly [number, number]>> = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  i8: [-128, 127],
  u8: [0, 255],
};

/** A compile-time number or truth value as a constant of that type; what would be rounded or cut is an error. */
export function constantOf(
  context: Context,
  value: Value,
  dtype: Dtype,
  shape: readonly Dim[],
  span: Span,
  operator: string,
): GraphValue {
  if (value.kind === 'bool' && dtype === 'bool')
    return emit(context, span, (builder) => builder.constant(value.value === true ? 1 : 0, 'bool', shape));
  if (value.kind !== 'int' && value.kind !== 'float')
    return fail(context, 'not-numeric', { operator, found: describe(value) }, [at(span)]);
  const number = typeof value.value === 'number' ? value.value : 1;
  if (dtype === 'bool') fail(context, 'mixed-dtypes', { operator, left: 'bool', right: 'a number' }, [at(span)]);
  if (isInteger(dtype)) {
    const [low, high] = integerRange[dtype] ?? [0, 0];
    if (value.kind === 'float' || !Number.isInteger(number) || number < low || number > high)
      fail(context, 'narrowing', { value: String(value.value ?? 'This number'), dtype }, [at(span)], {
        hint: 'Convert the tensor first: `f32(…)`.',
      });
  }
  return emit(context, span, (builder) => builder.constant(number, dtype, shape));
}

function alignShapes(
  context: Context,
  operator: string,
  operands: readonly Operand[],
  dtype: Dtype,
  span: Span,
): Aligned {
  let shape: readonly Dim[] = [];
  let widest: Operand | undefined;
  for (const operand of operands) {
    if (operand.value.kind !== 'tensor') continue;
    const own = operand.value.value.type.shape;
    const merged = broadcast(shape, own);
    if (merged.clash !== undefined) return clash(context, operator, widest ?? operand, operand, merged.clash);
    if (own.length >= shape.length) widest = operand;
    shape = merged.shape;
  }
  const values = operands.map(({ value, span: own, condition }) => {
    if (value.kind !== 'tensor')
      return constantOf(context, value, condition === true ? 'bool' : dtype, shape, own, operator);
    return emit(context, span, (builder) => builder.broadcast(value.value, shape));
  });
  return { values, wrap: tensor };
}

function alignIndexed(
  context: Context,
  operator: string,
  operands: readonly Operand[],
  dtype: Dtype,
  span: Span,
): Aligned {
  const lifted = operands.map((operand): Value => {
    const { value } = operand;
    if (value.kind === 'index')
      return toIndexed(
        context,
        value,
        operand.condition === true ? 'i32' : dtype === 'bool' ? 'i32' : dtype,
        operand.span,
      );
    if (value.kind === 'tensor' && value.value.type.shape.length > 0)
      return fail(context, 'index-missing', { type: showType(value.value.type) }, [at(operand.span)], {
        hint: 'Say which element: `x[i, j]`.',
      });
    return value;
  });
  const axes = unionAxes(lifted);
  const shape = axes.map((axis) => sizeOf(context, axis));
  const values = lifted.map((value, place) => {
    const own = operands[place].span;
    if (value.kind === 'indexed') return materialize(context, value, axes, own);
    if (value.kind === 'tensor') return emit(context, span, (builder) => builder.broadcast(value.value, shape));
    return constantOf(context, value, operands[place].condition === true ? 'bool' : dtype, shape, own, operator);
  });
  return { values, wrap: (value) => elementOf(value, axes) };
}

/** NumPy's rule: aligned from the right, size 1 stretched. `clash` counts axes from the right, from 1. */
export function broadcast(
  a: readonly Dim[],
  b: readonly Dim[],
): { readonly shape: readonly Dim[]; readonly clash?: number } {
  const shape: Dim[] = [];
  for (let fromRight = 1; fromRight <= Math.max(a.length, b.length); fromRight++) {
    const left = a.at(-fromRight) ?? 1;
    const right = b.at(-fromRight) ?? 1;
    if (fromRight > a.length) shape.unshift(right);
    else if (fromRight > b.length) shape.unshift(left);
    else if (equal(left, right) || right === 1) shape.unshift(left);
    else if (left === 1) shape.unshift(right);
    else return { shape: a, clash: fromRight };
  }
  return { shape };
}

function clash(context: Context, operator: string, left: Operand, right: Operand, axisFromRight: number): never {
  const type = (operand: Operand): string =>
    operand.value.kind === 'tensor' ? showType(operand.value.value.type) : describe(operand.value);
  const notes = [left, right].flatMap((operand) => madeAt(context, operand));
  return fail(
    context,
    'operands-mismatch',
    { operator, left: type(left), right: type(right), axisFromRight },
    [at(right.span, `this is ${type(right)}`), at(left.span, `this is ${type(left)}`), ...notes],
    { hint: 'Axes are compared from the right; one of size 1 is stretched.' },
  );
}

/** Where a tensor with a name was made, when that is somewhere else. */
function madeAt(context: Context, { value, span }: Operand): { span: Span; text: string }[] {
  if (value.kind !== 'tensor') return [];
  const origin = context.builder.producer(value.value)?.origin.span;
  if (origin === undefined || origin.source !== span.source || (origin.start >= span.start && origin.end <= span.end))
    return [];
  return [{ span: origin, text: `${showType(value.value.type)} was made here` }];
}
