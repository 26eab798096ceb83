/**
 * Where the threads of a step must wait for each other: before a launch that touches memory which an earlier launch of
 * other threads wrote, or overwrites what they may still read.
 */
import type { TileBuffer, TileProgram, TileStep } from '../tile/tile.ts';
import { bytesOf } from '../tile/plan-memory.ts';

/** A touch of memory since the last wait: by thread 0 alone, or by all. */
interface Touch {
  readonly buffer: string;
  readonly writes: boolean;
  readonly alone: boolean;
}

/**
 * Steps that must wait for the other threads first, and repeats whose body must end with a wait. A repeat is entered
 * and left with nothing pending unless its body never waits and all of it runs on thread 0.
 */
export function waits(program: TileProgram): {
  readonly before: ReadonlySet<TileStep>;
  readonly after: ReadonlySet<TileStep>;
} {
  const before = new Set<TileStep>();
  const after = new Set<TileStep>();
  const buffers = new Map(program.buffers.map((buffer) => [buffer.name, buffer]));
  const overlap = (a: string, b: string): boolean => a === b || overlapping(buffers.get(a), buffers.get(b));
  const walk = (steps: readonly TileStep[], pending: Touch[]): Touch[] => {
    let open = pending;
    for (const step of steps) {
      if (step.kind === 'launch') {
        const touches = touchesOf(step);
        const clash = touches.some((touch) =>
          open.some(
            (earlier) =>
              (touch.writes || earlier.writes) &&
              !(touch.alone && earlier.alone) &&
              overlap(touch.buffer, earlier.buffer),
          ),
        );
        if (clash) {
          before.add(step);
          open = [];
        }
        open = [...open, ...touches];
      } else if (everyLaunch(step.body, (launch) => launch.kernel.grid <= 1)) {
        // Runs on thread 0 from beginning to end: to the others it is one launch.
        const touches = everyTouch(step.body);
        const clash = touches.some((touch) =>
          open.some(
            (earlier) => (touch.writes || earlier.writes) && !earlier.alone && overlap(touch.buffer, earlier.buffer),
          ),
        );
        if (clash) {
          before.add(step);
          open = [];
        }
        open = [...open, ...touches];
      } else {
        if (open.length > 0) before.add(step);
        if (walk(step.body, []).length > 0) after.add(step);
        open = [];
      }
    }
    return open;
  };
  walk(program.steps, []);
  return { before, after };
}

function touchesOf(launch: Extract<TileStep, { kind: 'launch' }>): Touch[] {
  const alone = launch.kernel.grid <= 1;
  return launch.buffers.map((buffer, place) => ({
    buffer,
    alone,
    writes: launch.kernel.parameters[place]?.access !== 'read',
  }));
}

const everyLaunch = (
  steps: readonly TileStep[],
  holds: (launch: Extract<TileStep, { kind: 'launch' }>) => boolean,
): boolean => steps.every((step) => (step.kind === 'launch' ? holds(step) : everyLaunch(step.body, holds)));

const everyTouch = (steps: readonly TileStep[]): Touch[] =>
  steps.flatMap((step) => (step.kind === 'launch' ? touchesOf(step) : everyTouch(step.body)));

/** Two temporaries in the same place of the arena; without places, any two. */
function overlapping(a: TileBuffer | undefined, b: TileBuffer | undefined): boolean {
  if (a?.role !== 'temporary' || b?.role !== 'temporary') return false;
  if (a.offset === undefined || b.offset === undefined) return true;
  return a.offset < b.offset + bytesOf(b) && b.offset < a.offset + bytesOf(a);
}
