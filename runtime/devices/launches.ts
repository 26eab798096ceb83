/** What a GPU is asked to do in one run, one launch after the other. */
import type { ProgramStep } from '../program.ts';

/** A launch with the counters of its repeats known. */
export interface Launch {
  readonly kernel: number;
  readonly buffers: readonly string[];
  readonly values: readonly number[];
}

export function unrolled(
  steps: readonly ProgramStep[],
  counters: ReadonlyMap<string, number> = new Map(),
): readonly Launch[] {
  return steps.flatMap((step) => {
    if (step.kind === 'launch') return [{ ...step, values: step.arguments.map((name) => counters.get(name) ?? 0) }];
    return Array.from({ length: step.trips }, (_, trip) =>
      unrolled(step.body, new Map(counters).set(step.index, step.reverse ? step.trips - 1 - trip : trip)),
    ).flat();
  });
}
