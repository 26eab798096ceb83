/** Small constructors and arithmetic for Loop IR: affine coordinates, their ranges, scalar expressions. */
import type { BinaryOp } from '../graph/graph.ts';
import type { Dtype } from '../types/dtype.ts';
import type { Access, Axis, Buffer, Chain, Coordinate, Expression, Link, Scalar, Scatter } from './loop.ts';

export type Affine = Extract<Coordinate, { kind: 'affine' }>;

/** (Σ scale·axis + offset) / divisor in normal form: one term per axis, no zero scales, no axes of size 1. */
export function affine(terms: Affine['terms'], offset: number, divisor = 1): Affine {
  let kept = terms.filter(({ axis, scale }) => scale !== 0 && axis.size !== 1);
  if (kept.length > 1) {
    const merged = new Map<Axis, number>();
    for (const { axis, scale } of kept) merged.set(axis, (merged.get(axis) ?? 0) + scale);
    if (merged.size < kept.length)
      kept = [...merged].filter(([, scale]) => scale !== 0).map(([axis, scale]) => ({ axis, scale }));
  }
  if (divisor !== 1 && offset % divisor === 0 && kept.every(({ scale }) => scale % divisor === 0))
    return {
      kind: 'affine',
      terms: kept.map(({ axis, scale }) => ({ axis, scale: scale / divisor })),
      offset: offset / divisor,
      divisor: 1,
    };
  return { kind: 'affine', terms: kept, offset, divisor };
}

export const axisAt = (axis: Axis): Affine => affine([{ axis, scale: 1 }], 0);
export const constantAt = (offset: number): Affine => ({ kind: 'affine', terms: [], offset, divisor: 1 });

/** Σ scale·coordinate + offset over undivided coordinates. */
export function combine(
  parts: readonly { readonly at: Affine; readonly scale: number }[],
  offset: number,
  divisor = 1,
): Affine {
  let sum = offset;
  const terms: { axis: Axis; scale: number }[] = [];
  for (const { at, scale } of parts) {
    sum += at.offset * scale;
    for (const term of at.terms) terms.push({ axis: term.axis, scale: term.scale * scale });
  }
  return affine(terms, sum, divisor);
}

/** Smallest and largest value of the numerator over all points of its axes. */
export function numeratorRange(at: Affine): readonly [number, number] {
  let low = at.offset;
  let high = at.offset;
  for (const { axis, scale } of at.terms) {
    const reach = scale * (axis.size - 1);
    if (reach < 0) low += reach;
    else high += reach;
  }
  return [low, high];
}

/** Is the coordinate a whole number in 0 … size-1 at every point? */
export function isInside(at: Affine, size: number): boolean {
  if (at.divisor !== 1) return false;
  const [low, high] = numeratorRange(at);
  return low >= 0 && high < size;
}

/** The axis when the coordinate is exactly that axis. */
export function soleAxis(at: Coordinate): Axis | undefined {
  if (at.kind !== 'affine' || at.divisor !== 1 || at.offset !== 0 || at.terms.length !== 1) return undefined;
  const [term] = at.terms;
  return term.scale === 1 ? term.axis : undefined;
}

export const sameCoordinate = (a: Coordinate, b: Coordinate): boolean =>
  a.kind === 'affine' && b.kind === 'affine'
    ? a.offset === b.offset &&
      a.divisor === b.divisor &&
      a.terms.length === b.terms.length &&
      a.terms.every(({ axis, scale }) => b.terms.some((other) => other.axis === axis && other.scale === scale))
    : a.kind === 'computed' && b.kind === 'computed' && a.value === b.value;

export const sameIndex = (a: readonly Coordinate[], b: readonly Coordinate[]): boolean =>
  a.length === b.length && a.every((coordinate, at) => sameCoordinate(coordinate, b[at]));

export const rowMajorStrides = (shape: readonly number[]): number[] => {
  const strides: number[] = Array.from({ length: shape.length }, () => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1] * shape[axis + 1];
  return strides;
};

export const number = (value: number, dtype: Dtype): Expression => ({ kind: 'number', dtype, value });

