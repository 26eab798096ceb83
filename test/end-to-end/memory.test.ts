/** Recomputed activations: the same training in less memory, by `checkpoint` and by a budget. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import { train } from '../../runtime/trainer.ts';
import { nacre } from '../support/nacre.ts';
import { analyzeTrain, type TrainAnalysis } from '../../tools/driver/analysis.ts';
import { createPrograms } from '../../tools/driver/programs.ts';
import { openProject } from '../../tools/driver/project.ts';
import { openTarget } from '../../tools/driver/target.ts';
import type { TargetName } from '../../tools/driver/targets/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'nacre-memory-'));
afterAll(() => rmSync(folder, { recursive: true }));
const native = (await describeCpu()).problem === undefined;
let files = 0;

/** Six blocks with dropout and a norm around a wide layer, on 64 samples. */
const network = (lines: string, depth = 6): string => `use std.layers { Linear, Dropout }
use std.normalization { LayerNorm }
use std.optim { Adam }

data points() = generate(640) |> map(x: f32(index) / 640) |> map(x: x, y: sin(6 * x))

layer Block{dim: int} {
  norm = LayerNorm{dim}
  up = Linear{dim, 4 * dim}
  drop = Dropout{rate: 0.1}
  down = Linear{4 * dim, dim}
  (x: f32[B, dim]) -> f32[B, dim] = x + (x |> norm |> up |> gelu |> drop |> down)
}

model Net {
  up = Linear{1, 32}
  blocks = [Block{32} for _i in 0..${depth}]
  down = Linear{32, 1}
  (x: f32[B]) -> f32[B] = reshape(x, [B, 1]) |> up |> blocks |> down |> reshape([B])
}

train net {
  model = Net{}
  data = points() |> batch(64)
  loss(x, y) = mean_squared_error(model(x), y)
  optimizer = Adam{lr: 1e-2}
  epochs = 1
  eval(x, y) over points() = { mse: mean_squared_error(model(x), y) }
  ${lines}
}
`;

function write(lines: string, depth?: number): string {
  const path = join(folder, `case${++files}.model`);
  writeFileSync(path, network(lines, depth));
  return path;
}

type Weights = ReadonlyMap<string, readonly number[]>;

async function weightsAfter(lines: string, target: TargetName, steps: number, depth?: number): Promise<Weights> {
  const project = await openProject(write(lines, depth));
  const { block, plan, data } = await project.train();
  const opened = await openTarget(target, target === 'cpu' ? { threads: 2 } : {});
  try {
    const programs = createPrograms(block, data, opened);
    await train({ plan, programs, files: project.files, out: folder, steps });
    const weights = plan.parameters.map(async ({ name }) => [name, [...(await opened.session.read(name))]] as const);
    return new Map(await Promise.all(weights));
  } finally {
    opened.session.close();
  }
}

/** The largest difference of a weight from what it should be. */
const farthest = (found: Weights, wanted: Weights): number =>
  Math.max(
    ...[...wanted].flatMap(([name, values]) =>
      values.map((value, at) => Math.abs((found.get(name)?.[at] ?? NaN) - value)),
    ),
  );

const analysisOf = async (lines: string): Promise<TrainAnalysis> =>
  analyzeTrain(await (await openProject(write(lines))).train(), { threads: 2, predict: false });

