/**
 * What fusion saves, in bytes of memory traffic: a group writes each of its values that somebody else needs once, and reads each value
 * of others once. A value that no longer goes to memory saves its write and its reads; groups that read the same save a read.
 */
import type { Value } from '../graph/graph.ts';
import type { Axis } from '../loop/loop.ts';
import { dtypeBytes } from '../types/dtype.ts';
import { elements } from './frame.ts';
import { outsideReads } from './group.ts';
import type { Group, Links } from './group.ts';

export const axesSize = (axes: readonly Axis[]): number => axes.reduce((size, axis) => size * axis.size, 1);

const bytesOf = (value: Value): number => elements(value) * dtypeBytes[value.type.dtype];

/** No more of a value than there are points at which it is read: a slice is not all of it. */
function readBytes({ roots }: Group, value: Value): number {
  const points = roots.map(({ axes, reduce, reads }) =>
    reads.some((read) => read.value === value) ? axesSize(axes) * axesSize(reduce) : 0,
  );
  return Math.min(elements(value), Math.max(...points)) * dtypeBytes[value.type.dtype];
}

/** By a group that runs along with what it reads. `isNeeded`: does anybody else ask for a value of the first? */
export function savedByJoin(first: Group, second: Group, isNeeded: (value: Value) => boolean): number {
  const own = new Set(first.roots.map(({ value }) => value));
  // A product reads its operands in an order of its own, and its epilogue reads again what it reads.
  const shared = new Set(first.kind === 'contraction' ? [] : outsideReads(first).map(({ value }) => value));
  let bytes = 0;
  for (const value of new Set(outsideReads(second).map((read) => read.value)))
    if (own.has(value)) bytes += readBytes(second, value) + (isNeeded(value) ? 0 : bytesOf(value));
    else if (shared.has(value)) bytes += Math.min(readBytes(first, value), readBytes(second, value));
  return bytes;
}

/** By parts of a chain, none of which writes what they hand on. */
export const savedByChain = ({ parts, handed }: Links): number =>
  handed.reduce((bytes, value) => {
    const readers = parts.filter((part) => outsideReads(part).some((read) => read.value === value));
    return bytes + bytesOf(value) + readers.reduce((sum, reader) => sum + readBytes(reader, value), 0);
  }, 0);
