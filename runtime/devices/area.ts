/**
 * The memory that a program needs only while it runs: its temporaries, its inputs and constants, which are copied in, and its results, which
 * are copied out. Only one runs at a time, so one area serves all programs of a session, as large as the largest of them needs. Around each
 * part lie bytes that nobody may touch, which tests look at.
 */
import type { Field, ProgramBuffer } from '../program.ts';

export const alignment = 64;

const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

/** What bytes hold that nobody may touch; any other value after a run means that a kernel wrote outside its buffer. */
const guardByte = 0xc5;

export interface Part {
  readonly name: string;
  readonly bytes: number;
}

/** Bytes that nobody may touch, and beside what they lie. */
export interface Gap {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** Parts one after the other, in bytes from where it begins. */
export interface Area {
  readonly places: ReadonlyMap<string, number>;
  readonly gaps: readonly Gap[];
  readonly bytes: number;
}

export function layOut(parts: readonly Part[]): Area {
  let bytes = 0;
  const places = new Map<string, number>();
  const gaps = parts.flatMap(({ name, bytes: size }): Gap[] => {
    const before = bytes;
    const place = before + alignment;
    bytes = aligned(place + size) + alignment;
    places.set(name, place);
    return [
      { name, from: before, to: place },
      { name, from: place + size, to: bytes },
    ];
  });
  return { places, gaps, bytes };
}

/** All temporaries together, which the memory plan placed there. */
const arenaName = 'the temporaries';

/** Does it last from run to run? */
export const isLasting = ({ role }: ProgramBuffer): boolean => role === 'param' || role === 'state';

/** What of these buffers is needed while the program runs. `apart`: temporaries share nothing, so that an overrun from one into another is seen (tests). */
export function runningParts(
  buffers: readonly ProgramBuffer[],
  arena: number,
  bytesOf: (field: Field) => number,
  apart = false,
): readonly Part[] {
  const own = buffers.filter((buffer) => !isLasting(buffer) && (apart || buffer.role !== 'temporary'));
  const parts = own.map((buffer): Part => ({ name: buffer.name, bytes: bytesOf(buffer) }));
  return apart ? parts : [{ name: arenaName, bytes: arena }, ...parts];
}

/** Where such a buffer lies. */
export function placeIn({ places }: Area, { name, offset }: ProgramBuffer): number {
  const [own, arena] = [places.get(name), places.get(arenaName)];
  if (own !== undefined) return own;
  if (arena === undefined || offset === undefined) throw new Error(`temporary ${name} has no place in the arena`);
  return arena + offset;
}

export function fillGaps(bytes: Uint8Array, gaps: readonly Gap[]): void {
  for (const { from, to } of gaps) bytes.fill(guardByte, from, to);
}

/** What was written beside, if anything was. */
export const overrun = (bytes: Uint8Array, gaps: readonly Gap[]): string | undefined =>
  gaps.find(({ from, to }) => !bytes.subarray(from, to).every((byte) => byte === guardByte))?.name;
