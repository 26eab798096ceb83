/**
 * One block of a matrix product: packs, then tiles of rows × vectors whose accumulators stay in registers while the
 * sum's axis runs, then the epilogue on the accumulators. A long sum is cut in runs; between them, and before a long
 * epilogue, the block waits in scratch.
 */
import { axisAt } from '../loop/build.ts';
import type { Access, Axis, Expression } from '../loop/loop.ts';
import { add, cast, dot4, fma, index, less, lessEqual, min, mul, number, splat, sub } from '../tile/build.ts';
import type { Register, TileExpression } from '../tile/tile.ts';
import { isFloat } from '../types/dtype.ts';
import { bindColumn, bindRow, forRows, overSum, shiftColumn, shiftRow } from './block.ts';
import { costOf, pointsOf } from './cost.ts';
import { evaluate, write, writeValue } from './expression.ts';
import type { Scopes } from './lanes.ts';
import { packLeft, packRight } from './pack.ts';
import type { Block, Run } from './product.ts';
import { adopt, assign, bind, bindResult, firstLanes, loop, name, type Scope, variable, when } from './scope.ts';

/** Computes one block of the result. */
export function emitBlock(scope: Scope, block: Block): void {
  const { tiles, product, axes, lanes, dtype } = block;
  const long = costOf(product.contraction.stores.map((store) => store.value)) * tiles.rows * tiles.vectors > 200;
  const tileSums = long ? sumsIn(axes.rowLane, axes.columnLane, tiles.rows, tiles.vectors * lanes) : undefined;
  const total = pointsOf(product.k);
  if (tiles.kBlock >= total) return emitRun(scope, block, undefined, { tile: tileSums });
  // Rows a little apart, so that those of a tile do not fall on the same cache lines.
  const blockSums = sumsIn(axes.row, axes.column, axes.row.size, tiles.nBlock + lanes);
  loop(scope, 0, total, tiles.kBlock, (inner, from) => {
    const keep = (value: TileExpression): TileExpression => name(inner.kernel, inner.place, value);
    const length = total % tiles.kBlock === 0 ? index(tiles.kBlock) : keep(min(sub(index(total), from), tiles.kBlock));
    const run: Run = { from, length, resumes: keep(less(0, from)), last: keep(lessEqual(total - tiles.kBlock, from)) };
    emitRun(inner, block, run, { tile: tileSums, block: blockSums });
  });

  function sumsIn(row: Axis, column: Axis, rows: number, columns: number): Access {
    const buffer = scope.kernel.scratch(dtype, [rows, columns]);
    return { buffer, shape: buffer.shape, index: [axisAt(row), axisAt(column)] };
  }
}

/** Where sums wait: those of one tile before a long epilogue, those of the block between runs. */
interface Sums {
  readonly tile: Access | undefined;
  readonly block?: Access;
}

const columnAxes = ({ product, axes }: Block): readonly Axis[] => [
  product.n,
  axes.column,
  axes.columnTile,
  axes.columnLane,
];

/** Packs the operands for one run of the sum and multiplies them. */
function emitRun(scope: Scope, block: Block, run: Run | undefined, sums: Sums): void {
  const right = block.tiles.packRight ? packRight(scope, block, run) : block.product.right;
  const left = block.tiles.packLeft ? packLeft(scope, block, run) : block.product.left;
  const width = block.tiles.vectors * block.lanes;
  loop(scope, 0, block.columns, width, (inner, column) =>
    forRows(inner, block, (deep, row, rows) => emitTile(deep, block, run, { left, right, row, column, rows, sums })),
  );
}

interface Tile {
  readonly left: Expression;
  readonly right: Expression;
  readonly row: TileExpression;
  readonly column: TileExpression;
  readonly rows: number;
  readonly sums: Sums;
}

const read = (register: Register): TileExpression => ({ kind: 'register', type: register.type, register });

function multiplyAdd({ product, dtype }: Block, left: TileExpression, right: TileExpression, sum: TileExpression) {
  if (product.contraction.bytes === true) return product.swapped ? dot4(right, left, sum) : dot4(left, right, sum);
  return isFloat(dtype) ? fma(left, right, sum) : add(mul(left, right), sum);
}

