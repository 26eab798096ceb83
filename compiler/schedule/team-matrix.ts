/**
 * Contractions of half precisions and of TF32 on machines with matrix instructions. As in team-contract.ts a workgroup computes a tile
 * of the result from strips in workgroup memory (matrix-strips.ts); here subgroups of 32 threads multiply them, or four of them together,
 * each its part of the tile. The next strips come while one is multiplied: as many as there is workgroup memory for.
 *
 * TF32 of 128 threads has to be rounded, and turned by lines, before they multiply. Once in memory would be a second copy of weights and
 * activations, no smaller than the first; so threads read the next strip, and it waits in registers until this one is multiplied.
 */
import type { Contraction, Expression } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { add, cast, div, index, less, mul, number, read, rem } from '../tile/build.ts';
import { type MatrixThreads, sumAt } from '../tile/matrix.ts';
import type { MatrixOperand, TileExpression } from '../tile/tile.ts';
import { type Dtype, dtypeBytes } from '../types/dtype.ts';
import { pointsOf } from './cost.ts';
import { write } from './expression.ts';
import { bindPosition } from './grid.ts';
import {
  copyStrip,
  layDownStrip,
  layStrips,
  matrixStrip,
  placeOfLine,
  type Strips,
  stripsIn,
  subgroup,
} from './matrix-strips.ts';
import { bindResult, loop, name, type Scope, variable, when } from './scope.ts';
import { both, type Extent, type Matrices, meet, whenInside, within } from './team.ts';

/** A tile of the result, and the part of it that so many threads multiply together. */
interface MatrixTile {
  readonly team: MatrixThreads;
  readonly rows: number;
  readonly columns: number;
  readonly ownRows: number;
  readonly ownColumns: number;
}

/** Places for strips at most: a guess. With two an H100 reached 39 % of cuBLAS's rate. */
const mostPlaces = 4;

const tiles: readonly MatrixTile[] = [
  { team: 128, rows: 128, columns: 128, ownRows: 64, ownColumns: 128 },
  { team: 32, rows: 128, columns: 128, ownRows: 64, ownColumns: 32 },
  { team: 128, rows: 64, columns: 64, ownRows: 64, ownColumns: 64 },
  { team: 32, rows: 64, columns: 64, ownRows: 32, ownColumns: 32 },
  { team: 32, rows: 32, columns: 32, ownRows: 16, ownColumns: 16 },
];

const threadsOf = ({ team, rows, columns, ownRows, ownColumns }: MatrixTile): number =>
  team * (rows / ownRows) * (columns / ownColumns);

/** A contraction as a matrix instruction takes it: what is brought to workgroup memory, and as what; 128 threads take it too. */
export interface MatrixProduct {
  readonly dtype: Dtype;
  readonly wide: boolean;
  readonly left: Expression;
  readonly right: Expression;
}

/** Undefined where no matrix instruction of the machine is for these operands. */
export function matrixProduct(
  { left, right, bytes }: Contraction,
  { matrices, wideMatrices }: Capabilities,
): MatrixProduct | undefined {
  const [one, other] = [left, right].map(asMultiplied);
  const dtype = matrices.find((known) => known === one.dtype && known === other.dtype);
  if (bytes === true || dtype === undefined) return undefined;
  return {
    dtype: dtype === 'tf32' ? 'f32' : dtype,
    wide: wideMatrices.includes(dtype),
    left: one.of,
    right: other.of,
  };
}

/** An operand before what the instruction does itself: it makes halves f32, and rounds f32 to TF32. */
function asMultiplied(of: Expression): { readonly dtype: Dtype | 'tf32'; readonly of: Expression } {
  if (of.kind !== 'apply' || of.dtype !== 'f32') return { dtype: of.dtype, of };
  const [operand] = of.operands;
  if (of.op === 'tf32') return { dtype: 'tf32', of: operand };
  return of.op === 'cast' ? { dtype: operand.dtype, of: operand } : { dtype: of.dtype, of };
}

