/** Walking a tensor along one axis: every line of it as a start and a stride. */
import { elementCount } from '../../common/elements.ts';

export interface Lines {
  readonly count: number;
  readonly length: number;
  readonly stride: number;
  /** Where line `n` starts; lines in row-major order of the other axes. */
  start(line: number): number;
}

export function linesOf(shape: readonly number[], axis: number): Lines {
  const stride = elementCount(shape.slice(axis + 1));
  const length = shape[axis];
  const count = elementCount(shape.slice(0, axis)) * stride;
  return { count, length, stride, start: (line) => Math.floor(line / stride) * stride * length + (line % stride) };
}
