/**
 * Packing: an operand, prologue and all, evaluated once per block and laid out in scratch as the micro-kernel reads it.
 * A left operand contiguous along the sum is copied row by row (rows are read one scalar at a time, from any layout);
 * otherwise panels: for each tile, position by position, the tile's rows or columns side by side.
 */
import { axisAt, combine } from '../loop/build.ts';
import type { Access, Axis, Expression } from '../loop/loop.ts';
import { add, cast, div, index, min, shuffle, splat, sub } from '../tile/build.ts';
import type { TileExpression } from '../tile/tile.ts';
import { evaluate, writeValue } from './expression.ts';
import { type Scopes, vectorLoop } from './lanes.ts';
import { bindColumn, bindRow, forRows, overSum, shiftColumn } from './block.ts';
import { type Block, contiguousAlong, positionIn, type Run } from './product.ts';
import { bind, firstLanes, loop, loopAxes, name, type Scope, shift } from './scope.ts';

/** Copies the block's rows; returns how the micro-kernel reads them. */
export function packLeft(scope: Scope, block: Block, run: Run | undefined): Expression {
  const { product } = block;
  const last = product.k[product.k.length - 1];
  const alongSum =
    block.lanes > 1 &&
    last !== undefined &&
    contiguousAlong(product.left, last) &&
    !contiguousAlong(product.left, product.m);
  return alongSum ? packRows(scope, block, run, last) : packTiles(scope, block, run);
}

const loadOf = (access: Access): Expression => ({ kind: 'load', dtype: access.buffer.dtype, access, guard: 'none' });

/** [row][position], rows a little apart so that they do not fall on the same cache lines. */
function packRows(scope: Scope, block: Block, run: Run | undefined, last: Axis): Expression {
  const { product, tiles, axes, lanes, dtype } = block;
  const apart = Math.ceil(tiles.kBlock / lanes) * lanes + lanes;
  const buffer = scope.kernel.scratch(dtype, [axes.row.size, apart]);
  const access: Access = { buffer, shape: buffer.shape, index: [axisAt(axes.row), positionIn(block, run)] };
  const copy = (vector: Scope): void => writeValue(vector, access, cast(evaluate(vector, product.left), dtype));
  const copyRow = (inner: Scope): void => {
    if (run === undefined)
      return loopAxes(inner, product.k.slice(0, -1), (outer) =>
        vectorLoop(outer, last, lanes, 1, ([vector]) => copy(vector)),
      );
    loop(inner, 0, run.length, lanes, (deep, at) => {
      const whole = run.length.kind === 'number' && run.length.value % lanes === 0;
      const mask = whole ? undefined : name(deep.kernel, deep.place, firstLanes(sub(run.length, at), lanes));
      copy(bind(bind(deep, axes.position, at, { lanes, mask }), last, add(run.from, at), { lanes, mask }));
    });
  };
  forRows(scope, block, (inner, row, rows) =>
    loop(inner, 0, rows, 1, (deep, within) =>
      copyRow(bindRow(deep, block, name(deep.kernel, deep.place, add(row, within)))),
    ),
  );
  return loadOf(access);
}

/** [tile of rows][position][row in tile]. */
function packTiles(scope: Scope, block: Block, run: Run | undefined): Expression {
  const { product, tiles, axes, lanes, dtype } = block;
  // Whole vectors, so that a position is as many whole cache lines, unless that wastes much.
  const padded = Math.ceil(tiles.rows / lanes) * lanes;
  const width = padded <= 1.4 * tiles.rows ? padded : tiles.rows;
  const buffer = scope.kernel.scratch(dtype, [Math.ceil(axes.row.size / tiles.rows) * width * (tiles.kBlock + 1)]);
  const access = panelAccess(buffer, axes.rowTile, axes.rowLane, block, run, width);
  // Position by position: what lies side by side in memory is read side by side, and dealt to the panels.
  overSum([scope], block, run, ([point]) =>
    forRows(point, block, (inner, row, rows) => {
      const first = bindRow(inner, block, row);
      const vectors: Scopes = Array.from({ length: Math.ceil(rows / lanes) }, (_, at) => {
        const mask =
          rows - at * lanes < lanes ? name(inner.kernel, inner.place, firstLanes(rows - at * lanes, lanes)) : undefined;
        const vector = shift(first, product.m, at * lanes, { lanes, mask });
        return shift(vector, axes.rowLane, at * lanes, { lanes, mask: width === padded ? undefined : mask });
      });
      vectors.forEach((vector) => writeValue(vector, access, cast(evaluate(vector, product.left), dtype)));
    }),
  );
  return loadOf(access);
}

