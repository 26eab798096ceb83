/** Tensors made from nothing but their attributes and the random key: constant, iota, random. */
import type { Attributes } from '../graph/graph.ts';
import type { TensorType } from '../types/tensor.ts';
import { equal, product, showShape } from '../types/dim.ts';
import { fail, needAxis, needDtype, needSizes, showType, two } from './rules.ts';

export function constantType(_: readonly TensorType[], { dtype, shape, value }: Attributes['constant']): TensorType[] {
  needSizes(shape);
  if (typeof value !== 'number' && !equal(product(shape), value.length)) fail('size-mismatch', `${value.length} numbers do not fill ${showShape(shape)}`);
  return [{ dtype, shape }];
}

export function iotaType(_: readonly TensorType[], { shape, axis }: Attributes['iota']): TensorType[] {
  needSizes(shape);
  needAxis('iota', shape, axis);
  return [{ dtype: 'i32', shape }];
}

export function randomType(inputs: readonly TensorType[], { shape }: Attributes['random']): TensorType[] {
  const [seed, step] = two('random', inputs);
  needDtype('the seed of random numbers', seed, 'u32');
  needDtype('the step of random numbers', step, 'u32');
  if (seed.shape.length !== 1 || seed.shape[0] !== 2) fail('size-mismatch', `the seed of random numbers has to be u32[2], not ${showType(seed)}`);
  if (step.shape.length !== 0) fail('size-mismatch', `the step of random numbers has to be a scalar u32, not ${showType(step)}`);
  needSizes(shape);
  return [{ dtype: 'u32', shape }];
}
