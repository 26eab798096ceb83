/** contract: a sum of products of tensors read at affine indices. Matmul, convolution and their adjoints are all this. */
import type { Attributes } from '../graph/graph.ts';
import type { TensorType } from '../types/tensor.ts';
import { needIndex } from './movement.ts';
import { fail, needNumber, needSameDtype, needSizes } from './rules.ts';

export function contractType(inputs: readonly TensorType[], { shape, reduce, indices }: Attributes['contract']): TensorType[] {
  const [first] = inputs;
  if (first === undefined) return fail('operand-count', 'contract takes at least one tensor');
  if (indices.length !== inputs.length) fail('operand-count', `contract reads ${indices.length} tensors, but was given ${inputs.length}`);
  needSizes(shape);
  needSizes(reduce);
  inputs.forEach((x, at) => {
    needNumber('a sum of products', x);
    needSameDtype('a sum of products', first, x);
    needIndex('a sum of products', x, indices[at] ?? [], shape.length + reduce.length);
  });
  return [{ dtype: first.dtype, shape }];
}
