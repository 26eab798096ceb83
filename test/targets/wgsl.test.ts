/** What WGSL kernels are, read back by wgsl_reflect: their bindings and sizes, and that no two threads race. */
import { describe, expect, test } from 'vitest';
import { detectRaces, WgslReflect } from 'wgsl_reflect/wgsl_reflect.module.js';
import { jobs, openJob } from '../../bench/jobs.ts';
import type { Builder } from '../../compiler/graph/build.ts';
import type { Graph, Value } from '../../compiler/graph/graph.ts';
import { at, pair } from '../../compiler/ops/affine.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { compile } from '../../compiler/pipeline.ts';
import { capabilitiesOf, defaultLimits, type WebGpuFeatures } from '../../compiler/targets/wgsl/features.ts';
import { emitWgsl } from '../../compiler/targets/wgsl/step.ts';
import type { TileProgram, TileStep } from '../../compiler/tile/tile.ts';
import type { Dtype } from '../../compiler/types/dtype.ts';
import { graphOfTrain } from '../../tools/driver/ir.ts';

type Launch = Extract<TileStep, { kind: 'launch' }>;
const launchesIn = (steps: readonly TileStep[]): Launch[] =>
  steps.flatMap((step) => (step.kind === 'launch' ? [step] : launchesIn(step.body)));

const tileOf = (graph: Graph, features?: WebGpuFeatures): TileProgram =>
  compile(graph, capabilitiesOf(defaultLimits, features)).tile;

describe.each(['mlp', 'gpt-small', 'resnet', 'bilstm'])('the kernels of %s', (name) => {
  test('have the bindings that the device gives them, within the limits every adapter has', async () => {
    const tile = tileOf(graphOfTrain(await openJob(name), 'step'));
    const launches = launchesIn(tile.steps);
    const { kernels } = emitWgsl(tile);
    expect(kernels.length).toBeGreaterThan(3);
    for (const { name: kernel, code } of kernels) {
      const { kernel: tiled } = launches.find((launch) => launch.kernel.name === kernel) ?? launches[0];
      const reflected = new WgslReflect(code);
      const [group] = reflected.getBindGroups();
      expect(group[0], kernel).toMatchObject({ name: 'heap', binding: 0 });
      expect(group[1], kernel).toMatchObject({
        name: 'launch',
        binding: 1,
        size: 4 * (tiled.parameters.length + tiled.arguments.length),
      });
      expect(group.length, kernel).toBeLessThanOrEqual(3);
      expect(reflected.entry.compute.map((entry) => entry.name)).toEqual(['main']);
      const shared = tiled.scratch.reduce((bytes, { size }) => bytes + 4 * size, 0);
      expect(shared).toBeLessThanOrEqual(defaultLimits.maxComputeWorkgroupStorageSize);
      expect(tiled.workgroup).toBeLessThanOrEqual(defaultLimits.maxComputeInvocationsPerWorkgroup);
    }
  });
});

test.each([
  ['mlp', 15],
  ['gpt-small', 70],
])('a step of %s is at most %i dispatches', async (name, most) => {
  expect(Object.keys(jobs)).toContain(name);
  const { steps } = emitWgsl(tileOf(graphOfTrain(await openJob(name), 'step')));
  // None is inside a repeat, where it would count as often as that runs.
  expect(steps.every(({ kind }) => kind === 'launch')).toBe(true);
  expect(steps.length).toBeLessThanOrEqual(most);
});

interface Family {
  readonly kernels: number;
  /** Something that is in the code of this way of working together, and of no other. */
  readonly shows: RegExp;
  readonly features?: WebGpuFeatures;
  build(build: Builder): Value | readonly Value[];
}

const input = (build: Builder, name: string, shape: readonly number[], dtype: Dtype = 'f32'): Value =>
  build.input(name, 'batch', { dtype, shape });

const product = (build: Builder, dtype: Dtype = 'f32'): Value =>
  build.matmul(input(build, 'x', [20, 24], dtype), input(build, 'y', [24, 18], dtype));

function softmax(build: Builder): Value {
  const x = input(build, 'x', [3, 70]);
  const along = (row: Value): Value => build.broadcast(build.reshape(row, [3, 1]), [3, 70]);
  const e = build.unary('exp', build.binary('sub', x, along(build.reduce('max', x, [1]))));
  return build.binary('div', e, along(build.reduce('sum', e, [1])));
}

/** A state that a loop carries through a product. */
function recurrence(build: Builder): readonly Value[] {
  const body = build.nested('body');
  const [h, x, w] = [input(body, 'h', [3, 40]), input(body, 'x', [3, 40]), input(body, 'w', [40, 40])];
  const next = body.unary('tanh', body.binary('add', x, body.matmul(h, w)));
  body.output('h', 'result', next);
  body.output('y', 'result', next);
  const operands = [input(build, 'start', [3, 40]), input(build, 'xs', [4, 3, 40]), input(build, 'w', [40, 40])];
  return build.loop(operands, { trips: 4, carried: 1, scanned: 1, reverse: false, body: body.finish() });
}

