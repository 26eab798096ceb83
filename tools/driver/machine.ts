/**
 * What this machine reaches, measured by small programs that go through the whole compiler: takes about a second. The
 * numbers go into the predictions of `nacre plan` and `nacre explain`.
 */
import { availableParallelism } from 'node:os';
import { kernelsOf } from '../../compiler/analyze/cost.ts';
import { kernelCycles } from '../../compiler/analyze/cycles.ts';
import type { Machine } from '../../compiler/analyze/predict.ts';
import type { Builder } from '../../compiler/graph/build.ts';
import type { Graph, Value } from '../../compiler/graph/graph.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { fuse } from '../../compiler/fuse/fuse.ts';
import { schedule } from '../../compiler/schedule/schedule.ts';
import { capabilitiesOf, type CpuHost, instructionsOf } from '../../compiler/targets/llvm/features.ts';
import type { Instructions } from '../../compiler/targets/llvm/writer.ts';
import type { Capabilities } from '../../compiler/targets/target.ts';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import { openTarget, type Target } from './target.ts';

/** Of this machine's processor. */
export async function hostCapabilities(threads = availableParallelism()): Promise<Capabilities> {
  return capabilitiesOf(await hostProcessor(), threads);
}

/** Of a common one where there is no libLLVM to tell. */
export async function hostProcessor(): Promise<CpuHost> {
  const { features = '+avx2,+fma', architecture = 'x86_64', l1, l2 } = await describeCpu();
  return { architecture, features, l1, l2 };
}

/** The instructions this machine has. */
export async function hostInstructions(): Promise<Instructions> {
  const { features = '', architecture = 'x86_64' } = await describeCpu();
  return instructionsOf({ architecture, features });
}

/** Throws DeviceError where there is no libLLVM. */
export async function measureMachine(threads = availableParallelism()): Promise<Machine> {
  const target = await openTarget('cpu', { threads });
  try {
    const call = await seconds(target, inPlace('call', [16], scaled));
    const without = (time: number): number => Math.max(time - call, time / 4);
    // A layer applied to a batch, and the gradient of its weight.
    let inProducts = 0;
    const products = [product('forward', 2048, 256, 512), product('gradient', 256, 2048, 512)];
    for (const graph of products) inProducts += without(await seconds(target, graph));
    const contraction = (2 * 2 * 2048 * 256 * 512) / inProducts;
    const capabilities = await hostCapabilities(threads);
    const elements = inPlace('elementwise', [256, 256], busy);
    const cycles = {
      contraction: products.reduce((sum, graph) => sum + cyclesIn(graph, capabilities), 0) / inProducts,
      elementwise: cyclesIn(elements, capabilities) / without(await seconds(target, elements)),
    };
    const links = chain();
    const meeting = without(await seconds(target, links)) / kernelsOf(fuse(links).program.steps).length / trips;
    const bandwidth: { within: number; rate: number }[] = [];
    for (const within of [threads * 2 ** 19, 2 ** 23, 2 ** 26]) {
      const time = without(await seconds(target, inPlace(`bytes${within}`, [within / 4 / 256, 256], scaled)));
      bandwidth.push({ within, rate: (2 * within) / time });
    }
    // What is nearer is never slower; where it seems so, starting the program took most of the time.
    for (let near = bandwidth.length - 2; near >= 0; near--)
      bandwidth[near].rate = Math.max(bandwidth[near].rate, bandwidth[near + 1].rate);
    return { threads, contraction, cycles, bandwidth, launch: 0.3e-6, meeting, call, between: 70e-6 };
  } finally {
    target.session.close();
  }
}

function inPlace(name: string, shape: readonly number[], compute: (build: Builder, x: Value) => Value): Graph {
  const build = createBuilder(name);
  const x = build.input(name, 'param', { dtype: 'f32', shape });
  build.output(name, 'update', compute(build, x));
  return build.finish();
}

const scaled = (build: Builder, x: Value): Value => build.binary('mul', x, build.constant(0.999, 'f32', x.type.shape));

/** A mix such as activations, dropout and optimizers make. */
function busy(build: Builder, x: Value): Value {
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

const cyclesIn = (graph: Graph, capabilities: Capabilities): number =>
  schedule(fuse(graph).program, capabilities).steps.reduce(
    (sum, step) => sum + (step.kind === 'launch' ? kernelCycles(step.kernel) : 0),
    0,
  );

const trips = 400;

/** Small kernels that wait for each other: each is all threads' work, but hardly any. */
function chain(): Graph {
  const build = createBuilder('chain');
  const shape = [128, 128];
  const x = build.input('chain', 'param', { dtype: 'f32', shape });
  const body = build.nested('link');
  const y = body.input('y', 'batch', { dtype: 'f32', shape });
  const rows = body.reduce('sum', y, [1]);
  const next = body.binary('sub', y, body.broadcast(body.reshape(rows, [128, 1]), shape));
  body.output('y', 'result', body.binary('mul', next, body.constant(0.5, 'f32', shape)));
  const [last] = build.loop([x], { trips, carried: 1, scanned: 0, reverse: false, body: body.finish() });
  build.output('chain', 'update', last);
  return build.finish();
}

/** Of one run: the median of many after a warm-up, as a training run will find the machine. */
async function seconds(target: Target, graph: Graph): Promise<number> {
  const executable = await target.load(graph);
  // Zeros would be as fast, but numbers that decay below the smallest normal one would not.
  for (const { name } of graph.inputs) target.session.write(name, (await target.session.read(name)).fill(0.5));
  const run = (): Promise<unknown> => executable.run(new Map());
  for (let warm = 0; warm < 3; warm++) await run();
  const times: number[] = [];
  const started = performance.now();
  for (let count = 0; count < 5 || (performance.now() - started < 80 && count < 400); count++) {
    const before = performance.now();
    await run();
    times.push(performance.now() - before);
  }
  return times.sort((a, b) => a - b)[times.length >> 1] / 1000;
}
