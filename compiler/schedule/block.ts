/** Walking a block of a product: where rows, columns and positions of the sum are, in the result and counted locally. */
import { add, div } from '../tile/build.ts';
import type { TileExpression } from '../tile/tile.ts';
import { bindTogether, loopTogether, type Scopes } from './lanes.ts';
import type { Block, Run } from './product.ts';
import { bind, loop, type Scope, shift, when } from './scope.ts';

/** m and the local row axes. */
export function bindRow(scope: Scope, { product, axes, mFrom, tiles }: Block, row: TileExpression): Scope {
  return bind(
    bind(bind(bind(scope, product.m, add(mFrom, row)), axes.row, row), axes.rowTile, div(row, tiles.rows)),
    axes.rowLane,
    0,
  );
}

/** n and the local column axes, in lanes. */
export function bindColumn(
  scope: Scope,
  { product, axes, nFrom, lanes, tiles }: Block,
  column: TileExpression,
  mask?: TileExpression,
): Scope {
  const tiled = bind(scope, axes.columnTile, div(column, tiles.vectors * lanes));
  const options = { lanes, mask };
  return bind(
    bind(bind(tiled, product.n, add(nFrom, column), options), axes.column, column, options),
    axes.columnLane,
    0,
    options,
  );
}

/** The scope some rows further down in the tile. */
export const shiftRow = (scope: Scope, { product, axes }: Block, rows: number): Scope =>
  [product.m, axes.row, axes.rowLane].reduce((inner, axis) => shift(inner, axis, rows), scope);

/** The scope some vectors further along the tile. */
export function shiftColumn(
  scope: Scope,
  { product, axes, lanes }: Block,
  vectors: number,
  mask: TileExpression | undefined,
): Scope {
  return [product.n, axes.column, axes.columnLane].reduce(
    (inner, axis) => shift(inner, axis, vectors * lanes, mask === undefined ? {} : { mask }),
    scope,
  );
}

/** Tiles of whole rows, then the rest. */
export function forRows(
  scope: Scope,
  block: Block,
  body: (inner: Scope, row: TileExpression, rows: number) => void,
): void {
  loop(scope, 0, block.wholeRows, block.tiles.rows, (inner, row) => body(inner, row, block.tiles.rows));
  if (block.restRows > 0) when(scope, block.hasRest, (inner) => body(inner, block.wholeRows, block.restRows));
}

/** Runs over the sum's axes, or the run of it. */
export function overSum(scopes: Scopes, block: Block, run: Run | undefined, body: (inner: Scopes) => void): void {
  const { product, axes } = block;
  if (run === undefined) return loopTogether(scopes, product.k, body);
  loop(scopes[0], 0, run.length, 1, (inner, at) =>
    body(bindTogether(bindTogether(scopes, inner, axes.position, at), inner, product.k[0], add(run.from, at))),
  );
}
