/** Whether a program has room on a device, known before anything is allocated. */
import { DeviceError, elementBytes, type Field, type ProgramBuffer } from '../program.ts';

export interface Room {
  /** Bytes there are in all. */
  readonly all: number;
  /** Bytes that are taken already. */
  readonly taken: number;
  /** Bytes that the program takes in addition. */
  readonly wanted: number;
  /** Who gives no more, in words that `all` follows. */
  readonly limit: string;
  /** Of a buffer there; as its elements have them where nothing is said. */
  readonly bytesOf?: (buffer: Field) => number;
}

interface Loaded {
  readonly name: string;
  readonly buffers: readonly ProgramBuffer[];
}

const elements = ({ shape }: Field): number => shape.reduce((product, length) => product * length, 1);

export const elementSize = (field: Field): number => elementBytes[field.dtype] * elements(field);

/** Bytes of a program's buffers, but for temporaries and what the session has already, by name. */
export const wantedBy = (
  { buffers }: Pick<Loaded, 'buffers'>,
  shared: { readonly has: (name: string) => boolean },
): number =>
  buffers
    .filter(({ role, name }) => role !== 'temporary' && !((role === 'param' || role === 'state') && shared.has(name)))
    .reduce((sum, buffer) => sum + elementSize(buffer), 0);

/** Throws DeviceError where there is no room: with what takes most of it, and how large a batch would fit. */
export function assertRoom(
  { name, buffers }: Loaded,
  { all, taken, wanted, limit, bytesOf = elementSize }: Room,
): void {
  if (taken + wanted <= all) return;
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const largest = buffers.reduce((most, buffer) => (bytesOf(buffer) > bytesOf(most) ? buffer : most));
  const batch = buffers.find(({ role, shape }) => role === 'batch' && shape.length > 0)?.shape[0] ?? 0;
  const fitting = Math.floor((batch * (all - taken)) / wanted);
  throw new DeviceError(
    `${name} needs ${mib(taken + wanted)}, and ${limit} ${mib(all)}. Its largest buffer is ${largest.name}: ${largest.dtype}[${largest.shape.join(', ')}], ${mib(bytesOf(largest))}.${fitting > 0 ? ` A batch of ${fitting} fits.` : ''}`,
  );
}
