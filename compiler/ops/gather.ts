/** gather and scatter: reading and summing at positions that are data. Each is the other's adjoint. */
import type { Attributes } from '../graph/graph.ts';
import type { TensorType } from '../types/tensor.ts';
import { sameShape } from '../types/dim.ts';
import { fail, needDtype, needNumber, needSameLeading, needSizes, showType, two } from './rules.ts';

export function gatherType(inputs: readonly TensorType[], { batch }: Attributes['gather']): TensorType[] {
  const [x, ids] = two('gather', inputs);
  needDtype('an index', ids, 'i32');
  if (x.shape.length <= batch) fail('rank-mismatch', `${showType(x)} has no axis ${batch} to index`);
  needSameLeading('indexing', x, ids, batch);
  return [{ dtype: x.dtype, shape: [...ids.shape, ...x.shape.slice(batch + 1)] }];
}

export function scatterType(inputs: readonly TensorType[], { batch, size }: Attributes['scatter']): TensorType[] {
  const [ids, updates] = two('scatter', inputs);
  needDtype('an index', ids, 'i32');
  needNumber('scatter', updates);
  needSizes([size]);
  if (ids.shape.length < batch) fail('rank-mismatch', `${showType(ids)} has fewer than ${batch} axes to share`);
  const leading = updates.shape.slice(0, ids.shape.length);
  if (!sameShape(leading, ids.shape)) fail('size-mismatch', `scatter takes one update per index, not ${showType(updates)} for ${showType(ids)}`);
  return [{ dtype: updates.dtype, shape: [...ids.shape.slice(0, batch), size, ...updates.shape.slice(ids.shape.length)] }];
}
