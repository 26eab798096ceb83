/** Affine indices: making them, composing them, solving them, and knowing when they stay inside. */
import type { AffineIndex } from '../graph/graph.ts';
import type { Dim } from '../types/dim.ts';
import { equal } from '../types/dim.ts';

/** scale·axis + offset. */
export const at = (axis: number, scale: Dim = 1, offset: Dim = 0): AffineIndex => ({ terms: [{ axis, scale }], offset, divisor: 1 });

/** The same coordinate everywhere. */
export const fixed = (offset: Dim): AffineIndex => ({ terms: [], offset, divisor: 1 });

/** NumPy's rule: axes aligned from the right, size 1 stretched; undefined where two sizes clash. */
export function broadcastShapes(a: readonly Dim[], b: readonly Dim[]): Dim[] | undefined {
  const [long, short] = a.length >= b.length ? [a, b] : [b, a];
  const shift = long.length - short.length;
  const result: Dim[] = [];
  for (const [axis, size] of long.entries()) {
    const other = axis < shift ? size : (short[axis - shift] ?? size);
    if (!equal(size, other) && size !== 1 && other !== 1) return undefined;
    result.push(size === 1 ? other : size);
  }
  return result;
}
