/** cumulative: the running sum, product, maximum or minimum along an axis. */
import type { Attributes } from '../graph/graph.ts';
import type { TensorType } from '../types/tensor.ts';
import { needAxis, needNumber, one } from './rules.ts';

export function cumulativeType(inputs: readonly TensorType[], { monoid, axis }: Attributes['cumulative']): TensorType[] {
  const x = one(`cumulative ${monoid}`, inputs);
  needNumber(`cumulative ${monoid}`, x);
  needAxis(`cumulative ${monoid}`, x.shape, axis);
  return [x];
}
