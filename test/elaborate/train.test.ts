/** Train blocks: what they resolve to, what their programs compute, and what people are told when one is wrong. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildInit, buildStep } from '../../compiler/elaborate/step.ts';
import { Diagnosed } from '../../tools/driver/diagnosed.ts';
import { openProject, type RunnableTrain } from '../../tools/driver/project.ts';
import { createPrograms } from '../../tools/driver/programs.ts';
import { openReferenceSession } from '../../tools/driver/targets/reference-session.ts';
import { chooseInputs, scalarsOf } from '../../runtime/step.ts';
import { learnedWeights, weightsOf } from '../../runtime/weights.ts';
import type { StepPhase } from '../../runtime/program.ts';

const folder = mkdtempSync(join(tmpdir(), 'nacre-train-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

const head = `use std.layers { Linear }
use std.optim { SGD, AdamW }
data points() = generate(12) |> map(x: f32(index) / 12) |> map(x: x, y: 2 * x)
model Line {
  up = Linear{1, 3}
  down = Linear{3, 1}
  (x: f32[B]) -> f32[B] = reshape(x, [B, 1]) |> up |> sigmoid |> down |> reshape([B])
}
`;

/** A file with a train block of these lines; AdamW and SGD count as used. */
function write(lines: string): string {
  const path = join(folder, `case${++files}.model`);
  const unused = ['SGD', 'AdamW'].filter((name) => !lines.includes(name));
  const text = unused.reduce((all, name) => all.replace(`${name}, `, '').replace(`, ${name}`, ''), head);
  writeFileSync(path, `${text}train t {\n${lines}\n}\n`);
  return path;
}

const usual = `model = Line{}
data = points() |> batch(4)
loss(x, y) = mean_squared_error(model(x), y)
optimizer = SGD{lr: 0.5}
epochs = 1`;

const trainOf = async (lines: string): Promise<RunnableTrain> => (await openProject(write(lines))).train();

/** The codes of everything that is wrong with a train block, by `check` and by `train`. */
async function codesOf(lines: string): Promise<string[]> {
  const project = await openProject(write(lines));
  const checked = project.check().map(({ code }) => code);
  const trained = await project.train().then(
    () => [],
    (error: unknown) => {
      if (error instanceof Diagnosed) return error.diagnostics.map(({ code }) => code);
      throw error;
    },
  );
  // Training says nothing that checking did not say before.
  expect(checked).toEqual(expect.arrayContaining(trained));
  expect(trained).not.toEqual([]);
  return checked;
}

/** Parameters after steps on these batches of sample numbers. */
async function run(
  lines: string,
  steps: readonly (readonly { readonly samples: readonly number[]; readonly phase: StepPhase }[])[],
): Promise<Map<string, Float32Array>> {
  const { block, data } = await trainOf(lines);
  const session = openReferenceSession();
  const programs = createPrograms(block, data, { session, load: (graph) => Promise.resolve(session.load(graph)) });
  const init = await programs.init();
  await init.run(chooseInputs(init, new Map(), scalarsOf(0, 0, 0, 0)));
  for (const [step, micros] of steps.entries())
    for (const [micro, { samples, phase }] of micros.entries()) {
      const program = await programs.step(samples.length, phase);
      await program.run(
        chooseInputs(program, new Map([['index', Int32Array.from(samples)]]), scalarsOf(0, step + 1, micro, 0)),
      );
    }
  const fields = [...session.fields.keys()];
  const read = fields.map(async (name) => [name, Float32Array.from(await session.read(name))] as const);
  return new Map(await Promise.all(read));
}

const close = (a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>, within: number): void => {
  for (const [name, values] of a)
    if (name.startsWith('model.'))
      values.forEach((value, at) =>
        expect(Math.abs(value - (b.get(name)?.[at] ?? NaN)), name).toBeLessThanOrEqual(within),
      );
};

