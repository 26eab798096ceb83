/**
 * Strips of operands for matrix instructions (team-matrix.ts): how they lie in workgroup memory, and how the threads bring them there. A strip
 * lies as its operand does, so that it comes by 16 bytes at a time where it can.
 */
import { rowMajorStrides } from '../loop/build.ts';
import type { Access, Axis } from '../loop/loop.ts';
import { add, apply, div, min, mul, number, read, rem, where } from '../tile/build.ts';
import { type MatrixThreads, panel, panelChunk } from '../tile/matrix.ts';
import type { Memory, Register, TileExpression } from '../tile/tile.ts';
import { type Dtype, dtypeBytes } from '../types/dtype.ts';
import { pointsOf } from './cost.ts';
import { evaluate, offsetOf } from './expression.ts';
import { bindPosition } from './grid.ts';
import { contiguousAlong } from './product.ts';
import { assign, name, type Scope, variable, when } from './scope.ts';
import type { Operand } from './team-product.ts';
import { both, within } from './team.ts';

/** Threads that multiply together: a subgroup, or four of them. */
export const subgroup = 32;
/** Bytes of a row that are summed between two meetings. */
export const matrixStrip = 64;
/** Bytes that come at a time. From one row of a strip to the next are as many more than it is long: no two of eight begin on one bank. */
const chunk = 16;

/** Lines of an operand, as matrix instructions take them. */
export interface MatrixLines extends Operand {
  readonly dtype: Dtype;
  /** Of the threads multiply together. */
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
export interface LyingStrips extends MatrixLines {
  readonly turned: boolean;
  readonly pitch: number;
  readonly size: number;
  /** It comes by 16 bytes at a time. */
  readonly fetched: Access | undefined;
  /** It lies turned where it comes from. */
  readonly columnwise: boolean;
  /** It is rounded on its way. */
  readonly rounds: boolean;
}

/** Strips of an operand, one after another. */
export interface Strips extends LyingStrips {
  readonly memory: Memory;
  readonly pieces: readonly Piece[];
  /** A register for each, if that is where they wait until they are laid down. Not halves: registers hold them as f32, there and back. */
  readonly waiting: readonly Register[];
}

export function layStrips(operand: MatrixLines): LyingStrips {
  const { of, dtype, lines, sum, count, team } = operand;
  const lies = (axes: readonly Axis[]): boolean => axes.length > 0 && contiguousAlong(of, axes[axes.length - 1]);
  const columnwise = !lies(sum) && lies(lines);
  const bytes = dtypeBytes[dtype];
  const depth = matrixStrip / bytes;
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
  return { ...operand, turned, pitch, size, fetched, columnwise, rounds };
}

/** Strips in memory that has room for some, and what each thread brings of them. */
export function stripsIn(scope: Scope, memory: Memory, lying: LyingStrips): Strips {
  const pieces = piecesOf(scope, lying);
  const waits = lying.fetched === undefined && lying.dtype === 'f32';
  return { ...lying, memory, pieces, waiting: waits ? pieces.map(() => variable(scope, number(0, 'f32'))) : [] };
}

/**
 * What each thread brings, side by side as the operand lies. Where it is turned round on its way 32 threads take eight lines of four
 * elements: they read eight side by side, and lay them down on as many banks as there are.
 */
function piecesOf({ kernel }: Scope, lying: LyingStrips): readonly Piece[] {
  const { dtype, count, threads, turned, fetched, columnwise, rounds } = lying;
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const bytes = dtypeBytes[dtype];
  const each = fetched === undefined ? 1 : chunk / bytes;
  const abreast = (turned ? count : matrixStrip / bytes) / each;
  return Array.from({ length: (matrixStrip * count) / (bytes * each * threads) }, (_, which): Piece => {
    const piece = keep(add(kernel.thread, which * threads));
    if (columnwise && rounds) {
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
export const placeOfLine = ({ dtype, team, turned, pitch }: LyingStrips, line: TileExpression): TileExpression => {
  if (team === subgroup) return turned ? line : mul(line, pitch);
  const width = panel(dtypeBytes[dtype]);
  return turned ? mul(div(line, width), pitch) : mul(line, width);
};

/** From the start of a strip to an element of a row: `elementAt` of tile/matrix.ts, where both are known only at run time. */
function placeOfElement(
  { dtype, team, pitch }: LyingStrips,
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
export function copyStrip(scope: Scope, strips: Strips, from: TileExpression, to: TileExpression): void {
  const { of, lines, sum, first, count, multiple, memory, turned, fetched, pieces, waiting } = strips;
  const { kernel } = scope;
  const [height, length] = [pointsOf(lines), pointsOf(sum)];
  const keep = (value: TileExpression): TileExpression => name(kernel, scope.place, value);
  const each = fetched === undefined ? 1 : chunk / dtypeBytes[memory.dtype];
  pieces.forEach(({ line, at, offset: start }, which) => {
    const lineAt = keep(add(first, line));
    const sumAt = keep(add(from, at));
    const inside = both(within(lineAt, height, count), within(sumAt, length, multiple));
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
    const bound = bindPosition(inLines, sum, held(sumAt, length, multiple, turned ? 1 : each));
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
export function layDownStrip(scope: Scope, { pieces, waiting, rounds, memory }: Strips, to: TileExpression): void {
  waiting.forEach((of, which) => {
    const value = rounds ? apply('tf32', read(of)) : read(of);
    scope.place.statements.push({ kind: 'store', memory, offset: add(to, pieces[which].offset), stride: 1, value });
  });
}
