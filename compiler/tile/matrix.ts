/** Where things lie in a `multiply`: elements of its operands in memory, and its sums in the threads. */
import { dtypeBytes } from '../types/dtype.ts';
import type { MatrixOperand } from './tile.ts';

/** Threads that multiply together: a subgroup, or four of them that read operands of panels. */
export type MatrixThreads = 32 | 128;

/** Bytes of a row of a panel: four chunks of 16. */
export const panelRow = 64;
/** Elements of so many bytes in a row of a panel. */
export const panel = (bytes: number): number => panelRow / bytes;
/** Of them in a chunk. */
export const panelChunk = (bytes: number): number => panel(bytes) / 4;

/** Places from the operand's offset to element k of a line. */
export function elementAt(
  { memory, pitch, turned }: MatrixOperand,
  threads: MatrixThreads,
  line: number,
  k: number,
): number {
  const [row, along] = turned ? [k, line] : [line, k];
  if (threads === 32) return row * pitch + along;
  const bytes = dtypeBytes[memory.dtype];
  const [width, chunk] = [panel(bytes), panelChunk(bytes)];
  const [of, within] = [Math.floor(along / width), along % width];
  const swapped = Math.floor(within / chunk) ^ ((row >> 1) & 3);
  return of * pitch + row * width + swapped * chunk + (within % chunk);
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