/** [tile of columns][position][column in tile]; returns how the micro-kernel reads it. */
export function packRight(scope: Scope, block: Block, run: Run | undefined): Expression {
  const { product, tiles, axes, lanes, dtype, ragged } = block;
  const width = tiles.vectors * lanes;
  // Transposing writes whole squares: up to a vector of positions beyond the end of the last panel.
  const buffer = scope.kernel.scratch(dtype, [tiles.nBlock * (tiles.kBlock + 1) + lanes * width]);
  const access = panelAccess(buffer, axes.columnTile, axes.columnLane, block, run, width);
  const panel = (inner: Scope, column: TileExpression): Scopes => {
    const first = bindColumn(inner, block, column);
    return Array.from({ length: tiles.vectors }, (_, vector) => {
      const left = sub(sub(block.columns, column), vector * lanes);
      return shiftColumn(
        first,
        block,
        vector,
        ragged ? name(inner.kernel, inner.place, firstLanes(left, lanes)) : undefined,
      );
    });
  };
  const copy = (vectors: Scopes): void =>
    vectors.forEach((vector) => writeValue(vector, access, cast(evaluate(vector, product.right), dtype)));
  const last = product.k[product.k.length - 1];
  if (readAcross(product.right, product.n, last, lanes)) packAcross(scope, block, run, last, access);
  else if (contiguousAlong(product.right, product.n))
    // Rows of the operand as long as the block is wide: read in one go, dealt to the panels.
    overSum([scope], block, run, ([point]) =>
      loop(point, 0, block.columns, width, (inner, column) => copy(panel(inner, column))),
    );
  else loop(scope, 0, block.columns, width, (inner, column) => overSum(panel(inner, column), block, run, copy));
  return loadOf(access);
}

/** Is the operand contiguous along the sum only? */
export const readAcross = (of: Expression, along: Axis, last: Axis | undefined, lanes: number): boolean =>
  lanes > 1 && last !== undefined && contiguousAlong(of, last) && !contiguousAlong(of, along);

/** Panels of an operand contiguous along the sum: squares of lanes × lanes, read by columns and transposed in registers. */
function packAcross(scope: Scope, block: Block, run: Run | undefined, last: Axis, access: Access): void {
  const { product, tiles, axes, lanes, dtype, nFrom } = block;
  const square = (inner: Scope, columns: Scopes, target: Scope, at: TileExpression, length: TileExpression): void => {
    const whole = length.kind === 'number' && length.value % lanes === 0;
    const mask = whole ? undefined : name(inner.kernel, inner.place, firstLanes(sub(length, at), lanes));
    const bindSum = (to: Scope, options: { lanes?: number; mask?: TileExpression }): Scope =>
      run === undefined
        ? bind(to, last, at, options)
        : bind(bind(to, axes.position, at, options), last, add(run.from, at), options);
    const rows = columns.map((column) => {
      const vector = bindSum({ ...column, place: inner.place }, { lanes, mask });
      return name(inner.kernel, inner.place, splat(cast(evaluate(vector, product.right), dtype), lanes));
    });
    const first = bindSum({ ...target, place: inner.place }, {});
    transpose(rows, (value) => name(inner.kernel, inner.place, value)).forEach((value, position) =>
      writeValue(
        [last, axes.position].reduce((to, axis) => (to.axes.has(axis) ? shift(to, axis, position) : to), first),
        access,
        value,
      ),
    );
  };
  loop(scope, 0, block.columns, tiles.vectors * lanes, (panel, column) =>
    loop(panel, 0, tiles.vectors * lanes, lanes, (group, within) =>
      loopAxes(group, run === undefined ? product.k.slice(0, -1) : [], (outer) => {
        const start = name(outer.kernel, outer.place, add(nFrom, add(column, within)));
        const origin = bind(outer, product.n, start);
        const columns = Array.from({ length: lanes }, (_, at) =>
          block.ragged ? bind(outer, product.n, min(add(start, at), product.n.size - 1)) : shift(origin, product.n, at),
        );
        const target = bind(bind(outer, axes.columnTile, div(column, tiles.vectors * lanes)), axes.columnLane, within, {
          lanes,
        });
        const length = run === undefined ? index(last.size) : run.length;
        loop(outer, 0, length, lanes, (inner, at) => square(inner, columns, target, at, length));
      }),
    ),
  );
}

/** Rows to columns: for each bit, pairs of rows exchange the lanes that differ in it. */
function transpose(
  rows: readonly TileExpression[],
  keep: (value: TileExpression) => TileExpression,
): readonly TileExpression[] {
  const lanes = rows.length;
  let current = rows;
  for (let bit = lanes / 2; bit >= 1; bit /= 2) {
    const next = [...current];
    for (let row = 0; row < lanes; row++) {
      if ((row & bit) !== 0) continue;
      const [a, b] = [current[row], current[row + bit]];
      const picks = (other: number): number[] =>
        Array.from({ length: lanes }, (_, lane) => ((lane & bit) === 0 ? lane + other : lanes + lane - bit + other));
      next[row] = keep(shuffle(a, b, picks(0)));
      next[row + bit] = keep(shuffle(a, b, picks(bit)));
    }
    current = next;
  }
  return current;
}

/** tile · run length · width + position · width + place in the tile. One position more, so that panels do not share cache sets. */
function panelAccess(
  buffer: Access['buffer'],
  tile: Axis,
  lane: Axis,
  block: Block,
  run: Run | undefined,
  width: number,
): Access {
  const parts = [
    { at: axisAt(tile), scale: (block.tiles.kBlock + 1) * width },
    { at: positionIn(block, run), scale: width },
    { at: axisAt(lane), scale: 1 },
  ];
  return { buffer, shape: buffer.shape, index: [combine(parts, 0)] };
}
