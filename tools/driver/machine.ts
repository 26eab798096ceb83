/**
 * What this machine reaches, measured by small programs that go through the whole compiler: takes about two seconds. The
 * numbers go into the predictions of `nacre plan` and `nacre explain`.
 */
import { availableParallelism } from 'node:os';
import { type Cycles, kernelCycles } from '../../compiler/analyze/cycles.ts';
import type { Machine } from '../../compiler/analyze/predict.ts';
import type { Builder } from '../../compiler/graph/build.ts';
import type { Graph, Value } from '../../compiler/graph/graph.ts';
import { at, pair } from '../../compiler/ops/affine.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { fuse } from '../../compiler/fuse/fuse.ts';
import { schedule } from '../../compiler/schedule/schedule.ts';
import type { Capabilities } from '../../compiler/targets/target.ts';
import { measureBetween, measureGather } from './between.ts';
import { hostCapabilities } from './host.ts';
import { openTarget } from './target.ts';
import type { Target } from './targets/backend.ts';

/**
 * Seconds: what a launch takes beside its work, and threads of one processor until they have met. Not measured: the work that
 * several threads share takes ten times as long at least, so a probe would mostly show that.
 */
const [launch, meeting] = [0.3e-6, 0.5e-6];

/** Throws DeviceError where there is no libLLVM. */
export async function measureMachine(threads = availableParallelism()): Promise<Machine> {
  const target = await openTarget('cpu', { threads });
  try {
    const within = [threads * 2 ** 19, 2 ** 23, 2 ** 26];
    const probes = {
      call: inPlace('call', [16], scaled),
      // A layer applied to a batch, the gradient of its weight, and a convolution, which has more to do beside.
      forward: product('forward', 2048, 256, 512),
      gradient: product('gradient', 256, 2048, 512),
      convolution: convolution(),
      functions: inPlace('functions', [1024, 256], activation),
      arithmetic: inPlace('arithmetic', [1024, 256], polynomial),
      near: inPlace('near', [within[0] / 4 / 256, 256], scaled),
      shared: inPlace('shared', [within[1] / 4 / 256, 256], scaled),
      far: inPlace('far', [within[2] / 4 / 256, 256], scaled),
    };
    const seconds = await measure(target, probes);
    const capabilities = await hostCapabilities(threads);
    const cyclesOf = (graph: Graph): Cycles => cyclesIn(graph, capabilities);
    const bandwidth = [seconds.near, seconds.shared, seconds.far].map((time, at) => ({
      within: within[at],
      rate: (2 * within[at]) / time,
    }));
    // What is nearer is never slower; where it seems so, starting the program took most of the time.
    for (let near = bandwidth.length - 2; near >= 0; near--)
      bandwidth[near].rate = Math.max(bandwidth[near].rate, bandwidth[near + 1].rate);
    const [functions, arithmetic] = [cyclesOf(probes.functions), cyclesOf(probes.arithmetic)];
    const rest = (arithmetic.multiply + arithmetic.rest) / seconds.arithmetic;
    const inFunctions = seconds.functions - (functions.multiply + functions.rest) / rest;
    return {
      threads,
      contraction: (2 * 2 * 2048 * 256 * 512) / (seconds.forward + seconds.gradient),
      cycles: {
        ...ratesOf([
          { cycles: cyclesOf(probes.forward), seconds: seconds.forward },
          { cycles: cyclesOf(probes.gradient), seconds: seconds.gradient },
          { cycles: cyclesOf(probes.convolution), seconds: seconds.convolution },
        ]),
        functions: functions.functions / Math.max(inFunctions, seconds.functions / 2),
        rest,
      },
      bandwidth,
      launch,
      meeting,
      call: seconds.call,
      between: Math.max(1e-6, (await measureBetween(target)) - seconds.call),
      gather: measureGather(),
    };
  } finally {
    target.session.close();
  }
}

/** How much longer a product takes in a step, where others have used the caches since, than over and over: so on Zen 5, by its kernels' times. */
const inStep = 1.15;

/**
 * Rates that explain how long the products took: seconds = multiply / rate + rest / another, by least squares of the relative
 * errors. What goes on beside multiplications takes as long as they do at most, cycle by cycle, and three tenths of it at least: more is
 * hidden in these plain products, but not in kernels that have much of it.
 */
function ratesOf(
  products: readonly { readonly cycles: Cycles; readonly seconds: number }[],
): Pick<Machine['cycles'], 'multiply' | 'beside'> {
  const rows = products.map(({ cycles: { multiply, rest }, seconds }) => ({
    m: multiply / seconds,
    r: rest / seconds,
  }));
  const sum = (of: (row: (typeof rows)[number]) => number): number => rows.reduce((total, row) => total + of(row), 0);
  const [mm, mr, rr] = [sum(({ m }) => m * m), sum(({ m, r }) => m * r), sum(({ r }) => r * r)];
  const [m, r] = [sum((row) => row.m), sum((row) => row.r)];
  const perRest = (mm * r - mr * m) / (mm * rr - mr * mr);
  const most = (m + r) / (mm + 2 * mr + rr);
  const least = (0.3 * m) / (mm + 0.3 * mr);
  const kept = Math.min(Math.max(perRest, least), most);
  return { multiply: mm / (m - mr * kept) / inStep, beside: 1 / kept / inStep };
}