function emitTile(scope: Scope, block: Block, run: Run | undefined, tile: Tile): void {
  const { tiles, lanes, dtype, ragged } = block;
  const rowScope = bindRow(scope, block, tile.row);
  const columnScope = bindColumn(scope, block, tile.column);
  const rows: Scopes = Array.from({ length: tile.rows }, (_, row) => shiftRow(rowScope, block, row));
  const columns: Scopes = Array.from({ length: tiles.vectors }, (_, vector) => {
    const left = sub(sub(block.columns, tile.column), vector * lanes);
    return shiftColumn(
      columnScope,
      block,
      vector,
      ragged ? name(scope.kernel, scope.place, firstLanes(left, lanes)) : undefined,
    );
  });
  const points = rows.map((row) => columns.map((column) => adopt(row, column, columnAxes(block))));
  const { sums } = tile;
  const accumulators = points.map((row) => row.map(() => variable(scope, number(0, dtype, lanes))));
  const overTile = (body: (point: Scope, accumulator: Register) => void, place: Scope): void =>
    points.forEach((row, r) =>
      row.forEach((point, c) => body({ ...point, place: place.place, floor: place.floor }, accumulators[r][c])),
    );
  const waiting = sums.block;
  if (waiting !== undefined && run !== undefined)
    when(scope, run.resumes, (inner) =>
      overTile(
        (point, accumulator) =>
          assign(point, accumulator, evaluate(point, { kind: 'load', dtype, access: waiting, guard: 'none' })),
        inner,
      ),
    );
  overSum([...rows, ...columns], block, run, (inner) => {
    const value = (at: Scope, of: Expression): TileExpression =>
      name(at.kernel, at.place, splat(cast(evaluate(at, of), dtype), lanes));
    const vectors = inner.slice(tile.rows).map((at) => value(at, tile.right));
    inner.slice(0, tile.rows).forEach((at, row) => {
      const scalar = value(at, tile.left);
      vectors.forEach((vector, column) => {
        const register = accumulators[row][column];
        assign(at, register, multiplyAdd(block, scalar, vector, read(register)));
      });
    });
  });
  const total = (point: Scope, accumulator: Register): TileExpression =>
    name(point.kernel, point.place, read(accumulator));
  const keep = (inner: Scope, to: Access): void =>
    overTile((point, accumulator) => writeValue(point, to, total(point, accumulator)), inner);
  const finish = (inner: Scope): void => {
    if (sums.tile === undefined)
      return overTile((point, accumulator) => epilogue(point, block, total(point, accumulator)), inner);
    keep(inner, sums.tile);
    finishTile(inner, block, tile, sums.tile);
  };
  if (run === undefined || waiting === undefined) finish(scope);
  else when(scope, run.last, finish, (inner) => keep(inner, waiting));
}

/** A long epilogue is written once and loops over the tile, instead of once for each accumulator. */
function finishTile(scope: Scope, block: Block, tile: Tile, sums: Access): void {
  const { tiles, lanes, axes, dtype, ragged } = block;
  loop(scope, 0, tile.rows, 1, (inner, row) => {
    const bound = bind(bindRow(inner, block, name(inner.kernel, inner.place, add(tile.row, row))), axes.rowLane, row);
    loop(bound, 0, tiles.vectors * lanes, lanes, (deep, vector) => {
      const column = name(deep.kernel, deep.place, add(tile.column, vector));
      const mask = ragged ? name(deep.kernel, deep.place, firstLanes(sub(block.columns, column), lanes)) : undefined;
      const point = bind(bindColumn(deep, block, column, mask), axes.columnLane, vector, { lanes, mask });
      epilogue(point, block, evaluate(point, { kind: 'load', dtype, access: sums, guard: 'none' }));
    });
  });
}

/** The stores of a contraction on one vector of sums. */
function epilogue(scope: Scope, { product }: Block, sum: TileExpression): void {
  const { result, stores } = product.contraction;
  write(bindResult(scope, result, name(scope.kernel, scope.place, cast(sum, result.dtype))), stores);
}
