/**
 * Contractions of half precisions and of TF32 on machines with matrix instructions. As in team-contract.ts a workgroup computes a tile
 * of the result from strips in workgroup memory; here subgroups of 32 threads multiply them, or four of them together, each its part of
 * the tile. A strip lies as its operand does, so that it comes by 16 bytes at a time where it can, and the next ones come while one is
 * multiplied: as many as there is workgroup memory for.
 *
 * TF32 of 128 threads has to be rounded, and turned by lines, before they multiply. Once in memory would be a second copy of weights and
 * activations, no smaller than the first; so threads read the next strip, and it waits in registers until this one is multiplied.
 */
import { rowMajorStrides } from '../loop/build.ts';
import type { Access, Axis, Contraction, Expression } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { add, apply, cast, div, index, less, min, mul, number, read, rem, where } from '../tile/build.ts';
import { type MatrixThreads, panel, panelChunk, sumAt } from '../tile/matrix.ts';
import type { MatrixOperand, Memory, Register, TileExpression } from '../tile/tile.ts';
import { type Dtype, dtypeBytes } from '../types/dtype.ts';
import { pointsOf } from './cost.ts';
import { evaluate, offsetOf, write } from './expression.ts';
import { bindPosition } from './grid.ts';
import { contiguousAlong } from './product.ts';
import { assign, bindResult, loop, name, type Scope, variable, when } from './scope.ts';
import { both, type Extent, type Matrices, meet, within } from './team.ts';

/** A tile of the result, and the part of it that so many threads multiply together. */
interface MatrixTile {
  readonly team: MatrixThreads;
  readonly rows: number;
  readonly columns: number;
  readonly ownRows: number;
  readonly ownColumns: number;
}

