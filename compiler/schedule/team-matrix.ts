/**
 * Contractions of half precisions on machines with matrix instructions. As in team-contract.ts a workgroup computes a tile of the
 * result from strips in workgroup memory; here subgroups of 32 threads multiply them, each its part of the tile, and strips lie by
 * lines along the sum, as the instructions read them.
 */
import type { Axis, Contraction, Expression } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { add, cast, div, expression, min, mul, number, read, rem, where } from '../tile/build.ts';
import type { Memory, TileExpression } from '../tile/tile.ts';
import type { Dtype } from '../types/dtype.ts';
import { pointsOf } from './cost.ts';
import { evaluate, write } from './expression.ts';
import { bindPosition } from './grid.ts';
import { bindResult, loop, name, type Scope, variable, when } from './scope.ts';
import { both, type Extent, type Matrices, meet, within } from './team.ts';

/** A tile of the result, and the part of it that is one subgroup's. */
interface MatrixTile {
  readonly rows: number;
  readonly columns: number;
  readonly ownRows: number;
  readonly ownColumns: number;
}

const subgroup = 32;
/** What is summed between two meetings, and elements between lines: no two of eight lines begin on the same bank. */
const strip = 32;
const pitch = strip + 8;

const tiles: readonly MatrixTile[] = [
  { rows: 128, columns: 128, ownRows: 64, ownColumns: 32 },
  { rows: 64, columns: 64, ownRows: 32, ownColumns: 32 },
  { rows: 32, columns: 32, ownRows: 16, ownColumns: 16 },
];

const threadsOf = ({ rows, columns, ownRows, ownColumns }: MatrixTile): number =>
  subgroup * (rows / ownRows) * (columns / ownColumns);

/** The element type that both operands have, where a matrix instruction takes it. */
export function matrixDtype({ left, right, bytes }: Contraction, { matrices }: Capabilities): Dtype | undefined {
  return bytes !== true && left.dtype === right.dtype && matrices.includes(left.dtype) ? left.dtype : undefined;
}

/** Emits the body of such a contraction's kernel. */
export function emitMatrixContraction(
  scope: Scope,
  contraction: Contraction,
  { outer, rows, columns, sum }: Matrices,
  dtype: Dtype,
  { units }: Capabilities,
): Extent {
  const [height, width, length] = [pointsOf(rows), pointsOf(columns), pointsOf(sum)];
  const groupsOf = (tile: MatrixTile): number =>
    pointsOf(outer) * Math.ceil(height / tile.rows) * Math.ceil(width / tile.columns);
  // The largest tile of which there are enough for the machine, else the smallest.
  const tile = tiles.find((one) => groupsOf(one) >= units) ?? tiles[tiles.length - 1];
  const threads = threadsOf(tile);
  const [downward, across] = [Math.ceil(height / tile.rows), Math.ceil(width / tile.columns)];
  const { kernel } = scope;
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const above = keep(div(kernel.item, across));
  const point = bindPosition(scope, outer, keep(div(above, downward)));
  const rowFrom = keep(mul(rem(above, downward), tile.rows));
  const columnFrom = keep(mul(rem(kernel.item, across), tile.columns));
  const own = keep(div(kernel.thread, subgroup));
  const abreast = tile.columns / tile.ownColumns;
  const ownRow = keep(mul(div(own, abreast), tile.ownRows));
  const ownColumn = keep(mul(rem(own, abreast), tile.ownColumns));
  const sums = Array.from({ length: (tile.ownRows * tile.ownColumns) / subgroup }, () =>
    variable(point, number(0, 'f32')),
  );
  const left = kernel.shared(dtype, tile.rows * pitch);
  const right = kernel.shared(dtype, tile.columns * pitch);
  loop(point, 0, length, strip, (inner, from) => {
    copy(inner, {
      of: contraction.left,
      lines: rows,
      sum,
      first: rowFrom,
      count: tile.rows,
      from,
      threads,
      memory: left,
    });
    copy(inner, {
      of: contraction.right,
      lines: columns,
      sum,
      first: columnFrom,
      count: tile.columns,
      from,
      threads,
      memory: right,
    });
    meet(inner);
    inner.place.statements.push({
      kind: 'multiply',
      rows: tile.ownRows,
      columns: tile.ownColumns,
      depth: strip,
      left: { memory: left, offset: mul(ownRow, pitch), pitch },
      right: { memory: right, offset: mul(ownColumn, pitch), pitch },
      sums,
    });
    meet(inner);
  });
  // Where in a block of 16 × 8 the first of the thread's four sums is.
  const lane = keep(rem(kernel.thread, subgroup));
  const laneRow = keep(add(rowFrom, add(ownRow, div(lane, 4))));
  const laneColumn = keep(add(columnFrom, add(ownColumn, mul(rem(lane, 4), 2))));
  sums.forEach((of, at) => {
    const { row, column } = placeOf(at, tile.ownColumns);
    const rowAt = name(kernel, point.place, add(laneRow, row));
    const columnAt = name(kernel, point.place, add(laneColumn, column));
    const inside = both(within(rowAt, height, tile.rows), within(columnAt, width, tile.columns));
    const store = (inner: Scope): void => {
      const bound = bindPosition(bindPosition(inner, rows, rowAt), columns, columnAt);
      const value = name(kernel, inner.place, cast(read(of), contraction.result.dtype));
      write(bindResult(bound, contraction.result, value), contraction.stores);
    };
    if (inside === undefined) store(point);
    else when(point, inside, store);
  });
  return { grid: groupsOf(tile), workgroup: threads };
}

/** From the thread's first sum to that with this number. */
function placeOf(at: number, columns: number): { readonly row: number; readonly column: number } {
  const [block, own] = [Math.floor(at / 4), at % 4];
  const abreast = columns / 8;
  return { row: 16 * Math.floor(block / abreast) + 8 * (own >> 1), column: 8 * (block % abreast) + (own & 1) };
}

interface Copy {
  readonly of: Expression;
  readonly lines: readonly Axis[];
  readonly sum: readonly Axis[];
  /** The first line of the strip, how many there are, and where along the sum it begins. */
  readonly first: TileExpression;
  readonly count: number;
  readonly from: TileExpression;
  readonly threads: number;
  readonly memory: Memory;
}

/** A strip of an operand to workgroup memory, zeros where it goes beyond. */
function copy(scope: Scope, { of, lines, sum, first, count, from, threads, memory }: Copy): void {
  const { kernel } = scope;
  const [height, length] = [pointsOf(lines), pointsOf(sum)];
  const keep = (value: TileExpression): TileExpression => name(kernel, scope.place, value);
  for (let start = 0; start < strip * count; start += threads) {
    const element = keep(add(kernel.thread, start));
    const line = keep(div(element, strip));
    const at = keep(rem(element, strip));
    const lineAt = keep(add(first, line));
    const sumAt = keep(add(expression(from), at));
    const inside = both(within(lineAt, height, count), within(sumAt, length, strip));
    const held = (place: TileExpression, size: number, block: number): TileExpression =>
      size % block === 0 ? place : keep(min(place, size - 1));
    const bound = bindPosition(
      bindPosition(scope, lines, held(lineAt, height, count)),
      sum,
      held(sumAt, length, strip),
    );
    const value = keep(evaluate(bound, of));
    scope.place.statements.push({
      kind: 'store',
      memory,
      offset: keep(add(mul(line, pitch), at)),
      stride: 1,
      value: inside === undefined ? value : keep(where(inside, value, number(0, memory.dtype))),
    });
  }
}
