/**
 * Products by threads of a workgroup: each has some rows and columns of a tile of the result, and adds to their sums what strips of both operands in
 * workgroup memory hold.
 */
import type { Axis, Expression } from '../loop/loop.ts';
import { add, cast, div, fma, load, min, mul, number, read, rem, where } from '../tile/build.ts';
import type { Memory, Register, TileExpression } from '../tile/tile.ts';
import type { Dtype } from '../types/dtype.ts';
import { pointsOf, strideAlong } from './cost.ts';
import { evaluate } from './expression.ts';
import { bindPosition } from './grid.ts';
import { assign, loop, name, type Scope, variable } from './scope.ts';
import { both, within } from './team.ts';

/** A tile of the result, and what of it one thread computes. */
export interface TeamTile {
  readonly rows: number;
  readonly columns: number;
  readonly threadRows: number;
  readonly threadColumns: number;
}

/** The length of a strip: what is summed between two meetings. */
export const strip = 16;

export const threadsOf = (tile: TeamTile): number =>
  (tile.rows / tile.threadRows) * (tile.columns / tile.threadColumns);

/** The rows and columns of a tile that are this thread's, and its sums there. */
export interface Share {
  readonly rows: readonly TileExpression[];
  readonly columns: readonly TileExpression[];
  readonly sums: readonly (readonly Register[])[];
}

/** Neighbouring threads have neighbouring columns; a thread's own lie a whole row of threads apart. Its sums begin with 0 at the scope's place. */
export function startShare(scope: Scope, tile: TeamTile, dtype: Dtype): Share {
  const { kernel } = scope;
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const abreast = tile.columns / tile.threadColumns;
  const deep = tile.rows / tile.threadRows;
  const [row, column] = [keep(div(kernel.thread, abreast)), keep(rem(kernel.thread, abreast))];
  const places = (first: TileExpression, apart: number, count: number): TileExpression[] =>
    Array.from({ length: count }, (_, which) => add(first, which * apart));
  return {
    rows: places(row, deep, tile.threadRows),
    columns: places(column, abreast, tile.threadColumns),
    sums: Array.from({ length: tile.threadRows }, () =>
      Array.from({ length: tile.threadColumns }, () => variable(scope, number(0, dtype))),
    ),
  };
}

/** An operand at hand: the element at a place of the strip and of the tile's lines. */
export type AtHand = (scope: Scope, at: TileExpression, line: TileExpression) => TileExpression;

/** Adds the products of a strip to the sums. */
export function addStrip(scope: Scope, { rows, columns, sums }: Share, left: AtHand, right: AtHand): void {
  loop(scope, 0, strip, 1, (inner, at) => {
    const several = (of: AtHand, lines: readonly TileExpression[]): TileExpression[] =>
      lines.map((line) => name(inner.kernel, inner.place, of(inner, at, line)));
    const a = several(left, rows);
    const b = several(right, columns);
    sums.forEach((row, i) => row.forEach((of, j) => assign(inner, of, fma(a[i], b[j], read(of)))));
  });
}

/** What is copied to workgroup memory strip by strip: lines of an operand, and what they are summed over. */
export interface Operand {
  readonly of: Expression;
  readonly lines: readonly Axis[];
  readonly sum: readonly Axis[];
  /** The first line of the tile, and how many there are. */
  readonly first: TileExpression;
  readonly count: number;
  /** The sum is copied in multiples of so many: the last of them may go beyond its end. */
  readonly multiple: number;
  readonly threads: number;
}

/** A strip of an operand in workgroup memory: element (at, line) lies at pitch·at + line. */
interface Lying {
  readonly alongSum: boolean;
  readonly pitch: number;
}

function lie({ of, sum, count }: Operand): Lying {
  const last = sum[sum.length - 1];
  const alongSum = of.kind === 'load' && last !== undefined && Math.abs(strideAlong(of.access, last) ?? 0) === 1;
  // One more, so that neighbours along the sum do not fall on the same bank.
  return { alongSum, pitch: alongSum ? count + 1 : count };
}

/** Elements of workgroup memory that a strip of it takes. */
export const stripSize = (operand: Operand): number => strip * lie(operand).pitch;

/** In memory that holds a strip of it. */
export function stripIn(
  memory: Memory,
  operand: Operand,
): { copy(scope: Scope, from: TileExpression): void; at: AtHand } {
  const { of, lines, sum, first, count, multiple, threads } = operand;
  const { alongSum, pitch } = lie(operand);
  const [height, length] = [pointsOf(lines), pointsOf(sum)];
  return {
    at: (_, at, line) => load(memory, add(mul(at, pitch), line)),
    /** Copies what lies from `from` on along the sum; zeros where it goes beyond. */
    copy(inner, from) {
      const { kernel } = inner;
      for (let start = 0; start < strip * count; start += threads) {
        const keep = (value: TileExpression): TileExpression => name(kernel, inner.place, value);
        const element = keep(add(kernel.thread, start));
        const line = keep(alongSum ? div(element, strip) : rem(element, count));
        const at = keep(alongSum ? rem(element, strip) : div(element, count));
        const lineAt = keep(add(first, line));
        const sumAt = keep(add(from, at));
        const inside = both(within(lineAt, height, count), within(sumAt, length, multiple));
        const held = (place: TileExpression, size: number, block: number): TileExpression =>
          size % block === 0 ? place : keep(min(place, size - 1));
        const bound = bindPosition(
          bindPosition(inner, lines, held(lineAt, height, count)),
          sum,
          held(sumAt, length, multiple),
        );
        const value = keep(cast(evaluate(bound, of), memory.dtype));
        inner.place.statements.push({
          kind: 'store',
          memory,
          offset: keep(add(mul(at, pitch), line)),
          stride: 1,
          value: inside === undefined ? value : keep(where(inside, value, number(0, memory.dtype))),
        });
      }
    },
  };
}
