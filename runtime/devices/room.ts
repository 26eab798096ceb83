/** Whether a program has room on a device, known before anything of it is allocated. */
import { elementCount } from '../../common/elements.ts';
import { elementBytes, type Field, NoRoom, type ProgramBuffer, type Session } from '../program.ts';
import { isLasting } from './area.ts';

/** Of a memory of the device. */
export interface Room {
  /** Bytes there are in all. */
  readonly all: number;
  /** Bytes that are taken already. */
  readonly taken: number;
  /** Bytes that the program takes in addition. */
  readonly wanted: number;
  /** Who gives no more, in words that `all` follows. */
  readonly limit: string;
  /** What lies in it, but for the temporaries' sharing of places. */
  readonly buffers: readonly ProgramBuffer[];
  /** Of a buffer there. */
  readonly bytesOf: (buffer: Field) => number;
}

/** A session that knows what a program would take before it loads it. */
export interface RoomySession<Program> extends Session {
  /** What loading it would take. */
  rooms(program: Program): readonly Room[];
}

interface Loaded {
  readonly name: string;
  readonly buffers: readonly ProgramBuffer[];
}

export const elementSize = (field: Field): number => elementBytes[field.dtype] * elementCount(field.shape);

/** What of a program's buffers has to be made: what lasts, but for what the session has already, by name. */
export const newBuffers = (
  { buffers }: Pick<Loaded, 'buffers'>,
  shared: { readonly has: (name: string) => boolean },
): ProgramBuffer[] => buffers.filter((buffer) => isLasting(buffer) && !shared.has(buffer.name));

/** Bytes of the new buffers. */
export const wantedBy = (program: Pick<Loaded, 'buffers'>, shared: Parameters<typeof newBuffers>[1]): number =>
  newBuffers(program, shared).reduce((sum, buffer) => sum + elementSize(buffer), 0);

export const fits = ({ all, taken, wanted }: Room): boolean => taken + wanted <= all;

/** Throws NoRoom with what takes most of it. */
export function assertRoom({ name }: Loaded, rooms: readonly Room[]): void {
  const room = rooms.find((one) => !fits(one));
  if (room === undefined) return;
  const { all, taken, wanted, limit, buffers, bytesOf } = room;
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const largest = buffers.reduce((most, buffer) => (bytesOf(buffer) > bytesOf(most) ? buffer : most));
  const source = largest.source === undefined ? '' : `, ${largest.source}`;
  throw new NoRoom(
    `${name} needs ${mib(taken + wanted)}, and ${limit} ${mib(all)}. Its largest buffer is ${largest.name}: ${largest.dtype}[${largest.shape.join(', ')}], ${mib(bytesOf(largest))}${source}.`,
  );
}
