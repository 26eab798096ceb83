/** Everything there is to say about a compiled program before it runs: its kernels, its memory, its time. */
import type { Axis, Kernel, LoopProgram } from '../loop/loop.ts';
import { schedule } from '../schedule/schedule.ts';
import type { Capabilities } from '../targets/target.ts';
import { bytesOf } from '../tile/plan-memory.ts';
import type { TileProgram, TileStep } from '../tile/tile.ts';
import { costOf, kernelsOf, type Cost } from './cost.ts';
import { kernelCycles } from './cycles.ts';
import { memoryOverTime, type MemoryOverTime } from './lifetimes.ts';
import { phasesOf, type Phase } from './phases.ts';
import { Predictor, type Machine, type Prediction, type Work } from './predict.ts';

export interface KernelAnalysis {
  readonly kernel: Kernel;
  readonly phase: Phase;
  /** How often it runs in one run of the program: the trips of the repeats around it. */
  readonly runs: number;
  /** Of one run of it. */
  readonly cost: Cost;
  readonly launches: number;
  /** Its first launch among the moments of `memory`. */
  readonly moment: number;
  /** Of one run of it, where the machine is known. */
  readonly prediction?: Prediction;
}

export interface ProgramAnalysis {
  readonly name: string;
  readonly kernels: readonly KernelAnalysis[];
  readonly memory: MemoryOverTime;
  /** Bytes by who owns them; temporaries are the arena. */
  readonly bytes: Readonly<Record<TileProgram['buffers'][number]['role'], number>>;
  /** Bytes of temporaries that the forward pass leaves for the backward pass. */
  readonly activations: number;
  /** Of one run of the program. */
  readonly flops: number;
  readonly traffic: number;
  readonly seconds?: number;
}

export function analyze(
  loop: LoopProgram,
  tile: TileProgram,
  capabilities: Capabilities,
  machine?: Machine,
): ProgramAnalysis {
  const found = kernelsOf(loop.steps).map(({ kernel, repeats }) => ({
    kernel,
    repeats,
    runs: repeats.reduce((product, { size }) => product * size, 1),
    cost: costOf(kernel.segments, repeats),
    works: worksOf(loop, kernel, repeats, capabilities),
  }));
  const phases = phasesOf(found.map(({ works }) => works.map(({ cost }) => cost)));
  const predictions = machine === undefined ? [] : predictAll(found, machine);
  let moment = 0;
  const kernels = found.map(({ kernel, runs, cost, works }, at): KernelAnalysis => {
    const launches = works.reduce((sum, work) => sum + work.launches.length, 0);
    const analysis = {
      kernel,
      phase: phases[at],
      runs,
      cost,
      launches,
      moment,
      ...(predictions[at] && { prediction: predictions[at] }),
    };
    moment += launches;
    return analysis;
  });
  const over = (of: (kernel: KernelAnalysis) => number): number =>
    kernels.reduce((sum, kernel) => sum + kernel.runs * of(kernel), 0);
  const bytes = { batch: 0, scalar: 0, param: 0, state: 0, constant: 0, result: 0, temporary: tile.arena };
  for (const buffer of tile.buffers) if (buffer.role !== 'temporary') bytes[buffer.role] += bytesOf(buffer);
  return {
    name: loop.name,
    kernels,
    memory: memoryOverTime(tile),
    bytes,
    activations: activationsOf(kernels),
    flops: over(({ cost }) => cost.flops),
    traffic: over(({ cost }) => cost.bytesRead + cost.bytesWritten),
    ...(machine && { seconds: machine.call + over(({ prediction }) => prediction?.seconds ?? 0) }),
  };
}

/** What is written by kernels of the forward pass and read by later ones. */
function activationsOf(kernels: readonly KernelAnalysis[]): number {
  const written = new Set(kernels.flatMap(({ phase, cost }) => (phase === 'forward' ? [...cost.writes.keys()] : [])));
  const kept = new Set(
    kernels
      .flatMap(({ phase, cost }) => (phase === 'forward' ? [] : [...cost.reads.keys()]))
      .filter((buffer) => buffer.role === 'temporary' && written.has(buffer)),
  );
  return [...kept].reduce((sum, buffer) => sum + bytesOf(buffer), 0);
}

/** The kernel's segments as they will be launched, each scheduled on its own. */
function worksOf(
  { name, buffers }: LoopProgram,
  kernel: Kernel,
  repeats: readonly Axis[],
  capabilities: Capabilities,
): Work[] {
  return kernel.segments.map((segment) => {
    const alone = repeats.reduceRight<LoopProgram['steps'][number]>(
      (body, axis) => ({ kind: 'repeat', axis, reverse: false, body: [body] }),
      { ...kernel, segments: [segment] },
    );
    const launches = launchesOf(schedule({ name, buffers, steps: [alone] }, capabilities).steps);
    return {
      cost: costOf([segment], repeats),
      kind: segment.kind === 'contraction' || segment.kind === 'chain' ? 'product' : 'elementwise',
      launches: launches.map(({ kernel }) => ({ cycles: kernelCycles(kernel), grid: Math.max(1, kernel.grid) })),
    };
  });
}

const launchesOf = (steps: readonly TileStep[]): Extract<TileStep, { kind: 'launch' }>[] =>
  steps.flatMap((step) => (step.kind === 'launch' ? [step] : launchesOf(step.body)));

/**
 * Twice, so that everything was touched before, as in any step but the first. What repeats is asked as if its trips followed
 * each other. Threads meet before a kernel that several of them share.
 */
function predictAll(kernels: readonly { readonly works: readonly Work[] }[], machine: Machine): Prediction[] {
  const predictor = new Predictor(machine);
  const isShared = ({ launches }: Work): boolean => launches.some(({ grid }) => grid > 1);
  const all = (): Prediction[] =>
    kernels.map(({ works }) =>
      works
        .map((work) => predictor.predict(work))
        .reduce(
          (sum, { seconds, arithmetic, traffic }) => ({
            seconds: sum.seconds + seconds,
            arithmetic: sum.arithmetic + arithmetic,
            traffic: sum.traffic + traffic,
          }),
          { seconds: works.some(isShared) ? machine.meeting : 0, arithmetic: 0, traffic: 0 },
        ),
    );
  all();
  return all();
}