function inPlace(name: string, shape: readonly number[], compute: (build: Builder, x: Value) => Value): Graph {
  const build = createBuilder(name);
  const x = build.input(name, 'param', { dtype: 'f32', shape });
  build.output(name, 'update', compute(build, x));
  return build.finish();
}

const scaled = (build: Builder, x: Value): Value => build.binary('mul', x, build.constant(0.999, 'f32', x.type.shape));

/** Twelve multiplications and additions, as elementwise work has them. */
function polynomial(build: Builder, x: Value): Value {
  const number = (value: number): Value => build.constant(value, 'f32', x.type.shape);
  let y = x;
  for (let power = 1; power <= 12; power++)
    y = build.binary('add', build.binary('mul', y, build.binary('max', x, number(-power))), number(1 / power));
  return build.binary('min', y, number(0.5));
}

/** A mix such as activations, dropout and optimizers make. */
function activation(build: Builder, x: Value): Value {
  const number = (value: number): Value => build.constant(value, 'f32', x.type.shape);
  const gate = build.unary(
    'tanh',
    build.binary('mul', x, build.binary('add', number(0.8), build.binary('mul', x, number(0.04)))),
  );
  const soft = build.unary('exp', build.binary('sub', gate, number(1)));
  return build.binary(
    'div',
    build.binary('mul', soft, x),
    build.unary('sqrt', build.binary('add', build.binary('mul', x, x), number(1.5))),
  );
}

function product(name: string, rows: number, inner: number, columns: number): Graph {
  const build = createBuilder(name);
  const input = (place: string, shape: readonly number[]): Value =>
    build.input(`${name}.${place}`, 'param', { dtype: 'f32', shape });
  build.output(`${name}.c`, 'update', build.matmul(input('a', [rows, inner]), input('b', [inner, columns])));
  return build.finish();
}

/** 3 × 3 over images of 16 × 16, 16 channels to 32. */
function convolution(): Graph {
  const build = createBuilder('convolution');
  const input = (place: string, shape: readonly number[]): Value =>
    build.input(`convolution.${place}`, 'param', { dtype: 'f32', shape });
  const [x, w] = [input('x', [32, 18, 18, 16]), input('w', [3, 3, 16, 32])];
  const y = build.contract(
    [x, w],
    [
      [at(0), pair(1, 1, 4, 1), pair(2, 1, 5, 1), at(6)],
      [at(4), at(5), at(6), at(3)],
    ],
    [32, 16, 16, 32],
    [3, 3, 16],
  );
  // Not a result, which would be copied.
  build.output('convolution.y', 'update', y);
  return build.finish();
}

/** Of all kernels of a graph. */
const cyclesIn = (graph: Graph, capabilities: Capabilities): Cycles =>
  schedule(fuse(graph).program, capabilities)
    .steps.flatMap((step) => (step.kind === 'launch' ? [kernelCycles(step.kernel)] : []))
    .reduce(
      (sum, { multiply, functions, rest }) => ({
        multiply: sum.multiply + multiply,
        functions: sum.functions + functions,
        rest: sum.rest + rest,
      }),
      { multiply: 0, functions: 0, rest: 0 },
    );

/** Rounds, and milliseconds of each for each program. */
const rounds = { count: 12, ms: 12 };

/**
 * Seconds of a run of each program, without starting it (`call`: of starting one). They take turns, so that whatever else the
 * machine does for a while disturbs a few rounds of all and not all rounds of one; a quarter of the rounds may be disturbed
 * less than what is returned.
 */
async function measure<Name extends string>(
  target: Target,
  graphs: Readonly<Record<Name | 'call', Graph>>,
): Promise<Record<Name | 'call', number>> {
  const probes: { readonly name: Name | 'call'; readonly run: () => Promise<unknown>; readonly times: number[] }[] = [];
  for (const name of Object.keys(graphs) as (Name | 'call')[]) {
    const executable = await target.load(graphs[name]);
    // Zeros would be as fast, but numbers that decay below the smallest normal one would not.
    for (const { name: input } of graphs[name].inputs)
      target.session.write(input, (await target.session.read(input)).fill(0.5));
    probes.push({ name, run: () => executable.run(new Map()), times: [] });
  }
  for (let round = 0; round <= rounds.count; round++)
    for (const { run, times } of probes) {
      const started = performance.now();
      let fastest = Infinity;
      for (let count = 0; count < 2 || performance.now() - started < rounds.ms; count++) {
        const before = performance.now();
        await run();
        fastest = Math.min(fastest, performance.now() - before);
      }
      // The first round warms up.
      if (round > 0) times.push(fastest / 1000);
    }
  const found = Object.fromEntries(
    probes.map(({ name, times }) => [name, times.sort((a, b) => a - b)[times.length >> 2]]),
  ) as Record<Name | 'call', number>;
  for (const { name } of probes) if (name !== 'call') found[name] = Math.max(found[name] - found.call, found[name] / 4);
  return found;
}
