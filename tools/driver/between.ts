/** What a training run takes between the programs of two steps: measured by a run whose program does next to nothing. */
import type { Graph } from '../../compiler/graph/graph.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { type Column, gather } from '../../runtime/data/source.ts';
import { memoryRuns } from '../../runtime/memory-run.ts';
import { type Programs, programVersion, type TrainPlan } from '../../runtime/program.ts';
import { train } from '../../runtime/trainer.ts';
import type { Target } from './targets/backend.ts';

/** Steps until the loop is machine code, and steps that are timed. */
const steps = { warm: 4000, timed: 4000 };
const batch = 64;

/** The median seconds from one step to the next, starting its program included. */
export async function measureBetween(target: Target): Promise<number> {
  const step = await target.load(counting());
  const ends: number[] = [];
  await train({
    plan,
    programs: { ...noPrograms, session: target.session, step: () => Promise.resolve(step) },
    files: { open: never, read: never },
    out: '',
    runs: memoryRuns(),
    onEvent: ({ event }) => void (event === 'step' && ends.push(performance.now())),
  });
  const times = ends.slice(steps.warm).map((end, at) => end - ends[steps.warm + at - 1]);
  return times.sort((a, b) => a - b)[times.length >> 1] / 1000;
}

/** Bytes a second at which the fields of a batch are put side by side and handed to the program. */
export function measureGather(): number {
  const size = 1024;
  const column: Column = {
    kind: 'stored',
    field: { name: 'sample', dtype: 'u8', shape: [size] },
    size,
    data: new Uint8Array(16_384 * size),
    step: size,
    offset: 0,
  };
  const samples = Uint32Array.from({ length: batch }, (_, at) => (at * 7919) % 16_384);
  const [slot, input] = [new Uint8Array(batch * size), new Uint8Array(batch * size)];
  let fastest = Infinity;
  for (let round = 0; round < 500; round++) {
    const before = performance.now();
    gather(
      column,
      samples.map((sample) => (sample + round * 131) % 16_384),
      slot,
    );
    input.set(slot);
    fastest = Math.min(fastest, performance.now() - before);
  }
  return (batch * size) / (fastest / 1000);
}

const plan: TrainPlan = {
  version: programVersion,
  name: 'between',
  seed: 0,
  data: {
    kind: 'shuffle',
    of: { kind: 'generate', count: batch * (steps.warm + steps.timed), index: 'index' },
    seed: 0,
  },
  batch,
  epochs: 1,
  accumulate: 1,
  evaluations: [],
  saves: [],
  loads: [],
  parameters: [],
  states: [],
};

/** Takes a batch, and reports what every step does. */
function counting(): Graph {
  const build = createBuilder('between');
  const index = build.input('index', 'batch', { dtype: 'i32', shape: [batch] });
  const sum = build.reduce('sum', build.cast(index, 'f32'), [0]);
  for (const name of ['loss.sum', 'loss.count', 'lr']) build.output(name, 'result', sum);
  return build.finish();
}

const never = (): never => {
  throw new Error('a run of nothing but steps');
};
const noPrograms: Omit<Programs, 'session' | 'step'> = {
  init: () =>
    Promise.resolve({ inputs: [], results: [], run: () => Promise.resolve(new Map()), close: () => Promise.resolve() }),
  evaluate: never,
  prune: never,
  calibrate: never,
  quantize: never,
  snapshot: never,
};