/** The adjoint of a convolution with a stride of 2: a product for each rest of a place. */
function strided(build: Builder): Value {
  const half = (axis: number, kernel: number) => ({ ...pair(axis, 1, kernel, -1, 1), divisor: 2 });
  const places = [at(0), half(1, 4), half(2, 5), at(6)];
  const operands = [input(build, 'y', [1, 4, 4, 8]), input(build, 'w', [3, 3, 8, 3])];
  return build.contract(operands, [places, [at(4), at(5), at(6), at(3)]], [1, 8, 8, 3], [3, 3, 8]);
}

function convolution(build: Builder): Value {
  const window = [at(0), pair(1, 1, 4, 1, -1), pair(2, 1, 5, 1, -1), at(6)];
  const operands = [input(build, 'x', [1, 6, 6, 3]), input(build, 'w', [3, 3, 3, 8])];
  return build.contract(operands, [window, [at(4), at(5), at(6), at(3)]], [1, 6, 6, 8], [3, 3, 3]);
}

/** What is handed on has 18 rows and 35 columns; what comes of its rows, and of its columns. */
function attention(build: Builder): readonly [Value, Value] {
  const [q, g] = ['q', 'g'].map((name) => input(build, name, [2, 18, 4]));
  const [k, v] = ['k', 'v'].map((name) => input(build, name, [2, 35, 4]));
  const scores = build.matmul(q, build.transpose(k, [0, 2, 1]));
  const along = (row: Value): Value => build.broadcast(build.reshape(row, [2, 18, 1]), [2, 18, 35]);
  const e = build.unary('exp', build.binary('sub', scores, along(build.reduce('max', scores, [2]))));
  const p = build.binary('div', e, along(build.reduce('sum', e, [2])));
  return [build.matmul(p, v), build.matmul(build.transpose(p, [0, 2, 1]), g)];
}

const [alone, meeting] = [/^(?![^]*Barrier)/, /workgroupBarrier/];
const subgroups: WebGpuFeatures = { subgroupThreads: 8, halves: false };

/**
 * Each way in which the threads of a kernel work together (compiler/schedule/team*.ts), and what is done to segments before: cut,
 * merged, repeated. Not here, because it takes minutes to interpret: a product whose sum is cut in parts (4096 terms and more), which
 * is the product in tiles below with a row of parts summed after it. Matrix instructions and dot4 are for other machines.
 */
const families: Readonly<Record<string, Family>> = {
  'elementwise, each thread its point': {
    kernels: 1,
    shows: alone,
    build: (build) => build.unary('exp', input(build, 'x', [5, 30])),
  },
  'a view that is turned': {
    kernels: 1,
    shows: alone,
    build: (build) => build.transpose(input(build, 'x', [9, 40]), [1, 0]),
  },
  'rows, a team each': {
    kernels: 1,
    shows: meeting,
    build: (build) => build.reduce('sum', input(build, 'x', [3, 40]), [1]),
  },
  'rows, a subgroup each': {
    kernels: 1,
    shows: /subgroupShuffleXor/,
    features: subgroups,
    build: (build) => build.reduce('sum', input(build, 'x', [3, 40]), [1]),
  },
  'rows longer than a subgroup': {
    kernels: 1,
    shows: /workgroupBarrier[^]*subgroupShuffleXor/,
    features: subgroups,
    build: (build) => build.reduce('sum', input(build, 'x', [3, 90]), [1]),
  },
  'columns, a team each': {
    kernels: 1,
    shows: meeting,
    build: (build) => build.reduce('max', input(build, 'x', [64, 5]), [0]),
  },
  'short rows, a thread each': {
    kernels: 1,
    shows: alone,
    build: (build) => build.reduce('sum', input(build, 'x', [30, 7]), [1]),
  },
  'the place of the largest': {
    kernels: 1,
    shows: meeting,
    build: (build) => build.argreduce('max', input(build, 'x', [3, 40]), 1),
  },
  'one reduction after the other': { kernels: 1, shows: meeting, build: softmax },
  'a long reduction, in parts': {
    kernels: 2,
    shows: meeting,
    build: (build) =>
      build.reduce('sum', build.binary('pow', input(build, 'x', [4096]), input(build, 'y', [4096])), [0]),
  },
  'a running sum': {
    kernels: 1,
    shows: alone,
    build: (build) => build.cumulative('sum', input(build, 'x', [3, 20]), 1, false),
  },
  'a product in tiles': { kernels: 1, shows: meeting, build: (build) => product(build) },
  'a product and what is done to it': {
    kernels: 1,
    shows: meeting,
    build: (build) =>
      build.unary('exp', build.binary('add', product(build), build.broadcast(input(build, 'b', [18]), [20, 18]))),
  },
  'a product too small for tiles': {
    kernels: 1,
    shows: meeting,
    build: (build) => build.matmul(input(build, 'x', [5, 40]), input(build, 'y', [40, 6])),
  },
  'products side by side': {
    kernels: 1,
    shows: meeting,
    build: (build) => build.matmul(input(build, 'x', [3, 9, 12]), input(build, 'y', [3, 12, 10])),
  },
  'a convolution': { kernels: 1, shows: meeting, build: convolution },
  'the adjoint of a convolution with a stride': { kernels: 1, shows: meeting, build: strided },
  'a product of halves in words': { kernels: 1, shows: meeting, build: (build) => product(build, 'bf16') },
  'a product of halves apart': {
    kernels: 1,
    shows: /halves: array<f16>[^]*workgroupBarrier/,
    features: { subgroupThreads: 1, halves: true },
    build: (build) => product(build, 'f16'),
  },
  'a product of quantized bytes': {
    kernels: 2,
    shows: meeting,
    build: (build) =>
      build.matmul(
        build.cast(input(build, 'x', [20, 24], 'i8'), 'i32'),
        build.cast(input(build, 'y', [24, 18], 'i8'), 'i32'),
      ),
  },
  'attention, by rows': { kernels: 1, shows: meeting, build: (build) => attention(build)[0] },
  'attention, by rows and by columns': { kernels: 2, shows: meeting, build: attention },
  'rows that ids choose': {
    kernels: 1,
    shows: alone,
    build: (build) => build.gather(input(build, 'x', [6, 5]), input(build, 'ids', [9], 'i32'), 0),
  },
  'rows that are summed where ids say': {
    kernels: 1,
    shows: alone,
    build: (build) => build.scatter(input(build, 'ids', [9], 'i32'), input(build, 'x', [9, 5]), 0, 6),
  },
  'two kernels as one': {
    kernels: 1,
    shows: /whole < \d[^]*workgroupBarrier/,
    build: (build) => [
      build.reduce('sum', input(build, 'x', [3, 70]), [1]),
      build.reduce('max', input(build, 'y', [4, 90]), [1]),
    ],
  },
  'what a loop repeats': { kernels: 3, shows: /launch\.t0/, build: recurrence },
};