export const comparisons: ReadonlySet<Scalar> = new Set<Scalar>(['eq', 'ne', 'lt', 'le']);

/** The dtype of a scalar function's result; a cast says its own. */
export function resultDtype(op: Exclude<Scalar, 'cast'>, operands: readonly Expression[]): Dtype {
  if (comparisons.has(op)) return 'bool';
  if (op === 'philox') return 'u32';
  return op === 'where' ? operands[1].dtype : operands[0].dtype;
}

export const apply = (op: Exclude<Scalar, 'cast'>, ...operands: readonly Expression[]): Expression => ({
  kind: 'apply',
  dtype: resultDtype(op, operands),
  op,
  operands,
});

export const cast = (operand: Expression, dtype: Dtype): Expression => {
  if (operand.dtype === dtype) return operand;
  return { kind: 'apply', dtype, op: 'cast', operands: [operand] };
};

/** A coordinate as an i32 value. */
export function coordinateValue(at: Coordinate): Expression {
  if (at.kind === 'computed') return at.value;
  return at.terms.length === 0 && at.divisor === 1
    ? number(at.offset, 'i32')
    : { kind: 'coordinate', dtype: 'i32', value: at };
}

/** Reads an element, guarded exactly where the index is not provably inside. */
export function load(access: Access): Expression {
  let guard: 'none' | 'zero' | 'check' = 'none';
  access.index.forEach((at, axis) => {
    if (at.kind === 'computed') guard = 'check';
    else if (guard === 'none' && !isInside(at, access.shape[axis])) guard = 'zero';
  });
  return { kind: 'load', dtype: access.buffer.dtype, access, guard };
}

/** The element of a buffer at these axes, one for each of its dimensions. */
export const accessAlong = (buffer: Buffer, axes: readonly Axis[]): Access => ({
  buffer,
  shape: buffer.shape,
  index: axes.map(axisAt),
});

/** Conjunction; undefined stands for true. */
export const both = (a: Expression | undefined, b: Expression | undefined): Expression | undefined =>
  a === undefined ? b : b === undefined ? a : apply('and', a, b);

/** The condition that a coordinate is whole and within 0 … size-1; undefined where it always is. */
export function insideCondition(at: Coordinate, size: number): Expression | undefined {
  const compare = (op: BinaryOp, a: Expression, b: Expression): Expression => apply(op, a, b);
  if (at.kind === 'computed') {
    const value = cast(at.value, 'i32');
    return both(compare('le', number(0, 'i32'), value), compare('lt', value, number(size, 'i32')));
  }
  const numerator = coordinateValue({ ...at, divisor: 1 });
  const [low, high] = numeratorRange(at);
  let condition: Expression | undefined;
  if (low < 0) condition = compare('le', number(0, 'i32'), numerator);
  if (high >= size * at.divisor)
    condition = both(condition, compare('lt', numerator, number(size * at.divisor, 'i32')));
  if (at.divisor !== 1)
    condition = both(condition, compare('eq', compare('rem', numerator, number(at.divisor, 'i32')), number(0, 'i32')));
  return condition;
}

/** The expressions directly inside an expression, coordinates computed from data included. */
export function children(expression: Expression): readonly Expression[] {
  if (expression.kind === 'apply') return expression.operands;
  const index =
    expression.kind === 'load' ? expression.access.index : expression.kind === 'coordinate' ? [expression.value] : [];
  return index.flatMap((at) => (at.kind === 'computed' ? [at.value] : []));
}

/** A segment, or the links of a chain. */
export const linksOf = <Kind extends Link | Scatter>(segment: Kind | Chain): readonly (Kind | Link)[] =>
  segment.kind === 'chain'
    ? [...segment.spans.flatMap(({ parts }) => parts), ...segment.last, ...segment.end]
    : [segment];

/** The buffers that only a chain knows. */
export const ownBuffers = ({ locals, sums, totals }: Chain): readonly Buffer[] => [
  ...locals,
  ...[...sums, ...totals].map(({ buffer }) => buffer),
];
