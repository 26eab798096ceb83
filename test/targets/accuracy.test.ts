/** Functions of single precision on targets with their own code for them: how exact they are, and what they do at the ends. */
import { afterAll, beforeAll, describe, test } from 'vitest';
import { compileFor } from '../../compiler/pipeline.ts';
import { forCuda } from '../../compiler/targets/cuda/compiler.ts';
import { forWasm } from '../../compiler/targets/wasm/compiler.ts';
import { forWebGpu } from '../../compiler/targets/wgsl/compiler.ts';
import type { Graph, UnaryOp } from '../../compiler/graph/graph.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { roundTf32 } from '../../compiler/ops/numeric.ts';
import { binaryScalar, erf, unaryScalar } from '../../compiler/ops/scalar.ts';
import { openCudaSession } from '../../runtime/devices/cuda.ts';
import { openWasmSession } from '../../runtime/devices/wasm.ts';
import { openWebGpuSession } from '../../runtime/devices/webgpu.ts';
import type { Executable, Session, TypedArray } from '../../runtime/program.ts';
import { emulatedImage, emulatorProblem } from '../support/cuda.ts';
import { webgpuProblem } from '../support/webgpu.ts';

interface Opened {
  readonly session: Session;
  load(graph: Graph): Promise<Executable>;
}

const devices: Readonly<Record<string, { readonly problem: string | undefined; open(): Promise<Opened> }>> = {
  wasm: {
    problem: undefined,
    async open() {
      const session = await openWasmSession({ threads: 1 });
      return { session, load: (graph) => session.load(compileFor(forWasm(1, false), graph)) };
    },
  },
  webgpu: {
    problem: webgpuProblem,
    async open() {
      const session = await openWebGpuSession();
      return { session, load: (graph) => session.load(compileFor(forWebGpu(session), graph)) };
    },
  },
  cuda: {
    problem: emulatorProblem,
    async open() {
      const session = await openCudaSession();
      return {
        session,
        load(graph) {
          const { source, ...program } = compileFor(forCuda(4), graph);
          return session.load({ ...program, image: emulatedImage(source) });
        },
      };
    },
  },
};

const count = 2 ** 14;
const along = (low: number, high: number): Float32Array =>
  Float32Array.from({ length: count }, (_, at) => low + (at / count) * (high - low));
const evenly = (low: number, high: number): Float32Array =>
  along(Math.log(low), Math.log(high)).map((power) => Math.exp(power));

/** The function, its inputs, and how many units in the last place it may be off. */
const claims: readonly (readonly [UnaryOp, (x: number) => number, readonly Float32Array[], number])[] = [
  ['exp', Math.exp, [along(-87, 88)], 1.5],
  ['log', Math.log, [evenly(1e-30, 1e30), along(0.5, 2)], 1.5],
  ['sin', Math.sin, [along(-3.2, 3.2), along(-1000, 1000)], 2],
  ['cos', Math.cos, [along(-3.2, 3.2), along(-1000, 1000)], 2],
  ['tanh', Math.tanh, [along(-10, 10), along(-0.7, 0.7)], 2],
  ['erf', erf, [along(-4, 4)], 2],
  ['sqrt', Math.sqrt, [along(0, 1e6)], 1],
  ['rsqrt', (x) => 1 / Math.sqrt(x), [evenly(1e-3, 1e6)], 2],
  // Exact; every other of the second lie halfway between two.
  ['tf32', roundTf32, [along(-3, 3), Float32Array.from({ length: count }, (_, at) => 1 + at * 2 ** -11)], 0],
];

const unit = (value: number): number => 2 ** (Math.floor(Math.log2(Math.max(Math.abs(value), 2 ** -126))) - 23);

const ends = Float32Array.of(NaN, Infinity, -Infinity, 0, -0, 1, -1, 100, -100, 0.5, 3.4e38, -3.4e38);

/** NaN is NaN, whatever its bits; zeros may lose their sign, and subnormal numbers become zeros where the machine has none. */
const agrees = (found: number, wanted: number, tolerance = 2e-6): boolean =>
  Number.isNaN(wanted)
    ? Number.isNaN(found)
    : found === wanted || Math.abs(found - wanted) <= Math.max(tolerance * Math.abs(wanted), 2 ** -126);

describe.each(Object.entries(devices))('on %s', (device, { problem, open }) => {
  let opened: Opened;
  beforeAll(async () => void (problem === undefined && (opened = await open())));
  afterAll(() => opened?.session.close());

  const run = async (graph: Graph, inputs: Readonly<Record<string, TypedArray>>): Promise<TypedArray> => {
    const results = await (await opened.load(graph)).run(new Map(Object.entries(inputs)));
    return results.get('y') ?? new Float32Array();
  };
  const unary = (op: UnaryOp, x: Float32Array): Promise<TypedArray> => {
    const build = createBuilder(op);
    build.output('y', 'result', build.unary(op, build.input('x', 'batch', { dtype: 'f32', shape: [x.length] })));
    return run(build.finish(), { x });
  };

  test.skipIf(problem !== undefined).each(claims)('%s', async (op, wanted, inputs, most) => {
    for (const x of inputs) {
      const found = await unary(op, x);
      x.forEach((value, at) => {
        const exact = wanted(value);
        const off = Math.abs(found[at] - exact) / unit(exact);
        if (!(off <= most)) throw new Error(`${op}(${value}) is ${found[at]}, ${off.toFixed(2)} units from ${exact}`);
      });
    }
    const found = await unary(op, ends);
    const meaning = unaryScalar(op, 'f32');
    ends.forEach((value, at) => {
      if (!agrees(found[at], Math.fround(meaning(value)))) throw new Error(`${op}(${value}) is ${found[at]}`);
    });
  });

  test.skipIf(problem !== undefined).each([
    ['sin', Math.sin],
    ['cos', Math.cos],
  ] as const)('%s of large numbers', async (op, wanted) => {
    for (const x of [evenly(1e3, 3.4e38), along(1500, 7e4), along(-1e9, -9e8)]) {
      const found = await unary(op, x);
      x.forEach((value, at) => {
        const off = Math.abs(found[at] - wanted(value));
        if (!(off <= 1.2e-7)) throw new Error(`${op}(${value}) is ${found[at]}, ${off} from ${wanted(value)}`);
      });
    }
  });

  test.skipIf(problem !== undefined).each(['max', 'min', 'eq', 'ne', 'lt', 'le', 'pow', 'rem'] as const)(
    '%s, where numbers end',
    async (op) => {
      const pairs = [...ends].flatMap((x) => [...ends].map((y) => [x, y] as const));
      const build = createBuilder(op);
      const [x, y] = ['a', 'b'].map((name) => build.input(name, 'batch', { dtype: 'f32', shape: [pairs.length] }));
      build.output('y', 'result', build.binary(op, x, y));
      const found = await run(build.finish(), {
        a: Float32Array.from(pairs, ([one]) => one),
        b: Float32Array.from(pairs, ([, other]) => other),
      });
      const meaning = binaryScalar(op, 'f32');
      pairs.forEach(([one, other], at) => {
        const wanted = Math.fround(Number(meaning(one, other)));
        // WebGPU has no double precision for the logarithm of a power.
        const tolerance = op === 'pow' && device === 'webgpu' ? 1e-4 : undefined;
        if (!agrees(found[at], wanted, tolerance))
          throw new Error(`${op}(${one}, ${other}) is ${found[at]}, not ${wanted}`);
      });
    },
  );
});