const subgroup = 32;
/** Bytes of a row that are summed between two meetings. */
const strip = 64;
/** Places for strips at most: a guess. With two an H100 reached 39 % of cuBLAS's rate. */
const mostPlaces = 4;
/** Bytes that come at a time. From one row of a strip to the next are as many more than it is long: no two of eight begin on one bank. */
const chunk = 16;

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
  const lying = [
    { of: leftOf, lines: rows, first: rowFrom, count: tile.rows },
    { of: rightOf, lines: columns, first: columnFrom, count: tile.columns },
  ].map((operand) => layStrips(point, { ...operand, dtype, sum, threads, team }));
  const bytes = dtypeBytes[dtype] * (lying[0].size + lying[1].size);
  const depth = strip / dtypeBytes[dtype];
  const strips = Math.max(1, Math.ceil(length / depth));
  // Strips lie in so many places by turns: while one is multiplied the next are on their way to the others. Where there are fewer strips
  // all are on their way from the start, and one place more would stay empty. What threads bring themselves is one ahead at most.
  const most = lying.some(({ fetched }) => fetched !== undefined) ? mostPlaces : 2;
  const places = Math.max(2, Math.min(most, Math.floor(nearMemory / bytes), strips + 1));
  const held = Math.min(places, strips);
  const operands = lying.map((of): Strips => ({ ...of, memory: kernel.shared(dtype, held * of.size) }));
  const [left, right] = operands;
  const bring = (inner: Scope, from: TileExpression, place: TileExpression): void =>
    operands.forEach((operand) => copy(inner, operand, from, mul(place, operand.size)));
  const layDown = (inner: Scope, place: TileExpression): void =>
    operands.forEach((operand) => lay(inner, operand, mul(place, operand.size)));
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
  // Where in a block of 16 × 8 the first of the thread's four sums is.
  const lane = keep(rem(kernel.thread, subgroup));
  const subgroupRow = team === subgroup ? index(0) : keep(mul(div(rem(kernel.thread, team), subgroup), 16));
  const laneRow = keep(add(rowFrom, add(add(ownRow, subgroupRow), div(lane, 4))));
  const laneColumn = keep(add(columnFrom, add(ownColumn, mul(rem(lane, 4), 2))));
  sums.forEach((of, at) => {
    const { row, column } = sumAt(at, tile.ownColumns, team);
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

interface Operand {
  readonly of: Expression;
  readonly dtype: Dtype;
  readonly lines: readonly Axis[];
  readonly sum: readonly Axis[];
  /** The first line of the tile, and how many there are. */
  readonly first: TileExpression;
  readonly count: number;
  readonly threads: number;
  /** Of them multiply together. */
  readonly team: MatrixThreads;
}

/** What a thread brings of each strip at a time: where it begins in the tile and in the strip, and its place there. */
interface Piece {
  readonly line: TileExpression;
  readonly at: TileExpression;
  readonly offset: TileExpression;
}

/**
 * How strips of an operand, each `size` elements, lie in workgroup memory: as the operand does, by lines, or turned. `pitch`: from one
 * row to the next, or from one panel to the next.
 */
interface Lying extends Operand {
  readonly turned: boolean;
  readonly pitch: number;
  readonly size: number;
  /** It comes by 16 bytes at a time. */
  readonly fetched: Access | undefined;
  readonly pieces: readonly Piece[];
  /** A register for each, if that is where they wait until they are laid down. Not halves: registers hold them as f32, there and back. */
  readonly waiting: readonly Register[];
  /** They are rounded then. */
  readonly rounds: boolean;
}

/** Strips of an operand, one after another. */
interface Strips extends Lying {
  readonly memory: Memory;
}

function layStrips(scope: Scope, operand: Operand): Lying {
  const { of, dtype, lines, sum, count, team } = operand;
  const lies = (axes: readonly Axis[]): boolean => axes.length > 0 && contiguousAlong(of, axes[axes.length - 1]);
  const columnwise = !lies(sum) && lies(lines);
  const bytes = dtypeBytes[dtype];
  const depth = strip / bytes;
  // What 128 threads take of f32, see MatrixOperand.
  const rounds = team !== subgroup && dtype === 'f32';
  const turned = columnwise && !rounds;
  // Of elements of four bytes that lie turned four rows are read at once, eight side by side of each.
  const gap = (turned && bytes === 4 ? 2 * chunk : chunk) / bytes;
  const [rows, along] = turned ? [depth, count] : [count, depth];
  const pitch = team === subgroup ? along + gap : rows * panel(bytes);
  const size = team === subgroup ? rows * pitch : rows * along;
  const access = of.kind === 'load' && of.guard === 'none' && of.dtype === dtype && !rounds ? of.access : undefined;
  const fetched =
    access !== undefined && comesInChunks(access, turned ? lines : sum, chunk / bytes) ? access : undefined;
  const lying = { ...operand, turned, pitch, size, fetched, rounds };
  const pieces = piecesOf(scope, lying, columnwise && rounds);
  const waits = fetched === undefined && dtype === 'f32';
  return { ...lying, pieces, waiting: waits ? pieces.map(() => variable(scope, number(0, dtype))) : [] };
}

/**
 * What each thread brings, side by side as the operand lies. Where it is `transposed` on its way 32 threads take eight lines of four
 * elements: they read eight side by side, and lay them down on as many banks as there are.
 */
function piecesOf({ kernel }: Scope, lying: Omit<Lying, 'pieces' | 'waiting'>, transposed: boolean): readonly Piece[] {
  const { dtype, count, threads, turned, fetched } = lying;
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const bytes = dtypeBytes[dtype];
  const each = fetched === undefined ? 1 : chunk / bytes;
  const abreast = (turned ? count : strip / bytes) / each;
  return Array.from({ length: (strip * count) / (bytes * each * threads) }, (_, which): Piece => {
    const piece = keep(add(kernel.thread, which * threads));
    if (transposed) {
      const block = keep(div(piece, 32));
      const line = keep(add(mul(rem(block, count / 8), 8), rem(piece, 8)));
      const at = keep(add(mul(div(block, count / 8), 4), rem(div(piece, 8), 4)));
      return { line, at, offset: keep(placeOfElement(lying, line, at)) };
    }
    const [row, along] = [keep(div(piece, abreast)), keep(mul(rem(piece, abreast), each))];
    const offset = keep(placeOfElement(lying, row, along));
    return turned ? { line: along, at: row, offset } : { line: row, at: along, offset };
  });
}

/** From the start of a strip to a line that is a multiple of 32. */
const placeOfLine = ({ dtype, team, turned, pitch }: Strips, line: TileExpression): TileExpression => {
  if (team === subgroup) return turned ? line : mul(line, pitch);
  const width = panel(dtypeBytes[dtype]);
  return turned ? mul(div(line, width), pitch) : mul(line, width);
};

/** From the start of a strip to an element of a row: `elementAt` of tile/matrix.ts, where both are known only at run time. */
function placeOfElement(
  { dtype, team, pitch }: Pick<Lying, 'dtype' | 'team' | 'pitch'>,
  row: TileExpression,
  along: TileExpression,
): TileExpression {
  if (team === subgroup) return add(mul(row, pitch), along);
  const [width, each] = [panel(dtypeBytes[dtype]), panelChunk(dtypeBytes[dtype])];
  const swapped = apply('xor', div(rem(along, width), each), rem(div(row, 2), 4));
  const within = add(mul(swapped, each), rem(along, each));
  return add(add(mul(div(along, width), pitch), mul(row, width)), within);
}

/** Do `each` elements that begin at a multiple of it along the last of these axes lie side by side, at such a multiple again? */
function comesInChunks(access: Access, axes: readonly Axis[], each: number): boolean {
  const along = axes[axes.length - 1];
  if (along === undefined || along.size % each !== 0) return false;
  const strides = rowMajorStrides(access.shape);
  const scales = new Map<Axis, number>();
  let constant = 0;
  for (const [dim, at] of access.index.entries()) {
    if (at.kind !== 'affine' || at.divisor !== 1) return false;
    constant += at.offset * strides[dim];
    for (const { axis, scale } of at.terms) scales.set(axis, (scales.get(axis) ?? 0) + scale * strides[dim]);
  }
  return (
    constant % each === 0 && [...scales].every(([axis, scale]) => (axis === along ? scale === 1 : scale % each === 0))
  );
}

/** Brings a strip of an operand, zeros where it goes beyond: to workgroup memory, or to the registers in which it waits. */
function copy(scope: Scope, strips: Strips, from: TileExpression, to: TileExpression): void {
  const { of, lines, sum, first, count, memory, turned, fetched, pieces, waiting } = strips;
  const { kernel } = scope;
  const [height, length] = [pointsOf(lines), pointsOf(sum)];
  const keep = (value: TileExpression): TileExpression => name(kernel, scope.place, value);
  const bytes = dtypeBytes[memory.dtype];
  const depth = strip / bytes;
  const each = fetched === undefined ? 1 : chunk / bytes;
  pieces.forEach(({ line, at, offset: start }, which) => {
    const lineAt = keep(add(first, line));
    const sumAt = keep(add(from, at));
    const inside = both(within(lineAt, height, count), within(sumAt, length, depth));
    const into = waiting.at(which);
    if (into !== undefined) {
      const take = (inner: Scope): void =>
        assign(inner, into, evaluate(bindPosition(bindPosition(inner, lines, lineAt), sum, sumAt), of));
      if (inside === undefined) return take(scope);
      assign(scope, into, number(0, memory.dtype));
      return when(scope, inside, take);
    }
    const held = (place: TileExpression, size: number, block: number, wide: number): TileExpression =>
      size % block === 0 ? place : keep(min(place, size - wide));
    const inLines = bindPosition(scope, lines, held(lineAt, height, count, turned ? each : 1));
    const bound = bindPosition(inLines, sum, held(sumAt, length, depth, turned ? 1 : each));
    const offset = keep(add(to, start));
    if (fetched !== undefined) {
      const mask = inside === undefined ? {} : { mask: keep(inside) };
      const source = { from: kernel.memory(fetched.buffer), at: keep(offsetOf(bound, fetched)) };
      scope.place.statements.push({ kind: 'fetch', memory, offset, ...source, count: each, ...mask });
      return;
    }
    const value = keep(evaluate(bound, of));
    const kept = inside === undefined ? value : keep(where(inside, value, number(0, memory.dtype)));
    scope.place.statements.push({ kind: 'store', memory, offset, stride: 1, value: kept });
  });
}

/** What waited in registers is laid down in workgroup memory, rounded where the instruction would cut it off. */
function lay(scope: Scope, { pieces, waiting, rounds, memory }: Strips, to: TileExpression): void {
  waiting.forEach((of, which) => {
    const value = rounds ? apply('tf32', read(of)) : read(of);
    scope.place.statements.push({ kind: 'store', memory, offset: add(to, pieces[which].offset), stride: 1, value });
  });
}
