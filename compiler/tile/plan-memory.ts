/**
 * Gives every temporary its place in the arena: two temporaries may share bytes where their lives do not meet.
 *
 *   before   buffer a: temporary, b: temporary, c: temporary
 *   after    a @ 0, b @ 4096, c @ 0          a was last read before c is first written
 *
 * A life spans the launches from first to last use: what a launch reads lies apart from what it writes. Where the two may share, they are
 * one buffer by now (fuse/write-in-place.ts). What a repeat uses and something outside it uses too lives through
 * the whole repeat; what only a repeat uses lives from its first to its last use within the body, unless a trip reads
 * what an earlier one left (its first touch may read), then through the whole repeat as well.
 */
import { elementCount } from '../../common/elements.ts';
import { dtypeBytes } from '../types/dtype.ts';
import type { TileBuffer, TileProgram, TileStep } from './tile.ts';

const alignment = 64;

/** First and last moment of use; moments are launches, counted through the steps once. */
export interface Life {
  first: number;
  last: number;
}

/** `smallest`: bytes that an element takes at least, but for those of f16 where they lie apart, in an arena of their own. */
export function planMemory(program: TileProgram, smallest = 1, halvesApart = false): TileProgram {
  const lives = livesOf(program);
  const temporaries = program.buffers.filter((buffer) => buffer.role === 'temporary');
  const isApart = ({ dtype }: TileBuffer): boolean => halvesApart && dtype === 'f16';
  const all = place(
    temporaries.filter((buffer) => !isApart(buffer)),
    lives,
    smallest,
  );
  const halves = place(temporaries.filter(isApart), lives, 1);
  const buffers = program.buffers.map((buffer): TileBuffer => {
    const offset = (isApart(buffer) ? halves : all).places.get(buffer.name);
    return offset === undefined ? buffer : { ...buffer, offset };
  });
  return { ...program, buffers, arena: all.arena, ...(halvesApart && { halves: halves.arena }) };
}

function place(
  temporaries: readonly TileBuffer[],
  lives: ReadonlyMap<string, Life>,
  smallest: number,
): { readonly places: ReadonlyMap<string, number>; readonly arena: number } {
  const places = new Map<string, number>();
  const placed: { readonly start: number; readonly end: number; readonly life: Life }[] = [];
  let arena = 0;
  // The largest first: small ones fit into the gaps they leave.
  const bytes = (buffer: TileBuffer): number => bytesOf(buffer, smallest);
  const bySize = [...temporaries].sort(
    (a, b) => bytes(b) - bytes(a) || (lives.get(a.name)?.first ?? 0) - (lives.get(b.name)?.first ?? 0),
  );
  for (const buffer of bySize) {
    const size = Math.max(alignment, Math.ceil(bytes(buffer) / alignment) * alignment);
    const life = lives.get(buffer.name) ?? { first: 0, last: 0 };
    const meeting = placed
      .filter((other) => other.life.first <= life.last && life.first <= other.life.last)
      .sort((a, b) => a.start - b.start);
    let start = 0;
    for (const other of meeting) {
      if (start + size <= other.start) break;
      start = Math.max(start, other.end);
    }
    placed.push({ start, end: start + size, life });
    places.set(buffer.name, start);
    arena = Math.max(arena, start + size);
  }
  return { places, arena };
}

export const bytesOf = ({ shape, dtype }: TileBuffer, smallest = 1): number =>
  Math.max(smallest, dtypeBytes[dtype]) * elementCount(shape);

/** When each buffer is in use. */
export function livesOf(program: TileProgram): ReadonlyMap<string, Life> {
  const lives = new Map<string, Life>();
  const use = (name: string, first: number, last: number): void => {
    const life = lives.get(name);
    if (life === undefined) lives.set(name, { first, last });
    else {
      life.first = Math.min(life.first, first);
      life.last = Math.max(life.last, last);
    }
  };
  let moment = 0;
  const walk = (steps: readonly TileStep[]): void => {
    for (const step of steps) {
      if (step.kind === 'launch') {
        for (const name of step.buffers) use(name, moment, moment);
        moment++;
        continue;
      }
      const start = moment;
      walk(step.body);
      const inside = usesIn(step.body);
      const outside = usesIn(program.steps, step);
      for (const name of inside.names) {
        if (outside.names.has(name) || inside.carried.has(name)) use(name, start, moment - 1);
      }
    }
  };
  walk(program.steps);
  return lives;
}

/** Buffers used by the steps, and those whose first use may read what was there before. */
function usesIn(
  steps: readonly TileStep[],
  without?: TileStep,
): { readonly names: ReadonlySet<string>; readonly carried: ReadonlySet<string> } {
  const names = new Set<string>();
  const carried = new Set<string>();
  const walk = (inner: readonly TileStep[]): void => {
    for (const step of inner) {
      if (step === without) continue;
      if (step.kind === 'repeat') walk(step.body);
      else {
        step.buffers.forEach((name, place) => {
          const whole = step.kernel.parameters[place]?.access === 'write' && step.arguments.length === 0;
          if (!names.has(name) && !whole) carried.add(name);
        });
        for (const name of step.buffers) names.add(name);
      }
    }
  };
  walk(steps);
  return { names, carried };
}
