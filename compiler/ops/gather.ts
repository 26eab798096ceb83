/** gather and scatter: reading and summing at positions that are data. Each is the other's adjoint. */
import { elementCount } from '../../common/elements.ts';
import { IndexOutOfRange } from '../graph/op.ts';
import type { Op, Sample } from '../graph/op.ts';
import { concrete, sameShape } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';
import { blank, roundAll } from './numeric.ts';
import { fail, needDtype, needNumber, needSameLeading, needSizes, showType, two } from './rules.ts';

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });
const i32 = (...shape: number[]): TensorType => ({ dtype: 'i32', shape });

/**
 * Visits each index in order with where its row starts among the indexed rows ([b…, size, r…]) and among the selected
 * ones ([b…, i…, r…]).
 */
function eachRow(
  ids: Float64Array,
  sizes: readonly number[],
  batch: number,
  size: number,
  row: number,
  visit: (indexed: number, selected: number) => void,
): void {
  const perBatch = elementCount(sizes.slice(batch));
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (id < 0 || id >= size) throw new IndexOutOfRange(id, size);
    visit((Math.floor(i / perBatch) * size + id) * row, i * row);
  }
}

export const gather: Op<'gather'> = {
  name: 'gather',
  doc:
    '(x[b…, n, r…], ids[b…, i…]) → x[b…, ids[b…, i…], r…]: `batch` leading axes are shared. A position outside the ' +
    'axis is an error of the run.',
  type(inputs, { batch }) {
    const [x, ids] = two('gather', inputs);
    needDtype('an index', ids, 'i32');
    if (x.shape.length <= batch) fail('rank-mismatch', `${showType(x)} has no axis ${batch} to index`);
    needSameLeading('indexing', x, ids, batch);
    return [{ dtype: x.dtype, shape: [...ids.shape, ...x.shape.slice(batch + 1)] }];
  },
  interpret(inputs, { batch }, [type]) {
    const [x, ids] = two('gather', inputs);
    const result = blank(type);
    const shape = concrete(x.type.shape);
    const row = elementCount(shape.slice(batch + 1));
    eachRow(ids.data, concrete(ids.type.shape), batch, shape[batch], row, (indexed, selected) =>
      result.data.set(x.data.subarray(indexed, indexed + row), selected),
    );
    return [result];
  },
  gradient(node, [adjoint], build) {
    const { batch } = node.attributes;
    const [x, ids] = two('gather', node.inputs);
    return [adjoint && build.scatter(ids, adjoint, batch, x.type.shape[batch])];
  },
  samples: [
    { inputs: [f32(5, 4), i32(7)], attributes: { batch: 0 } },
    { inputs: [f32(2, 3, 4), i32(2, 5)], attributes: { batch: 1 } },
    { inputs: [f32(2, 3), i32(2)], attributes: { batch: 1 } },
    { inputs: [f32(4), i32()], attributes: { batch: 0 } },
    { inputs: [f32(5, 2), i32(0)], attributes: { batch: 0 } },
    { inputs: [f32(1, 2), i32(3, 1)], attributes: { batch: 0 }, integers: [0, 0] },
  ],
};

export const scatter: Op<'scatter'> = {
  name: 'scatter',
  doc:
    '(ids[b…, i…], updates[b…, i…, r…]) → [b…, size, r…]: sums the updates into zeros, in index order, so that ' +
    'every run gives the same bits.',
  type(inputs, { batch, size }) {
    const [ids, updates] = two('scatter', inputs);
    needDtype('an index', ids, 'i32');
    needNumber('scatter', updates);
    needSizes([size]);
    if (ids.shape.length < batch) fail('rank-mismatch', `${showType(ids)} has fewer than ${batch} axes to share`);
    const leading = updates.shape.slice(0, ids.shape.length);
    if (!sameShape(leading, ids.shape))
      fail('size-mismatch', `scatter takes one update per index, not ${showType(updates)} for ${showType(ids)}`);
    return [
      { dtype: updates.dtype, shape: [...ids.shape.slice(0, batch), size, ...updates.shape.slice(ids.shape.length)] },
    ];
  },
  interpret(inputs, { batch, size }, [type], context) {
    const [ids, updates] = two('scatter', inputs);
    const result = blank(type);
    const sizes = concrete(ids.type.shape);
    const row = elementCount(concrete(updates.type.shape).slice(sizes.length));
    eachRow(ids.data, sizes, batch, concrete([size])[0], row, (indexed, selected) => {
      for (let i = 0; i < row; i++) result.data[indexed + i] += updates.data[selected + i];
    });
    roundAll(result.data, type.dtype, context);
    return [result];
  },
  gradient(node, [adjoint], build) {
    const [ids] = two('scatter', node.inputs);
    return [undefined, adjoint && build.gather(adjoint, ids, node.attributes.batch)];
  },
  samples: [
    { inputs: [i32(7), f32(7, 4)], attributes: { batch: 0, size: 5 } },
    { inputs: [i32(2, 5), f32(2, 5, 3)], attributes: { batch: 1, size: 3 } },
    { inputs: [i32(2), f32(2)], attributes: { batch: 1, size: 3 } },
    { inputs: [i32(), f32(3)], attributes: { batch: 0, size: 4 } },
    { inputs: [i32(0), f32(0, 2)], attributes: { batch: 0, size: 3 } },
    { inputs: [i32(4), i32(4)], attributes: { batch: 0, size: 3 } },
  ] satisfies Sample<'scatter'>[],
};
