/** A train block's programs, compiled and analyzed but not run: what `nacre plan` prints and `nacre explain` draws. */
import { analyze, type ProgramAnalysis } from '../../compiler/analyze/analyze.ts';
import type { Machine } from '../../compiler/analyze/predict.ts';
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildPrune, maskingOf } from '../../compiler/elaborate/masks.ts';
import { buildCalibration, buildQuantize } from '../../compiler/elaborate/quantize.ts';
import { buildEvaluation, buildInit, buildStep } from '../../compiler/elaborate/step.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { compile, type Stages } from '../../compiler/pipeline.ts';
import { emitLlvm } from '../../compiler/targets/llvm/step.ts';
import type { Capabilities } from '../../compiler/targets/target.ts';
import { bytesOf } from '../../compiler/tile/plan-memory.ts';
import { DeviceError } from '../../runtime/program.ts';
import { phaseOf } from '../../runtime/step.ts';
import { Diagnosed } from './diagnosed.ts';
import type { DeviceDescription } from './device-file.ts';
import { hostCapabilities } from './host.ts';
import { measureMachine } from './machine.ts';
import { mainKind, type ProgramKind } from './program-kind.ts';
import type { RunnableTrain } from './project.ts';
import { asTaken } from './targets/backend.ts';

export interface AnalyzedProgram {
  readonly kind: ProgramKind;
  readonly name: string;
  readonly graph: Graph;
  readonly stages: Stages;
  readonly analysis: ProgramAnalysis;
}

/** What a training run will hold in memory, in bytes. */
export interface MemoryPlan {
  readonly parameters: number;
  /** Optimizer states and the buffers of the model. */
  readonly states: number;
  /** The rest is of the program that needs most while it runs; the others run in the same place. */
  readonly inputs: number;
  readonly constants: number;
  readonly results: number;
  /** Activations, gradients. */
  readonly temporaries: number;
  /** Working memory of the threads. */
  readonly scratch: number;
  readonly peak: number;
}

export interface TrainAnalysis {
  readonly batch: number;
  readonly threads: number;
  /** Of the machine that it is planned for. */
  readonly capabilities: Capabilities;
  readonly programs: readonly AnalyzedProgram[];
  /** Of the first of its kind (`mainKind`): what the block runs over and over. */
  readonly main: AnalyzedProgram;
  readonly memory: MemoryPlan;
  readonly machine?: Machine;
  /** Of a step of training: its programs, and what the trainer does between two of them; else of one run of `main`. */
  readonly seconds?: number;
  /** Why there are no predictions. */
  readonly notice?: string;
}

export interface AnalysisOptions {
  readonly batch?: number;
  readonly threads: number;
  /** Another machine than this one. */
  readonly device?: DeviceDescription;
  /** Measure the machine to predict times; true by default. */
  readonly predict?: boolean;
}

export async function analyzeTrain(
  { block, plan, data }: RunnableTrain,
  options: AnalysisOptions,
): Promise<TrainAnalysis> {
  const { device, threads, batch = plan.batch, predict = true } = options;
  const capabilities = device?.capabilities ?? (await hostCapabilities(threads));
  const known: KnownMachine = device ?? (predict ? await knownMachine(threads) : {});
  const { machine, notice } = known;
  const program = (
    kind: AnalyzedProgram['kind'],
    name: string,
    build: (diagnostics: Diagnostics) => Graph,
  ): AnalyzedProgram => {
    const diagnostics = new Diagnostics();
    const built = build(diagnostics);
    if (!diagnostics.isEmpty) throw new Diagnosed(diagnostics.sorted());
    const graph = asTaken(built, capabilities, 'cpu');
    const stages = compile(graph, capabilities);
    return { kind, name, graph, stages, analysis: analyze(stages.loop, stages.tile, capabilities, machine) };
  };
  const programs = [
    program('init', 'init', (diagnostics) => buildInit(block, diagnostics)),
    ...(mainKind(plan) === 'step'
      ? [
          program('step', 'step', (diagnostics) =>
            buildStep(block, data.train, batch, phaseOf(plan.accumulate - 1, plan.accumulate), diagnostics),
          ),
        ]
      : []),
    ...maskingOf(block).map((_, index) =>
      program('prune', index === 0 ? 'prune' : `prune ${index + 1}`, (diagnostics) =>
        buildPrune(block, index, diagnostics),
      ),
    ),
    ...((plan.quantization?.calibrate ?? 0) === 0
      ? []
      : [program('calibrate', 'calibrate', (diagnostics) => buildCalibration(block, data.train, batch, diagnostics))]),
    ...(plan.quantization === undefined ? [] : [program('quantize', 'quantize', () => buildQuantize(block))]),
    ...plan.evaluations.map(({ name, batch: size }, index) =>
      program('eval', name, (diagnostics) => buildEvaluation(block, index, data.evaluations[index], size, diagnostics)),
    ),
  ];
  const main = programs.find(({ kind }) => kind === mainKind(plan));
  if (main === undefined) throw new Error(`${plan.name} has no program ${mainKind(plan)}`);
  return {
    batch,
    threads,
    capabilities,
    programs,
    main,
    memory: memoryOf(programs, threads),
    ...(machine && { machine, seconds: secondsOf(main, plan.accumulate, machine) }),
    ...(notice !== undefined && { notice }),
  };
}

/** Each micro-batch is put together and run; what a step reports is read once. */
function secondsOf({ kind, analysis }: AnalyzedProgram, accumulate: number, { gather, between }: Machine): number {
  const one = (analysis.seconds ?? 0) + analysis.bytes.batch / gather;
  return kind === 'step' ? accumulate * one + between : one;
}

interface KnownMachine {
  readonly machine?: Machine;
  readonly notice?: string;
}

async function knownMachine(threads: number): Promise<KnownMachine> {
  try {
    return { machine: await measureMachine(threads) };
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    return { notice: `Times are not predicted. ${error.message}` };
  }
}

/** Parameters and states are shared by all programs. Everything else one needs only while it runs, in the place of what others needed. */
function memoryOf(programs: readonly AnalyzedProgram[], threads: number): MemoryPlan {
  const shared = new Map<string, { readonly role: string; readonly bytes: number }>();
  for (const {
    stages: { tile },
  } of programs)
    for (const buffer of tile.buffers) {
      const bytes = bytesOf(buffer);
      if (buffer.role === 'param' || buffer.role === 'state') shared.set(buffer.name, { role: buffer.role, bytes });
    }
  const lasting = (role: string): number => sum([...shared.values()].filter((one) => one.role === role));
  const running = programs.map(({ stages: { tile } }) => {
    const given = (...roles: readonly string[]): number =>
      sum(tile.buffers.filter(({ role }) => roles.includes(role)).map((buffer) => ({ bytes: bytesOf(buffer) })));
    return {
      inputs: given('batch', 'scalar'),
      constants: given('constant'),
      results: given('result'),
      temporaries: tile.arena,
      scratch: threads * emitLlvm(tile).scratch,
    };
  });
  const largest = running.reduce((most, one) => (total(one) > total(most) ? one : most));
  const parts = { parameters: lasting('param'), states: lasting('state'), ...largest };
  return { ...parts, peak: total(parts) };
}

const sum = (of: readonly { readonly bytes: number }[]): number => of.reduce((all, { bytes }) => all + bytes, 0);
const total = (parts: Readonly<Record<string, number>>): number =>
  Object.values(parts).reduce((all, bytes) => all + bytes, 0);
