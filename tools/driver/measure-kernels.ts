/**
 * How long each kernel of a training step, or of what a block runs instead, really takes. Every kernel becomes a program of its own;
 * what they hand to each other lives in the session, so that run one after the other they are the step, on real weights and a real batch.
 */
import { kernelsOf } from '../../compiler/analyze/cost.ts';
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildInit } from '../../compiler/elaborate/step.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import type { Kernel, LoopProgram, Step } from '../../compiler/loop/loop.ts';
import { compile } from '../../compiler/pipeline.ts';
import { schedule } from '../../compiler/schedule/schedule.ts';
import { emitLlvm } from '../../compiler/targets/llvm/step.ts';
import type { Capabilities } from '../../compiler/targets/target.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import type { TileBuffer, TileProgram, TileStep } from '../../compiler/tile/tile.ts';
import { openData } from '../../runtime/data/dataset.ts';
import { openCpuSession } from '../../runtime/devices/cpu.ts';
import type { DataPlan, Executable, TypedArray } from '../../runtime/program.ts';
import { chooseInputs, scalarsOf } from '../../runtime/step.ts';
import { loadWeights } from '../../runtime/weights.ts';
import type { TrainAnalysis } from './analysis.ts';
import { hostCapabilities, hostInstructions } from './host.ts';
import type { Project, RunnableTrain } from './project.ts';

export interface Measured {
  /** Of all its runs in one step. */
  readonly seconds: number;
  /** How many kernels were timed together: more than one inside a repeat. */
  readonly together: number;
}

export interface MeasuredStep {
  /** Seconds of the step as the one program that training runs. */
  readonly whole: number;
  readonly kernels: ReadonlyMap<Kernel, Measured>;
}

/**
 * Each kernel and the whole step run this often at least, and this long: a thread that was just made takes milliseconds until it
 * has a core of its own. The fastest run counts, because what disturbs only ever adds.
 */
const rounds = { count: 12, ms: 60 };

/** Runs the step on the cpu target; throws DeviceError where there is none. */
export async function measureKernels(
  project: Project,
  { block, plan }: RunnableTrain,
  { main, threads, programs }: TrainAnalysis,
): Promise<MeasuredStep> {
  const { loop, tile } = main.stages;
  const capabilities = await hostCapabilities(threads);
  const instructions = await hostInstructions();
  const fields = await firstBatch(project, main.kind === 'eval' ? plan.evaluations[0].data : plan.data);
  const calibrating = main.kind === 'eval' ? await firstBatch(project, plan.data) : fields;
  const open = async (): Promise<{ load(program: TileProgram): Promise<Executable>; close(): void }> => {
    const session = await openCpuSession({ threads });
    const load = (program: TileProgram): Promise<Executable> => {
      const { parts, scratch } = emitLlvm(program, instructions);
      return session.load({ name: program.name, llvm: parts, scratch, buffers: program.buffers, arena: program.arena });
    };
    const init = await load(compile(initOf(block), capabilities).tile);
    await init.run(chooseInputs(init, new Map(), scalarsOf(plan.seed, 0, 0, 0)));
    loadWeights(plan, project.files, session);
    // An evaluation computes with codes.
    if (main.kind === 'eval')
      for (const { kind, stages } of programs)
        if (kind === 'calibrate' || kind === 'quantize') {
          const program = await load(stages.tile);
          await program.run(chooseInputs(program, calibrating, scalarsOf(plan.seed, 0, 0, 0)));
        }
    return { load, close: () => session.close() };
  };
  const time = async (executable: Executable, step: number): Promise<number> => {
    const inputs = chooseInputs(executable, fields, scalarsOf(plan.seed, step, 0, 0));
    const before = performance.now();
    await executable.run(inputs);
    return (performance.now() - before) / 1000;
  };

  const together = await open();
  const step = await together.load(tile);
  let whole = Infinity;
  for (const round of roundsOf()) whole = Math.min(whole, await time(step, round));
  together.close();

  const apart = await open();
  const parts: { readonly step: Step; readonly executable: Executable; best: number }[] = [];
  for (const [at, one] of loop.steps.entries())
    parts.push({ step: one, executable: await apart.load(alone(loop, one, at, capabilities)), best: Infinity });
  const nothing = await apart.load({ name: 'nothing', buffers: [], arena: 0, steps: [] });
  let call = Infinity;
  for (const round of roundsOf()) {
    for (const part of parts) part.best = Math.min(part.best, await time(part.executable, round));
    call = Math.min(call, await time(nothing, round));
  }
  apart.close();

  const kernels = new Map<Kernel, Measured>();
  for (const part of parts) {
    const inside = kernelsOf([part.step]);
    for (const { kernel } of inside)
      kernels.set(kernel, { seconds: Math.max(0, part.best - call), together: inside.length });
  }
  return { whole, kernels };
}

/** Their numbers, from 1. */
function* roundsOf(): Generator<number> {
  const begun = performance.now();
  for (let round = 1; round <= rounds.count || performance.now() - begun < rounds.ms; round++) yield round;
}

function initOf(block: RunnableTrain['block']): Graph {
  return buildInit(block, new Diagnostics());
}

/** One step as a program: what it shares with the others becomes state of the session, what only it uses stays in its arena. */
function alone(loop: LoopProgram, step: Step, at: number, capabilities: Capabilities): TileProgram {
  const shared = new Set(loop.buffers.map(({ name }) => name));
  const tile = schedule({ ...loop, name: `${loop.name}.${at}`, steps: [step] }, capabilities);
  const used = new Set(buffersIn(tile.steps));
  const buffers = tile.buffers
    .filter(({ name }) => used.has(name))
    .map((buffer): TileBuffer =>
      shared.has(buffer.name) && (buffer.role === 'temporary' || buffer.role === 'result')
        ? { ...buffer, role: 'state' }
        : buffer,
    );
  return planMemory({ ...tile, buffers });
}

const buffersIn = (steps: readonly TileStep[]): string[] =>
  steps.flatMap((step) => (step.kind === 'launch' ? step.buffers : buffersIn(step.body)));

async function firstBatch(project: Project, plan: DataPlan): Promise<ReadonlyMap<string, TypedArray>> {
  const data = await openData(plan, project.files, { prefetch: false });
  try {
    for await (const { fields } of data.batches(0)) return fields;
    throw new Error('the data have no batch');
  } finally {
    await data.close();
  }
}
