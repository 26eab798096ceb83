/** Choosing and converting elements: where, cast, detach. */
import type { Attributes } from '../graph/graph.ts';
import type { TensorType } from '../types/tensor.ts';
import { needDtype, needSameDtype, needSameShape, one, three } from './rules.ts';

export function whereType(inputs: readonly TensorType[]): TensorType[] {
  const [condition, a, b] = three('where', inputs);
  needDtype('the condition of where', condition, 'bool');
  needSameDtype('where', a, b);
  needSameShape('where', a, b);
  needSameShape('where', condition, a);
  return [a];
}

export const castType = (inputs: readonly TensorType[], { dtype }: Attributes['cast']): TensorType[] => [{ dtype, shape: one('cast', inputs).shape }];

export const detachType = (inputs: readonly TensorType[]): TensorType[] => [one('detach', inputs)];
