/** Where things lie in a `multiply`: elements of its operands in memory, and its sums in the threads. */
import type { MatrixOperand } from './tile.ts';

/** Threads that multiply together: a subgroup, or four of them that read operands of panels. */
export type MatrixThreads = 32 | 128;

/** Elements of a row of a panel: 64 bytes of a half precision, in four chunks of 16 bytes. */
export const panel = 32;
/** Of them in a chunk. */
export const panelChunk = 8;

/** Places from the operand's offset to element k of a line. */
export function elementAt({ pitch, turned }: MatrixOperand, threads: MatrixThreads, line: number, k: number): number {
  const [row, along] = turned ? [k, line] : [line, k];
  if (threads === 32) return row * pitch + along;
  const [of, within] = [Math.floor(along / panel), along % panel];
  const swapped = Math.floor(within / panelChunk) ^ ((row >> 1) & 3);
  return of * pitch + row * panel + swapped * panelChunk + (within % panelChunk);
}

/** From the thread's first sum to that with this number, of so many columns. */
export function sumAt(
  at: number,
  columns: number,
  threads: MatrixThreads,
): { readonly row: number; readonly column: number } {
  const [block, own] = [Math.floor(at / 4), at % 4];
  const abreast = columns / 8;
  return {
    row: (threads / 2) * Math.floor(block / abreast) + 8 * (own >> 1),
    column: 8 * (block % abreast) + (own & 1),
  };
}
