/** `precision = …`: what it resolves to, what people are told when it is wrong, and loss scaling against PyTorch's rules. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { renderDiagnostic } from '../../compiler/base/diagnostics.ts';
import { chooseInputs, scalarsOf } from '../../runtime/step.ts';
import { openProject, type RunnableTrain } from '../../tools/driver/project.ts';
import { createPrograms } from '../../tools/driver/programs.ts';
import { openReferenceSession } from '../../tools/driver/targets/reference-session.ts';

const folder = mkdtempSync(join(tmpdir(), 'nacre-precision-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

function write(text: string): string {
  const path = join(folder, `case${++files}.model`);
  writeFileSync(path, text);
  return path;
}

const network = (precision: string): string => `use std.layers { Linear }
use std.normalization { LayerNorm }
use std.optim { SGD }
data points() = generate(12) |> map(x: f32(index) / 12) |> map(x: x, y: 2 * x)
model Net {
  up = Linear{1, 3}
  norm = LayerNorm{3}
  head = [Linear{3, 1} for _i in 0..1]
  (x: f32[B]) -> f32[B] = reshape(x, [B, 1]) |> up |> norm |> head |> reshape([B])
}
train t {
  model = Net{}
  data = points() |> batch(4)
  loss(x, y) = mean_squared_error(model(x), y)
  optimizer = SGD{lr: 0.5}
  ${precision}
  epochs = 1
}
`;
const trainOf = async (precision: string): Promise<RunnableTrain> =>
  (await openProject(write(network(precision)))).train();

describe('resolves', () => {
  it.each([
    ['precision = f32', undefined],
    ['precision = mixed(bf16)', { products: 'bf16', storage: 'bf16', except: [] }],
    ['precision = mixed(tf32)', { products: 'tf32', storage: 'f32', except: [] }],
    ['precision = f32 storing f16', { products: 'f32', storage: 'f16', except: [] }],
    [
      'precision = mixed(f16) except role(norm), model.head.*',
      { products: 'f16', storage: 'f16', except: ['model.norm', 'model.head.0'] },
    ],
  ])('%s', async (text, precision) => {
    const { block, plan } = await trainOf(text);
    expect(block.precision).toEqual(precision);
    expect(plan.precision).toEqual(precision);
    const scaled = plan.states.filter(({ name }) => name.startsWith('loss_scale.')).map(({ name }) => name);
    expect(scaled).toHaveLength(precision?.storage === 'f16' ? 4 : 0);
  });
});

it.each([
  [
    'precision = mixed(int8)',
    '`precision` should be `f32`, `mixed(bf16)`, `mixed(f16)`, `mixed(tf32)`, `f32 storing bf16` or `f32 storing f16`, but it is `mixed(int8)`.',
  ],
  ['precision = bf16', 'but it is `bf16`.\n'],
  ['precision = bf16', 'hint: Did you mean `mixed(bf16)`?'],
  ['precision = tf32', 'hint: Did you mean `mixed(tf32)`?'],
  ['precision = f32 storing tf32', 'but it is `f32 storing tf32`.'],
  ['precision = f32 storing u8', 'but it is `f32 storing u8`.'],
  ['precision = mixed(bf16) except role(nrom)', 'The selector `role(nrom)` matches no parameter.'],
  ['precision = mixed(bf16) except role(nrom)', 'hint: The nearest there is: `norm`.'],
  ['precision = mixed(bf16) except model.haed.*', 'The selector `model.haed.*` matches no parameter.'],
  ['precision = f32\n  precision = mixed(f16)', '`precision` is set twice.'],
  ['precision = 3', '`mixed(bf16)`, `mixed(f16)`, `mixed(tf32)` or an element type'],
])('%s: %s', async (precision, message) => {
  const found = (await openProject(write(network(precision)))).check();
  expect(found.map((diagnostic) => renderDiagnostic(diagnostic, { color: false })).join('\n')).toContain(message);
});

/** torch.amp.GradScaler with its defaults, and torch.optim.SGD with momentum behind it, for one scalar parameter. */
class GradScaler {
  scale = 65_536;
  goodSteps = 0;
  step(
    parameter: { value: number; momentum: number; updates: number },
    gradient: number,
    rate: (step: number) => number,
  ): void {
    if (Number.isFinite(gradient)) {
      parameter.updates++;
      parameter.momentum = 0.9 * parameter.momentum + gradient;
      parameter.value -= rate(parameter.updates) * parameter.momentum;
      this.goodSteps++;
      if (this.goodSteps === 2_000) {
        this.scale *= 2;
        this.goodSteps = 0;
      }
    } else {
      this.scale *= 0.5;
      this.goodSteps = 0;
    }
  }
}