/** Emits the body of such a contraction's kernel. */
export function emitMatrixContraction(
  scope: Scope,
  contraction: Contraction,
  { outer, rows, columns, sum }: Matrices,
  { dtype, wide, left: leftOf, right: rightOf }: MatrixProduct,
  { units, nearMemory }: Capabilities,
): Extent {
  const [height, width, length] = [pointsOf(rows), pointsOf(columns), pointsOf(sum)];
  const groupsOf = (tile: MatrixTile): number =>
    pointsOf(outer) * Math.ceil(height / tile.rows) * Math.ceil(width / tile.columns);
  // The largest tile of which there are enough for the machine, else the smallest.
  const possible = tiles.filter(({ team }) => wide || team === subgroup);
  const tile = possible.find((one) => groupsOf(one) >= units) ?? possible[possible.length - 1];
  const { team } = tile;
  const threads = threadsOf(tile);
  const [downward, across] = [Math.ceil(height / tile.rows), Math.ceil(width / tile.columns)];
  const { kernel } = scope;
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const above = keep(div(kernel.item, across));
  const point = bindPosition(scope, outer, keep(div(above, downward)));
  const rowFrom = keep(mul(rem(above, downward), tile.rows));
  const columnFrom = keep(mul(rem(kernel.item, across), tile.columns));
  const own = keep(div(kernel.thread, team));
  const abreast = tile.columns / tile.ownColumns;
  const ownRow = keep(mul(div(own, abreast), tile.ownRows));
  const ownColumn = keep(mul(rem(own, abreast), tile.ownColumns));
  const sums = Array.from({ length: (tile.ownRows * tile.ownColumns) / team }, () => variable(point, number(0, 'f32')));
  const depth = matrixStrip / dtypeBytes[dtype];
  const lying = [
    { of: leftOf, lines: rows, first: rowFrom, count: tile.rows },
    { of: rightOf, lines: columns, first: columnFrom, count: tile.columns },
  ].map((operand) => layStrips({ ...operand, dtype, sum, multiple: depth, threads, team }));
  const bytes = dtypeBytes[dtype] * (lying[0].size + lying[1].size);
  const strips = Math.max(1, Math.ceil(length / depth));
  // Strips lie in so many places by turns: while one is multiplied the next are on their way to the others. Where there are fewer strips
  // all are on their way from the start, and one place more would stay empty. What threads bring themselves is one ahead at most.
  const most = lying.some(({ fetched }) => fetched !== undefined) ? mostPlaces : 2;
  const places = Math.max(2, Math.min(most, Math.floor(nearMemory / bytes), strips + 1));
  const held = Math.min(places, strips);
  const operands = lying.map((of) => stripsIn(point, kernel.shared(dtype, held * of.size), of));
  const [left, right] = operands;
  const bring = (inner: Scope, from: TileExpression, place: TileExpression): void =>
    operands.forEach((operand) => copyStrip(inner, operand, from, mul(place, operand.size)));
  const layDown = (inner: Scope, place: TileExpression): void =>
    operands.forEach((operand) => layDownStrip(inner, operand, mul(place, operand.size)));
  for (let ahead = 0; ahead < places - 1; ahead++) {
    if (ahead > 0) meet(point, places - 2);
    if (ahead * depth >= length) continue;
    bring(point, index(ahead * depth), index(ahead));
    layDown(point, index(ahead));
  }
  loop(point, 0, length, depth, (inner, from) => {
    const turn = name(kernel, inner.place, div(from, depth));
    const here = name(kernel, inner.place, rem(turn, places));
    // This strip is there, and nobody reads the place of the one before any more.
    meet(inner, places - 2);
    const next = name(kernel, inner.place, add(from, (places - 1) * depth));
    const more = places <= strips ? less(next, length) : number(0, 'bool');
    const nextPlace = rem(add(turn, places - 1), places);
    when(inner, more, (deep) => bring(deep, next, nextPlace));
    const operand = (of: Strips, line: TileExpression): MatrixOperand => ({
      memory: of.memory,
      offset: name(kernel, inner.place, add(mul(here, of.size), placeOfLine(of, line))),
      pitch: of.pitch,
      turned: of.turned,
    });
    inner.place.statements.push({
      kind: 'multiply',
      threads: team,
      rows: tile.ownRows,
      columns: tile.ownColumns,
      depth,
      left: operand(left, ownRow),
      right: operand(right, ownColumn),
      sums,
    });
    if (operands.some(({ waiting }) => waiting.length > 0)) when(inner, more, (deep) => layDown(deep, nextPlace));
  });
  placesOfSums(point, tile, sums.length, add(rowFrom, ownRow), add(columnFrom, ownColumn)).forEach(
    ({ row, column }, at) => {
      const rowAt = name(kernel, point.place, row);
      const columnAt = name(kernel, point.place, column);
      const inside = both(within(rowAt, height, tile.rows), within(columnAt, width, tile.columns));
      whenInside(point, inside, (inner) => {
        const bound = bindPosition(bindPosition(inner, rows, rowAt), columns, columnAt);
        const value = name(kernel, inner.place, cast(read(sums[at]), contraction.result.dtype));
        write(bindResult(bound, contraction.result, value), contraction.stores);
      });
    },
  );
  return { grid: groupsOf(tile), workgroup: threads };
}

/** Where the sums of a thread are, of a part of a tile whose first row and column these are. */
export function placesOfSums(
  { kernel }: Scope,
  { team, ownColumns }: Pick<MatrixTile, 'team' | 'ownColumns'>,
  count: number,
  row: TileExpression,
  column: TileExpression,
): readonly { readonly row: TileExpression; readonly column: TileExpression }[] {
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  // Where in a block of 16 × 8 the first of its four is.
  const lane = keep(rem(kernel.thread, subgroup));
  const subgroupRow = team === subgroup ? index(0) : keep(mul(div(rem(kernel.thread, team), subgroup), 16));
  const laneRow = keep(add(row, add(subgroupRow, div(lane, 4))));
  const laneColumn = keep(add(column, mul(rem(lane, 4), 2)));
  return Array.from({ length: count }, (_, at) => {
    const place = sumAt(at, ownColumns, team);
    return { row: add(laneRow, place.row), column: add(laneColumn, place.column) };
  });
}
