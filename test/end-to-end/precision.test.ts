/** Training in mixed precision: on both targets, resumed, and on a network whose activations are too large for f16. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import type { TrainEvent } from '../../runtime/train-options.ts';
import { train } from '../../runtime/trainer.ts';
import { createPrograms } from '../../tools/driver/programs.ts';
import { openProject } from '../../tools/driver/project.ts';
import { openTarget } from '../../tools/driver/target.ts';
import type { TargetName } from '../../tools/driver/targets/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'nacre-mixed-'));
afterAll(() => rmSync(folder, { recursive: true }));
const native = (await describeCpu()).problem === undefined;
let files = 0;

/** What `large` makes goes to the norm and no product: `times` as much as comes in. */
const network = (precision: string, times: number): string => `use std.layers { Linear }
use std.normalization { LayerNorm }
use std.optim { Adam }

data points(part: "train" | "test") =
  generate(600) |> split(part, train: 0.9, test: 0.1) |> map(x: f32(index) / 600) |> map(x: x, y: sin(6 * x))

layer Large{dim: int} {
  param size: f32[dim] = ${times}
  (x: f32[..., dim]) -> f32[..., dim] = x * size
}

model Net {
  up = Linear{1, 16}
  large = Large{16}
  norm = LayerNorm{16}
  mix = Linear{16, 16}
  down = Linear{16, 1}
  (x: f32[B]) -> f32[B] {
    reshape(x, [B, 1]) |> up |> gelu |> mix |> large |> norm |> gelu |> down |> reshape([B])
  }
}

train net {
  model = Net{}
  data = points("train") |> shuffle(seed: 0) |> batch(60)
  loss(x, y) = mean_squared_error(model(x), y)
  optimizer = Adam{lr: 1e-2}
  ${precision}
  steps = 100
  eval(x, y) over points("test") = { mse: mean_squared_error(model(x), y) }
}
`;

interface Ran {
  readonly loss: number;
  readonly run: string;
  readonly events: readonly TrainEvent[];
  readonly weight: readonly number[];
}

async function trained(
  precision: string,
  change: { times?: number; target?: TargetName; steps?: number; resume?: string } = {},
): Promise<Ran> {
  const path = join(folder, `net${++files}.model`);
  writeFileSync(path, network(precision, change.times ?? 1));
  const project = await openProject(path);
  const { block, plan, data } = await project.train();
  const target = await openTarget(change.target ?? 'reference');
  const events: TrainEvent[] = [];
  try {
    const result = await train({
      plan,
      programs: createPrograms(block, data, target),
      files: project.files,
      out: folder,
      ...(change.steps !== undefined && { steps: change.steps }),
      ...(change.resume !== undefined && { resume: change.resume }),
      onEvent: (event) => void events.push(event),
    });
    return { loss: result.loss, run: result.run, events, weight: [...(await target.session.read('model.mix.weight'))] };
  } finally {
    target.session.close();
  }
}

describe('a network', () => {
  const target = native ? 'cpu' : 'reference';

  it.each(['mixed(bf16)', 'mixed(f16)', 'mixed(tf32)', 'f32 storing bf16'])(
    '%s learns as f32 does',
    async (precision) => {
      const whole = await trained('precision = f32', { target });
      const mixed = await trained(`precision = ${precision}`, { target });
      expect(mixed.weight).not.toEqual(whole.weight);
      expect(whole.loss).toBeLessThan(0.1);
      expect(Math.abs(mixed.loss - whole.loss)).toBeLessThan(0.02);
    },
  );

  it('what is too large for f16 ends in an error that names it', async () => {
    await expect(trained('precision = mixed(f16)', { target, times: 300_000 })).rejects.toMatchObject({
      code: 'all-skipped',
      message: expect.stringMatching(
        /50 steps in a row were skipped.* `model\.large` \(.*net\d+\.model:10:\d+\) reaches \d\d\d,\d\d\d, and f16 ends at 65,504\./,
      ),
      hint: 'Keep it in f32: `precision = … except model.large`. bf16 goes as far as f32: `precision = mixed(bf16)`.',
    });
  });

  it.each(['mixed(f16) except role(norm)', 'mixed(f16) except model.large', 'mixed(bf16)'])(
    'and trains with %s',
    async (precision) => {
      const { loss, events } = await trained(`precision = ${precision}`, { target, times: 300_000 });
      expect(loss).toBeLessThan(0.1);
      expect(events.some((event) => event.event === 'step' && Number(event.skipped_in_a_row ?? 0) > 5)).toBe(false);
    },
  );
});

it.runIf(native)('both targets round alike', async () => {
  const [one, other] = await Promise.all(
    (['reference', 'cpu'] as const).map((target) => trained('precision = mixed(f16)', { target, steps: 20 })),
  );
  other.weight.forEach((value, at) => expect(value).toBeCloseTo(one.weight[at], 3));
});

it('the loss scale goes on where it was', async () => {
  const whole = await trained('precision = mixed(f16)', { steps: 30 });
  const half = await trained('precision = mixed(f16)', { steps: 15 });
  const rest = await trained('precision = mixed(f16)', { steps: 30, resume: half.run });
  expect(rest.weight).toEqual(whole.weight);
  await expect(trained('precision = mixed(bf16)', { steps: 30, resume: half.run })).rejects.toMatchObject({
    code: 'resume-differs',
  });
});
