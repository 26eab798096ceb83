/** Where a workgroup is on its way through a side of a chain: its lines, the tile at hand, and what it knows of whole lines. */
import type { Axis, Result } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { add, cast, load, min } from '../tile/build.ts';
import type { Memory, TileExpression } from '../tile/tile.ts';
import type { Dtype } from '../types/dtype.ts';
import { type Part, readsOf } from './chain-passes.ts';
import type { Side } from './chain-sides.ts';
import type { Tiles } from './chain-tiles.ts';
import type { Rewriter } from './rewrite.ts';
import { bind, bindResult, name, type Scope } from './scope.ts';
import { both, type Team, within } from './team.ts';

/** What all parts of a chain have in common. */
export interface Work {
  readonly tiles: Tiles;
  readonly capabilities: Capabilities;
  /** The place in a tile. */
  readonly row: Axis;
  readonly column: Axis;
  readonly lineFrom: TileExpression;
  /** Memory for strips of both operands of products. */
  readonly strips: readonly ReadonlyMap<Dtype, Memory>[];
  /** Those who sum up a line. */
  readonly team: Team;
  /** Sums of lines, all of them known after the pass that makes them. */
  readonly sums: Map<Result, Memory>;
}

/** Where a workgroup is in a pass: at a tile. */
export interface Here extends Work {
  readonly tileFrom: TileExpression;
  readonly to: Rewriter;
}

/** The scope in which all axes of a side are at a place of the tile; beyond the last row or column they stay there, and it is not inside. */
export function bindSide(
  scope: Scope,
  { tiles: { size, passes }, row, column, lineFrom, tileFrom }: Here,
  side: Side,
  place: TileExpression,
): Element {
  const all = side === 'row' ? passes.rows : passes.columns;
  const keep = (value: TileExpression): TileExpression => name(scope.kernel, scope.place, value);
  const at = keep(add(side === passes.lines ? lineFrom : tileFrom, place));
  const inside = within(at, all, size);
  const held = inside === undefined ? at : keep(min(at, all - 1));
  let bound = bind(scope, side === 'row' ? row : column, place);
  for (const [axis, of] of passes.sides) if (of === side) bound = bind(bound, axis, held);
  return { scope: bound, inside: inside && keep(inside) };
}

/** A point of a tile, and that it is one of the rows and columns that there are. */
export interface Element {
  readonly scope: Scope;
  readonly inside: TileExpression | undefined;
}

/** An element of a tile, where a part may read sums of its line. */
export function bindElement(
  scope: Scope,
  here: Here,
  row: TileExpression,
  column: TileExpression,
  part: Part,
): Element {
  const inRow = bindSide(scope, here, 'row', row);
  const inBoth = bindSide(inRow.scope, here, 'column', column);
  const line = here.tiles.passes.lines === 'row' ? row : column;
  return { scope: withSums(inBoth.scope, here, part, line), inside: both(inRow.inside, inBoth.inside) };
}

/** The sums of earlier passes that a part reads, at a line. */
export function withSums(scope: Scope, { sums }: Work, part: Part, line: TileExpression): Scope {
  let bound = scope;
  const reads = readsOf(part);
  for (const [result, memory] of sums)
    if (reads.has(result))
      bound = bindResult(bound, result, name(scope.kernel, scope.place, cast(load(memory, line), result.dtype)));
  return bound;
}
