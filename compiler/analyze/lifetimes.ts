/**
 * Memory over one run of a program, read off its memory plan: who lives when, and where in the arena.
 * Moments are launches, in order; the body of a repeat counts once.
 */
import { bytesOf, livesOf } from '../tile/plan-memory.ts';
import type { TileBuffer, TileProgram, TileStep } from '../tile/tile.ts';

/** A temporary in the arena, alive from the moment `first` to the moment `last`, both included. */
export interface Lifetime {
  readonly name: string;
  readonly buffer: TileBuffer;
  readonly bytes: number;
  readonly offset: number;
  readonly first: number;
  readonly last: number;
}

export interface MemoryOverTime {
  /** In the order in which their lives begin. */
  readonly lifetimes: readonly Lifetime[];
  /** Names of the launched kernels. */
  readonly moments: readonly string[];
  /** Bytes alive at each moment. */
  readonly alive: readonly number[];
  /** The arena: at least the largest of `alive`; what is above it is what no order of places could close. */
  readonly arena: number;
  /** What all temporaries would take without sharing. */
  readonly unshared: number;
}

/** Of a program whose temporaries have their places. */
export function memoryOverTime(program: TileProgram): MemoryOverTime {
  const lives = livesOf(program);
  const moments = launchesOf(program.steps);
  const lifetimes = program.buffers
    .flatMap((buffer): Lifetime[] => {
      const life = lives.get(buffer.name);
      if (buffer.offset === undefined || life === undefined) return [];
      return [
        {
          name: buffer.name,
          buffer,
          bytes: bytesOf(buffer),
          offset: buffer.offset,
          first: life.first,
          last: life.last,
        },
      ];
    })
    .sort((a, b) => a.first - b.first || a.offset - b.offset);
  const alive = moments.map((_, moment) =>
    sum(lifetimes.filter(({ first, last }) => first <= moment && moment <= last)),
  );
  return { lifetimes, moments, alive, arena: program.arena, unshared: sum(lifetimes) };
}

const launchesOf = (steps: readonly TileStep[]): string[] =>
  steps.flatMap((step) => (step.kind === 'launch' ? [step.kernel.name] : launchesOf(step.body)));

const sum = (lifetimes: readonly Lifetime[]): number => lifetimes.reduce((total, { bytes }) => total + bytes, 0);
