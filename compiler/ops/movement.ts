/** Ops that move elements and compute nothing: reshape, view, concat. */
import type { AffineIndex, Attributes } from '../graph/graph.ts';
import type { Dim } from '../types/dim.ts';
import { add, equal, product, showShape } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';
import { fail, needAxis, needSameDtype, needSizes, one, showType } from './rules.ts';

export function reshapeType(inputs: readonly TensorType[], { shape }: Attributes['reshape']): TensorType[] {
  const x = one('reshape', inputs);
  needSizes(shape);
  if (!equal(product(x.shape), product(shape))) fail('size-mismatch', `${showType(x)} cannot be reshaped to ${showShape(shape)}: the number of elements differs`);
  return [{ dtype: x.dtype, shape }];
}

/** The index has one coordinate per axis of what is read, over `axes` iteration axes. */
export function needIndex(what: string, read: TensorType, index: readonly AffineIndex[], axes: number): void {
  if (index.length !== read.shape.length) fail('rank-mismatch', `${what} reads ${showType(read)} with ${index.length} ${index.length === 1 ? 'coordinate' : 'coordinates'}`);
  for (const { terms, divisor } of index) {
    if (divisor === 0) fail('bad-index', `${what} divides a coordinate by zero`);
    for (const { axis } of terms) if (!Number.isInteger(axis) || axis < 0 || axis >= axes) fail('axis-out-of-range', `${what} uses iteration axis ${axis} of ${axes}`);
  }
}

export function viewType(inputs: readonly TensorType[], { shape, index }: Attributes['view']): TensorType[] {
  const x = one('view', inputs);
  needSizes(shape);
  needIndex('view', x, index, shape.length);
  return [{ dtype: x.dtype, shape }];
}

export function concatType(inputs: readonly TensorType[], { axis }: Attributes['concat']): TensorType[] {
  const [first, ...rest] = inputs;
  if (first === undefined) return fail('operand-count', 'concat takes at least one tensor');
  let size: Dim = needAxis('concat', first.shape, axis);
  for (const x of rest) {
    needSameDtype('concat', first, x);
    if (x.shape.length !== first.shape.length || x.shape.some((dim, at) => at !== axis && !equal(dim, first.shape[at] ?? 0)))
      fail('size-mismatch', `concat along axis ${axis} takes tensors that agree on every other axis, not ${showType(first)} and ${showType(x)}`);
    size = add(size, x.shape[axis] ?? 0);
  }
  return [{ dtype: first.dtype, shape: first.shape.map((dim, at) => (at === axis ? size : dim)) }];
}
