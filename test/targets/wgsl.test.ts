/** What WGSL kernels are, read back by wgsl_reflect: their bindings and sizes, and that no two threads race. */
import { describe, expect, test } from 'vitest';
import { detectRaces, WgslReflect } from 'wgsl_reflect/wgsl_reflect.module.js';
import { jobs, openJob } from '../../bench/jobs.ts';
import type { Graph, Value } from '../../compiler/graph/graph.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { compile } from '../../compiler/pipeline.ts';
import { capabilitiesOf, defaultLimits } from '../../compiler/targets/wgsl/features.ts';
import { emitWgsl } from '../../compiler/targets/wgsl/step.ts';
import type { TileProgram, TileStep } from '../../compiler/tile/tile.ts';
import { graphOfTrain } from '../../tools/driver/ir.ts';

type Launch = Extract<TileStep, { kind: 'launch' }>;
const launchesIn = (steps: readonly TileStep[]): Launch[] =>
  steps.flatMap((step) => (step.kind === 'launch' ? [step] : launchesIn(step.body)));

const tileOf = (graph: Graph): TileProgram => compile(graph, capabilitiesOf()).tile;

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

const input = (build: ReturnType<typeof createBuilder>, name: string, ...shape: readonly number[]): Value =>
  build.input(name, 'batch', { dtype: 'f32', shape });

/** One of each way that threads work together. */
const families: Readonly<Record<string, (build: ReturnType<typeof createBuilder>) => Value>> = {
  'elementwise, each thread its point': (build) => build.unary('exp', input(build, 'x', 5, 30)),
  'rows, a team each': (build) => build.reduce('sum', input(build, 'x', 3, 40), [1]),
  'columns, a team each': (build) => build.reduce('max', input(build, 'x', 64, 5), [0]),
  'the place of the largest': (build) => build.argreduce('max', input(build, 'x', 3, 40), 1),
  'a running sum': (build) => build.cumulative('sum', input(build, 'x', 3, 20), 1, false),
  'a product in tiles': (build) => build.matmul(input(build, 'x', 20, 24), input(build, 'y', 24, 18)),
};

describe('threads of a workgroup do not race:', () => {
  const bindings = (): Parameters<typeof detectRaces>[3] => ({
    0: {
      0: new Uint32Array(8192).fill(0x3f800000),
      1: { uniform: new Uint32Array(16).map((_, at) => 64 + at * 1024) },
      2: new Uint32Array(1),
    },
  });

  test.each(Object.entries(families))('%s', (_, family) => {
    const build = createBuilder('family');
    build.output('y', 'result', family(build));
    for (const { code, grid } of emitWgsl(tileOf(build.finish())).kernels) {
      const { races, errors } = detectRaces(code, 'main', [Math.min(grid, 2), 1, 1], bindings());
      expect(races).toEqual([]);
      expect(errors).toEqual([]);
    }
  });

  test('and would be seen to, without their barriers', () => {
    const build = createBuilder('family');
    build.output('y', 'result', build.reduce('sum', input(build, 'x', 1, 40), [1]));
    const [{ code }] = emitWgsl(tileOf(build.finish())).kernels;
    const without = code.replaceAll('workgroupBarrier(); storageBarrier();', '');
    expect(without).not.toBe(code);
    expect(detectRaces(without, 'main', [1, 1, 1], bindings()).races.length).toBeGreaterThan(0);
  });
});
