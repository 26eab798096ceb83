/** Reductions over axes: reduce (sum, prod, max, min) and argreduce. */
import type { Attributes } from '../graph/graph.ts';
import type { TensorType } from '../types/tensor.ts';
import { fail, needAxis, needNumber, one, showType } from './rules.ts';

export function reduceType(inputs: readonly TensorType[], { monoid, axes }: Attributes['reduce']): TensorType[] {
  const x = one('reduce', inputs);
  if (monoid === 'sum' || monoid === 'prod') needNumber(monoid, x);
  for (const axis of axes) needAxis(monoid, x.shape, axis);
  if (new Set(axes).size !== axes.length) fail('axis-out-of-range', `${monoid} names an axis twice`);
  return [{ dtype: x.dtype, shape: x.shape.filter((_, axis) => !axes.includes(axis)) }];
}

export function argreduceType(inputs: readonly TensorType[], { monoid, axis }: Attributes['argreduce']): TensorType[] {
  const x = one(`arg${monoid}`, inputs);
  needNumber(`arg${monoid}`, x);
  if (needAxis(`arg${monoid}`, x.shape, axis) === 0) fail('size-mismatch', `arg${monoid} of ${showType(x)} along axis ${axis}: there is nothing to choose from`);
  return [{ dtype: 'i32', shape: x.shape.filter((_, at) => at !== axis) }];
}
