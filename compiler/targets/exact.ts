/** Which ops need no rounding afterwards, whatever the element type. */
import type { TileOp } from '../tile/tile.ts';

/** Their result is an element of the type already, or of another type. */
export const exactOps: ReadonlySet<TileOp> = new Set<TileOp>([
  'abs',
  'sign',
  'floor',
  'ceil',
  'round',
  'tf32',
  'max',
  'min',
  'eq',
  'ne',
  'lt',
  'le',
  'where',
  'and',
  'or',
]);
