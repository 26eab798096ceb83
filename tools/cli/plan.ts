/** `nacre plan`: kernels, memory and time of a training step, before anything runs. */
import { availableParallelism } from 'node:os';
import { totalElements } from '../../common/elements.ts';
import { analyzeTrain, type AnalyzedProgram, type TrainAnalysis } from '../driver/analysis.ts';
import { asTrained } from '../driver/compact.ts';
import { fitMemory, type Fitted } from '../driver/fit-memory.ts';
import { readDevice } from '../driver/device-file.ts';
import { describeIdle, idleCheckpoints } from '../driver/idle-checkpoints.ts';
import { noticesOf } from '../driver/notices.ts';
import { openProject, refuseNeverDue, type RunnableTrain } from '../driver/project.ts';
import { showBytes, showCount, showFlops, showRate, showSeconds } from '../driver/numbers.ts';
import { checkSettings, parseSettings } from './settings.ts';
import { count, exit, printJson, type Terminal } from './terminal.ts';

export interface PlanCommand {
  readonly batch?: number;
  readonly threads?: number;
  /** A file that describes another machine. */
  readonly device?: string;
  /** Bytes that the peak has to fit into. */
  readonly memory?: number;
  readonly set: readonly string[];
  readonly data: readonly string[];
  readonly json: boolean;
}

export async function plan(
  file: string,
  name: string | undefined,
  options: PlanCommand,
  terminal: Terminal,
): Promise<number> {
  const overrides = parseSettings(options.set);
  const project = await openProject(file, { data: options.data, overrides });
  const asked = asTrained(await project.train(name));
  checkSettings(overrides, project, asked.block.name);
  if (options.batch === undefined) refuseNeverDue(asked);
  const device = options.device === undefined ? undefined : readDevice(options.device);
  const { batch = asked.plan.batch, memory } = options;
  const threads = device?.machine.threads ?? options.threads ?? availableParallelism();
  const sized = { ...asked, plan: { ...asked.plan, batch } };
  const { train: runnable, notice }: Fitted =
    memory === undefined ? { train: sized } : await fitMemory(sized, memory, threads);
  if (notice !== undefined) terminal.err(`${notice}\n`);
  const analysis = await analyzeTrain(runnable, { threads, batch, ...(device && { device }) });
  const idle = idleCheckpoints(runnable, analysis, asked.block.recompute);
  if (options.json) printJson(terminal, { ...asJson(runnable, analysis), idleCheckpoints: idle });
  else terminal.out(asText(file, runnable, analysis, [...noticesOf(runnable), ...idle.map(describeIdle)]));
  return exit.ok;
}