describe('a train block', () => {
  it('that could not be read is not one that is not there', async () => {
    const path = join(folder, 'unread.model');
    writeFileSync(path, `${head}train t\n${usual}\n}\n`);
    await expect((await openProject(path)).train()).rejects.toThrow('I expected `{`');
    await expect((await openProject(path)).train('t')).rejects.toThrow(Diagnosed);
  });

  it('becomes a plan', async () => {
    const { plan } = await trainOf(
      `${usual}\nseed = 7\nclip norm 1.0\neval(x, y) over points() = { mse: mean_squared_error(model(x), y) }\nsave best min mse`,
    );
    expect(plan).toMatchObject({
      name: 't',
      seed: 7,
      batch: 4,
      epochs: 1,
      accumulate: 1,
      data: { kind: 'batch', size: 4, of: { kind: 'generate', count: 12 } },
      evaluations: [{ name: 'eval', metrics: ['mse'] }],
      saves: [{ kind: 'best', metric: 'mse', order: 'min' }],
    });
    expect(plan.parameters.map(({ name, trained }) => [name, trained])).toEqual([
      ['model.up.weight', true],
      ['model.up.bias', true],
      ['model.down.weight', true],
      ['model.down.bias', true],
    ]);
    expect(plan.states).toEqual([]);
  });

  it.each([
    [0, ''],
    [0.9, ', momentum: 0.9'],
  ])(
    'follows the formula of gradient descent with momentum %d, and keeps a velocity only with it',
    async (momentum, given) => {
      const lines = `model = Linear{1, 1}
data = points() |> batch(4)
loss(x, y) = mean_squared_error(reshape(model(reshape(x, [4, 1])), [4]), y)
optimizer = SGD{lr: 0.3, decay: 0.1${given}}
epochs = 1`;
      const batches = [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
      ];
      const before = await run(lines, []);
      const after = await run(
        lines,
        batches.map((samples) => [{ samples, phase: 'only' }]),
      );
      const first = (fields: ReadonlyMap<string, Float32Array>, name: string): number => fields.get(name)?.[0] ?? NaN;
      let [w, b] = ['model.weight', 'model.bias'].map((name) => first(before, name));
      let velocity = { w: 0, b: 0 };
      for (const samples of batches) {
        const slope = { w: 0.1 * w, b: 0.1 * b };
        for (const x of samples.map((sample) => sample / 12)) {
          const error = w * x + b - 2 * x;
          slope.w += (2 * error * x) / 4;
          slope.b += (2 * error) / 4;
        }
        velocity = { w: momentum * velocity.w + slope.w, b: momentum * velocity.b + slope.b };
        w -= 0.3 * velocity.w;
        b -= 0.3 * velocity.b;
      }
      expect(first(after, 'model.weight')).toBeCloseTo(w, 6);
      expect(first(after, 'model.bias')).toBeCloseTo(b, 6);
      const states = [...after.keys()].filter((name) => name.startsWith('optimizer.'));
      expect(states).toEqual(
        momentum === 0 ? [] : ['optimizer.velocity.model.weight', 'optimizer.velocity.model.bias'],
      );
      if (momentum > 0) expect(first(after, states[0])).toBeCloseTo(velocity.w, 6);
    },
  );

  it('keeps of an optimizer what it reads or writes for the parameter', async () => {
    const lines = usual.replace('SGD{lr: 0.5}', 'SGD{lr: 0.5, momentum: 0.9} { *.bias : momentum = 0 }');
    const { block, data, plan } = await trainOf(lines);
    const names = ['optimizer.velocity.model.up.weight', 'optimizer.velocity.model.down.weight'];
    expect(plan.states.map(({ name }) => name)).toEqual(names);
    const [init, step] = [
      buildInit(block, new Diagnostics()),
      buildStep(block, data.train, 4, 'only', new Diagnostics()),
    ];
    for (const fields of [init.outputs, step.inputs, step.outputs])
      expect(fields.flatMap(({ name }) => (name.startsWith('optimizer.') ? [name] : []))).toEqual(names);
  });

  it('freezes what a selector means, bit for bit, and gives it no optimizer state', async () => {
    const lines = `${usual.replace('0.5', '0.5, momentum: 0.9')}\nfreeze all except model.down.*`;
    const before = await run(lines, []);
    const after = await run(lines, [
      [{ samples: [0, 1, 2, 3], phase: 'only' }],
      [{ samples: [4, 5, 6, 7], phase: 'only' }],
    ]);
    expect(after.get('model.up.weight')).toEqual(before.get('model.up.weight'));
    expect(after.get('model.down.weight')).not.toEqual(before.get('model.down.weight'));
    expect([...after.keys()].filter((name) => name.startsWith('optimizer.'))).toEqual([
      'optimizer.velocity.model.down.weight',
      'optimizer.velocity.model.down.bias',
    ]);
  });

  it('applies a model that is frozen whole as in an evaluation, and its student as in training', async () => {
    const path = join(folder, 'teacher.model');
    writeFileSync(
      path,
      `use std.layers { Linear, Dropout }
use std.normalization { BatchNorm }
use std.optim { SGD }
data points() = generate(12) |> map(x: f32(index) / 12)
model Net {
  norm = BatchNorm{1}
  drop = Dropout{rate: 0.5}
  out = Linear{1, 1}
  (x: f32[B]) -> f32[B] = reshape(x, [B, 1]) |> norm |> drop |> out |> reshape([B])
}
train t {
  model = Net{}
  teacher = Net{}
  freeze teacher.*
  data = points() |> batch(4)
  loss(x) = mean_squared_error(model(x), teacher(x))
  optimizer = SGD{lr: 0.1}
  epochs = 1
}
`,
    );
    const { block, data, plan } = await (await openProject(path)).train();
    const graph = buildStep(block, data.train, 4, 'only', new Diagnostics());
    const randomIn = (model: string): number =>
      graph.nodes.filter(({ op, origin }) => op === 'random' && origin.path?.startsWith(model)).length;
    expect([randomIn('model'), randomIn('teacher')]).toEqual([1, 0]);
    const written = graph.outputs.filter(({ role }) => role === 'update').map(({ name }) => name);
    expect(written).toContain('model.norm.running_mean');
    expect(written.filter((name) => name.includes('teacher'))).toEqual([]);
    expect(learnedWeights(plan).map(({ name }) => name.split('.')[0])).toEqual(Array(6).fill('model'));
    expect(weightsOf(plan)).toHaveLength(12);
  });

  it('gives groups of parameters their own settings, the last group winning', async () => {
    const lines = usual.replace(
      'SGD{lr: 0.5}',
      'SGD{lr: 0.5} { model.up.* : lr = 0; *.bias : lr = 0.5; model.down.bias : lr = 0 }',
    );
    const before = await run(lines, []);
    const after = await run(lines, [[{ samples: [0, 1, 2, 3], phase: 'only' }]]);
    const changed = [...before.keys()].filter(
      (name) => name.startsWith('model.') && before.get(name)?.some((value, at) => value !== after.get(name)?.[at]),
    );
    expect(changed).toEqual(['model.up.bias', 'model.down.weight']);
  });

  it('gives with accumulated micro-batches of any sizes what one batch gives', async () => {
    const whole = await run(usual, [
      [{ samples: [0, 1, 2, 3, 4, 5, 6], phase: 'only' }],
      [{ samples: [7, 8, 9, 10, 11], phase: 'only' }],
    ]);
    const parts = await run(`${usual}\naccumulate 3`, [
      [
        { samples: [0, 1, 2], phase: 'accumulate' },
        { samples: [3, 4], phase: 'accumulate' },
        { samples: [5, 6], phase: 'last' },
      ],
      [
        { samples: [7], phase: 'accumulate' },
        { samples: [8, 9, 10, 11], phase: 'last' },
      ],
    ]);
    close(whole, parts, 1e-6);
  });

  it('clips gradients by their global norm', async () => {
    const free = await run(usual, []);
    const clipped = await run(`${usual}\nclip norm 0.001`, [[{ samples: [8, 9, 10, 11], phase: 'only' }]]);
    let square = 0;
    for (const [name, values] of free)
      if (name.startsWith('model.'))
        values.forEach((value, at) => (square += (value - (clipped.get(name)?.[at] ?? NaN)) ** 2));
    // A step of 0.5 times a gradient of norm 0.001.
    expect(Math.sqrt(square)).toBeCloseTo(0.0005, 7);
  });

  it.each([
    ['*.bais', '*.bias'],
    ['up.bias', 'model.up.bias'],
    ['model.dwon.*', 'model.down.*'],
    ['model.*.wieght', 'model.*.weight'],
    ['donw.{weight, bias}', '*.down.{weight,bias}'],
  ])('with the selector %s is told that the nearest is %s', async (selector, near) => {
    const project = await openProject(write(`${usual}\nfreeze ${selector}`));
    expect(project.check().map(({ hint }) => hint)).toEqual([`The nearest there is: \`${near}\`.`]);
  });

  it('with a setting that is no number is not said to lack it', async () => {
    expect(await codesOf(usual.replace('epochs = 1', 'epochs = 2.5'))).toEqual(['bad-setting']);
  });

  it.each([
    ['text("t.txt")', '`text` needs `length`.'],
    ['text("t.txt", lenght: 3)', '`text` has nothing called `lenght`.'],
    ['text("t.txt", length: -1)', '`length` should be a whole number of at least 1, but it is the number -1.'],
    ['text("t.txt", length: 3, stride: 0)', '`stride` should be a whole number of at least 1, but it is the number 0.'],
    ['generate(0)', '`count` should be a whole number of at least 1, but it is the number 0.'],
    ['csv("t.csv", x: "a", header: "no")', '`header` should be true or false, but it is the text "no".'],
    [
      'csv("t.csv", x: "a", skip: 1)',
      'A field of `csv` is a column: `"name"`, `["name", …]`, `{ category: "name" }` or `{ integer: "name" }`, not the number 1.',
    ],
    ['csv("t.csv", "a")', 'Only the file is given to `csv` without a name.'],
    ['generate(4) |> split("tran", train: 0.5, test: 0.5)', 'This split has no part `tran`; it has `train`, `test`.'],
  ])('of data %s is told what is wrong', async (data, message) => {
    const project = await openProject(write(usual.replace('points()', data)));
    expect(project.check().map((diagnostic) => diagnostic.message)).toContain(message);
  });

  it.each([
    ['unknown-setting', `${usual}\nepoch = 3`],
    ['repeated-setting', `${usual}\nepochs = 3`],
    ['missing-setting', usual.replace('optimizer = SGD{lr: 0.5}', '')],
    ['missing-setting', usual.replace('epochs = 1', '')],
    ['bad-setting', usual.replace('epochs = 1', 'epochs = 0')],
    ['bad-setting', `${usual}\nclip norm -1`],
    ['bad-setting', `${usual}\nclip value 0`],
    ['bad-setting', usual.replace('SGD{lr: 0.5}', '0.5')],
    ['selector-matches-nothing', `${usual}\nfreeze model.upp.*`],
    ['selector-matches-nothing', usual.replace('SGD{lr: 0.5}', 'SGD{lr: 0.5} { role(norm) : lr = 0 }')],
    ['unknown-argument', usual.replace('SGD{lr: 0.5}', 'SGD{lr: 0.5} { *.bias : rate = 0 }')],
    ['nothing-to-train', `${usual}\nfreeze model.*`],
    ['unreached-parameter', usual.replace('model(x)', 'model.up.bias[0] * x')],
    ['unknown-field', usual.replace('loss(x, y)', 'loss(x, z)').replace(', y)', ', z)')],
    ['not-a-metric', usual.replace('mean_squared_error(model(x), y)', 'model(x) - y')],
    ['repeated-metric', `${usual}${'\neval(x, y) over points() = { mse: mean_squared_error(model(x), y) }'.repeat(2)}`],
    [
      'unknown-metric',
      `${usual}\neval(x, y) over points() = { mse: mean_squared_error(model(x), y) }\nsave best accuracy`,
    ],
    ['unknown-name', usual.replace('batch(4)', 'bach(4)')],
    ['bad-data', usual.replace('batch(4)', 'split("test", train: 0.9, valid: 0.1)')],
    ['bad-data', usual.replace('batch(4)', 'batch(0)')],
    ['unknown-argument', usual.replace('batch(4)', 'batch(4, lst: "drop")')],
    ['unknown-argument', usual.replace('batch(4)', 'shuffle(sed: 1)')],
    ['unknown-argument', usual.replace('batch(4)', 'take(2, form: 1)')],
    ['repeated-argument', usual.replace('batch(4)', 'batch(size: 4, size: 5)')],
    ['bad-data', usual.replace('batch(4)', 'batch(4, "drop")')],
  ])('is refused with "%s"', async (code, lines) => {
    expect(await codesOf(lines)).toContain(code);
  });
});