describe('threads of a workgroup do not race:', () => {
  /** Each parameter at a place of its own, with ones; small numbers where ids are asked for. */
  function bindings({ kernel }: Launch): Parameters<typeof detectRaces>[3] {
    const places: number[] = [];
    let end = 0;
    for (const { size } of kernel.parameters) {
      places.push(end);
      end += size;
    }
    const heap = new Uint32Array(end).fill(0x3f800000);
    kernel.parameters.forEach(({ dtype, size }, which) => {
      if (/^[iu]/.test(dtype)) for (let word = 0; word < size; word++) heap[places[which] + word] = (7 * word) % 4;
    });
    return {
      0: {
        0: heap,
        1: { uniform: Uint32Array.from([...places, ...kernel.arguments.map(() => 1)]) },
        2: new Uint32Array(1),
        3: Uint32Array.from(heap),
      },
    };
  }

  /** wgsl_reflect stores no f16: as f32, the same threads write the same elements. It has subgroups, but does not know the word for it. */
  const plain = (code: string): string => code.replace(/^enable .*;$/gm, '').replace(/\bf16\b/g, 'f32');

  interface Emitted {
    readonly code: string;
    race(code: string): ReturnType<typeof detectRaces>;
  }

  function emitted({ build: write, features }: Family): readonly Emitted[] {
    const build = createBuilder('family');
    [write(build)].flat().forEach((value, which) => build.output(`y${which}`, 'result', value));
    const tile = tileOf(build.finish(), features);
    return emitWgsl(tile).kernels.map(({ name, code, grid }) => {
      const launch = launchesIn(tile.steps).find(({ kernel }) => kernel.name === name);
      if (launch === undefined) throw new Error(`nothing launches ${name}`);
      return { code, race: (given) => detectRaces(plain(given), 'main', [Math.min(grid, 4), 1, 1], bindings(launch)) };
    });
  }

  test.each(Object.entries(families))('%s', { timeout: 60_000 }, (_, family) => {
    const kernels = emitted(family);
    expect(kernels).toHaveLength(family.kernels);
    expect(kernels.some(({ code }) => family.shows.test(code))).toBe(true);
    for (const { code, race } of kernels) {
      const { races, errors } = race(code);
      expect(races).toEqual([]);
      expect(errors).toEqual([]);
    }
  });

  test.each([
    ['without their barriers', 'rows, a team each', 'workgroupBarrier(); storageBarrier();', ''],
    ['without their barriers', 'rows longer than a subgroup', 'workgroupBarrier(); storageBarrier();', ''],
    ['without their barriers', 'a product too small for tiles', 'workgroupBarrier(); storageBarrier();', ''],
    ['without their barriers', 'two kernels as one', 'workgroupBarrier(); storageBarrier();', ''],
    ['with two threads at a place', 'a running sum', 'i32(local)', 'i32(local / 2u)'],
    ['with two threads at a place', 'rows that are summed where ids say', 'i32(local)', 'i32(local / 2u)'],
  ])('and would be seen to, %s: %s', (_, name, from, to) => {
    const [{ code, race }] = emitted(families[name]);
    const planted = code.replaceAll(from, to);
    expect(planted).not.toBe(code);
    expect(race(planted).races.length).toBeGreaterThan(0);
  });
});