describe('checkpoint', () => {
  it.each(['', 'precision = mixed(bf16)', 'precision = mixed(f16)'])(
    'changes no bit of the training, on the interpreter (%s)',
    async (precision) => {
      const plain = await weightsAfter(precision, 'reference', 2, 2);
      expect(await weightsAfter(`${precision}\n  checkpoint model.blocks.*`, 'reference', 2, 2)).toEqual(plain);
    },
  );

  // To the bit with AVX-512. With AVX2 alone the vectors of the norm run along rows in one and along columns in the other, so sums are added in another order.
  it.runIf(native).each(['', 'precision = mixed(bf16)', 'precision = mixed(f16)', 'clip norm 1.0'])(
    'changes nothing but last digits, natively (%s)',
    async (precision) => {
      const plain = await weightsAfter(precision, 'cpu', 10);
      const again = await weightsAfter(`${precision}\n  checkpoint model.blocks.*`, 'cpu', 10);
      const { features = '' } = await describeCpu();
      expect(farthest(again, plain)).toBeLessThanOrEqual(features.includes('+avx512f') ? 0 : 1e-4);
    },
  );

  it.runIf(native)('halves what is kept, for a third more work', async () => {
    const [plain, again] = [await analysisOf(''), await analysisOf('checkpoint model.blocks.*')];
    expect(again.main.analysis.memory.arena).toBeLessThan(0.5 * plain.main.analysis.memory.arena);
    expect(again.main.analysis.flops).toBeLessThan(1.45 * plain.main.analysis.flops);
  });

  it('means the outermost layers, whole', async () => {
    const { block } = await (
      await openProject(write('checkpoint model.blocks.*, model.blocks.0.up, model.down'))
    ).train();
    expect(block.recompute).toEqual([...[0, 1, 2, 3, 4, 5].map((at) => `model.blocks.${at}`), 'model.down']);
  });
});

describe.runIf(native)('a memory budget', () => {
  let peak = 0;
  let file = '';
  beforeAll(async () => {
    file = write('');
    peak = (await analyzeTrain(await (await openProject(file)).train(), { threads: 1, predict: false })).memory.peak;
  });
  const plan = async (budget: string): Promise<{ peak: number; err: string; code: number }> => {
    const { out, err, code } = await nacre('plan', file, '--threads', '1', '--json', '--memory', budget);
    return { peak: code === 0 ? JSON.parse(out).memory.peak : NaN, err, code };
  };

  it('that is large enough changes nothing', async () => {
    expect(await plan(`${peak + 1}B`)).toEqual({ peak, err: '', code: 0 });
  });

  it('is kept by computing again, and says so', async () => {
    const budget = Math.round(0.8 * peak);
    const found = await plan(`${budget}B`);
    expect(found.peak).toBeLessThanOrEqual(budget);
    expect(found.err).toMatch(
      /^memory: peak \S+ \S+ → \S+ \S+: (.* computed again, \d+ % more FLOPs; )?batches of 64 in eval\n$/,
    );
    const { code, err } = await nacre(
      'train',
      file,
      '--threads',
      '1',
      '--steps',
      '2',
      '--memory',
      `${budget}B`,
      '--out',
      folder,
    );
    expect([code, err]).toEqual([0, expect.stringContaining('memory: peak')]);
  });

  it('that no plan can meet says what the least is, and which batch would fit', async () => {
    const found = await plan('300KB');
    const [, least = ''] = /at least (\d+ KiB),/.exec(found.err) ?? [];
    // A budget of just that, rounded up, is met.
    expect((await plan(`${parseInt(least, 10) + 1}KiB`)).code).toBe(0);
    expect(found).toEqual({
      peak: NaN,
      code: 1,
      err: `error: net needs at least ${least}, however much is computed again, and the budget is 293 KiB.
hint: Not even a batch of one fits. Make the model smaller, or take an optimizer with less state.
`,
    });
    const half = await plan(`${Math.round(0.55 * peak)}B`);
    expect(half.err).toMatch(
      /hint: With batch\(\d+\) it fits: \S+ \S+\. `accumulate` makes up for smaller batches\.\n$/,
    );
  });

  it('is a size, and for the compiled program', async () => {
    expect(await plan('12parsecs')).toMatchObject({
      code: 2,
      err: expect.stringContaining("argument '12parsecs' is invalid. It has to be a size, as 200MB or 1.5GiB."),
    });
    expect(await nacre('train', file, '--target', 'reference', '--memory', '1MB')).toMatchObject({
      code: 1,
      err: expect.stringContaining('--memory is for the cpu target: the reference interpreter plans no memory.'),
    });
  });
});
