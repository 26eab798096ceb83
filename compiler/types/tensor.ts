/** The type of a tensor value: element type and shape. `shape.length === 0` is a scalar. */
import type { Dim } from './dim.ts';
import type { Dtype } from './dtype.ts';

export interface TensorType {
  readonly dtype: Dtype;
  readonly shape: readonly Dim[];
}