function asText(
  file: string,
  { plan: train }: RunnableTrain,
  { batch, threads, programs, main, memory, machine, seconds, notice }: TrainAnalysis,
  notices: readonly string[],
): string {
  const { analysis } = main;
  const trains = main.kind === 'step';
  const launches = analysis.kernels.reduce((sum, kernel) => sum + kernel.runs * kernel.launches, 0);
  const isLargest = (program: AnalyzedProgram): boolean => program.analysis.memory.arena === memory.temporaries;
  const largest = isLargest(main) ? main : (programs.find(isLargest) ?? main);
  const sharing = `of the ${labelOf(largest)}; without sharing ${showBytes(largest.analysis.memory.unshared)}${largest === main ? '' : `; of the ${labelOf(main)} ${showBytes(analysis.memory.arena)}`}`;
  const trained = train.parameters.filter((parameter) => parameter.trained);
  const rows: readonly (readonly [string, string, string])[] = [
    [
      'parameters',
      showBytes(memory.parameters),
      `${showCount(totalElements(train.parameters))} weights, ${showCount(totalElements(trained))} of them trained`,
    ],
    ['optimizer and buffers', showBytes(memory.states), `${showCount(totalElements(train.states))} numbers`],
    ['temporaries', showBytes(memory.temporaries), sharing],
    ...(trains
      ? [
          [
            'activations',
            showBytes(analysis.activations),
            'of those: what the forward pass of a step leaves for the backward pass',
          ] as const,
        ]
      : []),
    ['data and constants', showBytes(memory.inputs + memory.constants + memory.results), ''],
    ['scratch of the threads', showBytes(memory.scratch), ''],
    ['peak', showBytes(memory.peak), ''],
  ];
  const names = programs.map(
    ({ kind, name, analysis: { kernels } }) => `${labelOf({ kind, name })}: ${count(kernels.length, 'kernel')}`,
  );
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = [
    `${train.name} of ${file}, batch ${batch}${train.accumulate > 1 ? ` × ${train.accumulate}` : ''}`,
    '',
    'memory',
    ...rows.map(([what, bytes, more]) =>
      `  ${what.padEnd(widths[0])}  ${bytes.padStart(widths[1])}  ${more}`.trimEnd(),
    ),
    ...notices.flatMap((line) => ['', line]),
    '',
    'programs',
    ...names.map((line) => `  ${line}`),
    '',
    trains ? 'a step' : `no step is taken; ${runOf(main, train)}`,
    `  ${count(analysis.kernels.length, 'kernel')}, ${count(launches, 'launch', 'launches')}${trains ? `: ${phases(analysis.kernels.map(({ phase }) => phase))}` : ''}`,
    `  ${showFlops(analysis.flops)}, ${showBytes(analysis.traffic)} read and written`,
    ...(seconds === undefined || machine === undefined
      ? [`  ${notice ?? ''}`]
      : [
          `  ${showSeconds(seconds)} predicted, on ${count(threads, 'thread')} that ${threads === 1 ? 'reaches' : 'reach'} ${showRate(machine.contraction, 'FLOP')} and ${machine.bandwidth.map(({ rate }) => showRate(rate, 'B')).join(', ')} (near cache to memory)`,
        ]),
  ];
  return `${lines.join('\n')}\n`;
}

const labelOf = ({ kind, name }: Pick<AnalyzedProgram, 'kind' | 'name'>): string =>
  kind === 'eval' && name !== 'eval' ? `eval ${name}` : name;

/** What is shown where no step is taken. */
const runOf = (main: AnalyzedProgram, { evaluations }: RunnableTrain['plan']): string =>
  main.kind === 'eval'
    ? `a batch of ${evaluations[0].batch} of the ${labelOf(main)}`
    : `what computes the codes of the weights`;

function phases(of: readonly string[]): string {
  return ['forward', 'backward', 'update']
    .map((phase) => `${of.filter((one) => one === phase).length} ${phase}`)
    .join(', ');
}

function asJson(
  { plan: train }: RunnableTrain,
  { batch, threads, programs, main, memory, machine, seconds }: TrainAnalysis,
): Record<string, unknown> {
  return {
    train: train.name,
    batch,
    accumulate: train.accumulate,
    threads,
    parameters: totalElements(train.parameters),
    memory,
    ...(seconds !== undefined && { seconds }),
    activations: main.kind === 'step' ? main.analysis.activations : 0,
    programs: programs.map(({ kind, name, analysis }) => ({
      kind,
      name,
      kernels: analysis.kernels.length,
      arena: analysis.memory.arena,
      flops: analysis.flops,
      bytes: analysis.traffic,
      ...(analysis.seconds !== undefined && { seconds: analysis.seconds }),
    })),
    main: main.name,
    kernels: main.analysis.kernels.map(({ kernel, phase, runs, cost, launches, prediction }) => ({
      name: kernel.name,
      phase,
      runs,
      launches,
      flops: cost.flops,
      bytesRead: cost.bytesRead,
      bytesWritten: cost.bytesWritten,
      ...(prediction && { seconds: prediction.seconds }),
    })),
    ...(machine && { machine }),
  };
}