/** The gradient of the weight is √x; infinite from x = 2,000 on, NaN below 0. */
const scalar = `data points() = generate(1_000_000) |> map(x: f32(index))
model Scale {
  param weight: f32[1] = 1
  buffer largest: f32[] = 0
  (x: f32[B]) -> f32[B] {
    let size = sqrt(x) + exp(x - 1000)
    largest <- max(largest, max(size))
    size * weight
  }
}
schedule falling(step) = 0.001 / step
optimizer Heavy{lr: schedule} {
  state m = 0
  (param, grad, step) {
    m <- 0.9 * m + grad
    param <- param - lr(step) * m
  }
}
train t {
  model = Scale{}
  data = points() |> batch(1)
  loss(x) = sum(model(x)) per count(x)
  optimizer = Heavy{lr: falling}
  precision = mixed(f16)
  steps = 1
}
`;

it('scales the loss as GradScaler does: 4,200 steps with infinities and NaN among them', async () => {
  const { block, data, plan } = await (await openProject(write(scalar))).train();
  const session = openReferenceSession();
  const programs = createPrograms(block, data, { session, load: (graph) => Promise.resolve(session.load(graph)) });
  const init = await programs.init();
  await init.run(chooseInputs(init, new Map(), scalarsOf(plan.seed, 0, 0, 0)));
  const program = await programs.step(1, 'only');
  const wanted = new GradScaler();
  const parameter = { value: 1, momentum: 0, updates: 0 };
  let inARow = 0;
  const scales = new Set<number>();
  let doubled = 0;
  for (let step = 1; step <= 4_200; step++) {
    const index = step <= 20 || step === 3_000 ? 2_000 : step === 700 ? -1 : step % 5;
    const gradient = index === 2_000 ? Infinity : Math.sqrt(index);
    const inputs = chooseInputs(program, new Map([['index', Int32Array.of(index)]]), scalarsOf(plan.seed, step, 0, 0));
    const results = await program.run(inputs);
    expect(results.get('loss_scale')?.[0]).toBe(wanted.scale);
    wanted.step(parameter, gradient, (at) => 0.001 / at);
    scales.add(Number(results.get('loss_scale')?.[0]));
    if (wanted.goodSteps === 0 && Number.isFinite(gradient)) doubled = step;
    // Where PyTorch's goes on to fall, the scale stays at 1.
    wanted.scale = Math.max(1, wanted.scale);
    inARow = Number.isFinite(gradient) ? 0 : inARow + 1;
    expect(results.get('skipped_in_a_row')?.[0]).toBe(inARow);
    expect([(await session.read('loss_scale.scale'))[0], (await session.read('loss_scale.good_steps'))[0]]).toEqual([
      wanted.scale,
      wanted.goodSteps,
    ]);
    expect((await session.read('model.weight'))[0]).toBeCloseTo(parameter.value, 4);
  }
  expect([...scales]).toEqual([...Array.from({ length: 17 }, (_, at) => 2 ** (16 - at))]);
  expect(doubled).toBe(2_700);
  expect(parameter.updates).toBe(4_178);
  expect((await session.read('model.largest'))[0]).toBe(2);
});
