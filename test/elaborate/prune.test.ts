/** Pruning in training: masks hold through every update of every optimizer, and rewinding is exact. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { pruneDue } from '../../runtime/prune.ts';
import { chooseInputs, scalarsOf } from '../../runtime/step.ts';
import { train } from '../../runtime/trainer.ts';
import { everythingIn, openOnReference, type ReferenceRun } from '../support/reference-run.ts';

const folder = mkdtempSync(join(tmpdir(), 'nacre-prune-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

function open(prune: string, optimizer: string, definitions = ''): Promise<ReferenceRun> {
  const pruners = ['magnitude', 'n_of_m', 'gradual', 'iterative'].filter((name) => prune.includes(name));
  return openOnReference(
    join(folder, `case${++files}.model`),
    `use std.layers { Linear }
use std.optim { ${optimizer.split('{')[0]} }
${pruners.length === 0 ? '' : `use std.pruning { ${pruners.join(', ')} }`}
data points() = generate(40) |> map(x: f32(index) / 40)
model Net {
  up = Linear{1, 12}
  down = Linear{12, 1}
  (x: f32[B]) -> f32[B] = reshape(x, [B, 1]) |> up |> sigmoid |> down |> reshape([B])
}
train t {
  model = Net{}
  data = points() |> batch(4)
  loss(x) = mean_squared_error(model(x), sin(6 * x))
  optimizer = ${optimizer}
  epochs = 2
  ${prune}
}
${definitions}
`,
  );
}

interface Run {
  read(name: string): Float32Array;
  /** Goes on for so many steps of four samples; what was pruned on the way. */
  train(steps: number): Promise<{ step: number; sparsity: number }[]>;
}

async function start(prune: string, optimizer = 'SGD{lr: 0.1, momentum: 0.9, decay: 0.1}'): Promise<Run> {
  const { plan, programs } = await open(prune, optimizer);
  const init = await programs.init();
  await init.run(chooseInputs(init, new Map(), scalarsOf(3, 0, 0, 0)));
  let step = 0;
  let values = await everythingIn(programs);
  return {
    read: (name) => Float32Array.from(values.get(name) ?? []),
    async train(steps) {
      const pruned: { step: number; sparsity: number }[] = [];
      for (const last = step + steps; step < last; step++) {
        for (const { sparsity } of await pruneDue(plan, programs, step)) pruned.push({ step, sparsity });
        const program = await programs.step(4, 'only');
        const samples = Int32Array.from([0, 1, 2, 3].map((at) => (4 * step + at) % 40));
        await program.run(chooseInputs(program, new Map([['index', samples]]), scalarsOf(3, step + 1, 0, 0)));
      }
      values = await everythingIn(programs);
      return pruned;
    },
  };
}

const zeros = (values: Float32Array): number => values.filter((value) => value === 0).length;

describe('pruned weights', () => {
  it.each([
    'SGD{lr: 0.1, momentum: 0.9, decay: 0.1}',
    'Adam{lr: 0.01}',
    'AdamW{lr: 0.01, decay: 0.1}',
    'RMSprop{lr: 0.01}',
    'Lion{lr: 0.01, decay: 0.1}',
  ])('stay 0 through the updates of %s, and the others move', async (optimizer) => {
    const run = await start('prune *.weight with magnitude{sparsity: 0.5} every 3', optimizer);
    await run.train(4);
    const [mask, before] = [run.read('mask.model.up.weight'), run.read('model.up.weight')];
    expect(zeros(mask)).toBe(6);
    await run.train(1);
    const after = run.read('model.up.weight');
    mask.forEach((kept, at) => {
      if (kept === 0) expect([before[at], after[at]]).toEqual([0, 0]);
    });
    // A unit whose other weight is pruned has no gradient; the others move.
    expect(after.some((value, at) => value !== before[at])).toBe(true);
    expect(zeros(run.read('model.up.bias'))).toBe(0);
  });

  it('are as many as the schedule says, more and more of them', async () => {
    const run = await start('prune *.weight with magnitude{sparsity: gradual{final: 0.75, begin: 2, end: 6}} every 2');
    const share = (step: number): number => Math.round(12 * (0.75 - 0.75 * (1 - (step - 2) / 4) ** 3)) / 12;
    const pruned = await run.train(10);
    expect(pruned.map(({ step }) => step)).toEqual([2, 4, 6, 8]);
    pruned.forEach(({ step, sparsity }) => expect(sparsity).toBeCloseTo(share(Math.min(step, 6)), 6));
  });

  it('are chosen before the first step where nothing else is said, each weight by itself or all together', async () => {
    const alone = await start('prune *.weight with magnitude{sparsity: 0.5}');
    const all = await start('prune *.weight with magnitude{sparsity: 0.5} globally');
    const sizes = ['up', 'down'].flatMap((name) => [...alone.read(`model.${name}.weight`).map(Math.abs)]);
    const median = sizes.sort((a, b) => a - b)[11];
    expect(await alone.train(1)).toEqual([{ step: 0, sparsity: 0.5 }]);
    expect(await all.train(1)).toEqual([{ step: 0, sparsity: 0.5 }]);
    expect(zeros(alone.read('model.up.weight'))).toBe(6);
    // Linear{1, 12} begins with weights up to 1, Linear{12, 1} with smaller ones.
    const [up, down] = ['up', 'down'].map((name) => all.read(`model.${name}.weight`));
    expect(zeros(up) + zeros(down)).toBe(12);
    expect(zeros(down)).toBeGreaterThan(zeros(up));
    const [first, lost] = [
      await start('prune *.weight with magnitude{sparsity: 0.5} globally'),
      all.read('mask.model.up.weight'),
    ];
    first.read('model.up.weight').forEach((value, at) => expect(lost[at] === 0).toBe(Math.abs(value) <= median));
  });

  it('leave two of every four along the axis that is summed over', async () => {
    const run = await start('prune model.down.weight with n_of_m{2, 4}', 'AdamW{lr: 0.05}');
    await run.train(3);
    const weight = run.read('model.down.weight');
    for (let group = 0; group < 3; group++) expect(zeros(weight.subarray(4 * group, 4 * group + 4))).toBe(2);
  });

  it('of a lottery ticket: the others go back to what they were, bit for bit, and the optimizer begins anew', async () => {
    const run = await start(
      'prune *.weight with magnitude{sparsity: iterative{rate: 0.5, every: 4}} every 4 rewind 1',
      'Adam{lr: 0.05}',
    );
    await run.train(1);
    const early = new Map(
      ['model.up.weight', 'model.up.bias', 'model.down.weight'].map((name) => [name, run.read(name)]),
    );
    const dense = await start('', 'Adam{lr: 0.05}');
    await dense.train(1);
    expect(early.get('model.up.weight')).toEqual(dense.read('model.up.weight'));
    await run.train(3);
    expect(run.read('model.up.bias')).not.toEqual(early.get('model.up.bias'));
    expect(await run.train(1)).toEqual([{ step: 4, sparsity: 0.5 }]);
    const mask = run.read('mask.model.up.weight');
    const kept = run.read('model.up.weight');
    expect(run.read('rewind.model.up.weight')).toEqual(early.get('model.up.weight'));
    // After the first step of an Adam that knows nothing m is 0.1·g and v is 0.001·g².
    const [m, v] = ['m', 'v'].map((name) => run.read(`optimizer.${name}.model.up.weight`));
    mask.forEach((keep, at) => {
      if (keep === 0) expect(kept[at]).toBe(0);
      else {
        if (m[at] !== 0) expect((m[at] * m[at]) / v[at]).toBeCloseTo(10, 3);
        expect(Math.abs(kept[at] - (early.get('model.up.weight')?.[at] ?? NaN))).toBeLessThan(0.05);
      }
    });
    expect(await run.train(8)).toEqual([
      { step: 8, sparsity: 0.75 },
      { step: 12, sparsity: expect.closeTo(1 - 1.5 / 12, 1) },
    ]);
  });
});

it('a pruner that is asked once and lets nothing go is a mistake, though it shows on the weights alone', async () => {
  const large = 'fn large(weight: f32[...], _step: f32) -> bool[...] = abs(weight) >= 0';
  const once = await open('prune *.weight with large', 'SGD{lr: 0.1}', large);
  await expect(train({ ...once, out: folder, steps: 2 })).rejects.toMatchObject({
    code: 'prunes-nothing',
    message: `${folder}/case${files}.model:16:3: This prunes once, before the first step, and no weight becomes 0.`,
    hint: 'A schedule begins with little or nothing: say `every 100`, and it goes on. Or give a larger number.',
  });
});

describe('a run that prunes', () => {
  const line =
    'prune *.weight with magnitude{sparsity: gradual{final: 0.75, end: 9}} every 3\n  prune *.bias with magnitude{sparsity: iterative{rate: 0.5, every: 5}} every 5 rewind 2';

  it.each([1, 2, 3, 4, 5, 8, 10, 11])('and is cut after step %i goes on bit for bit', async (cut) => {
    const whole = await open(line, 'Adam{lr: 0.05}');
    await train({ ...whole, out: folder, steps: 14 });
    const begun = await open(line, 'Adam{lr: 0.05}');
    const stop = new AbortController();
    const { run } = await train({
      ...begun,
      out: folder,
      steps: 14,
      signal: stop.signal,
      onEvent: (event) => (event.event === 'step' && event.step === cut ? stop.abort() : undefined),
    });
    const continued = await open(line, 'Adam{lr: 0.05}');
    const events: string[] = [];
    await train({ ...continued, out: folder, resume: run, steps: 14, onEvent: ({ event }) => void events.push(event) });
    expect(events.filter((event) => event === 'step')).toHaveLength(14 - cut);
    expect(await everythingIn(continued.programs)).toEqual(await everythingIn(whole.programs));
  });

  it('goes on where its line moved in the file', async () => {
    const { run } = await train({ ...(await open(line, 'Adam{lr: 0.05}')), out: folder, steps: 2 });
    const moved = await open(`\n  ${line}`, 'Adam{lr: 0.05}');
    await expect(train({ ...moved, out: folder, resume: run, steps: 4 })).resolves.toMatchObject({ run });
  });

  it('takes a new part where it prunes again, and not where it pruned once', async () => {
    const later = await train({ ...(await open(line, 'Adam{lr: 0.05}')), out: folder, steps: 2 });
    const more = await open(line.replace('final: 0.75', 'final: 0.5'), 'Adam{lr: 0.05}');
    await expect(train({ ...more, out: folder, resume: later.run, steps: 4 })).resolves.toMatchObject({ steps: 4 });
    const half = 'prune *.weight with half';
    const definition = (part: string): string =>
      `fn half(weight: f32[...], _step: f32) -> bool[...] = abs(weight) > ${part}`;
    const once = await train({ ...(await open(half, 'Adam{lr: 0.05}', definition('0.1'))), out: folder, steps: 2 });
    const other = await open(half, 'Adam{lr: 0.05}', definition('0.2'));
    await expect(train({ ...other, out: folder, resume: once.run, steps: 4 })).rejects.toMatchObject({
      code: 'resume-pruned',
      message: `Before its first step ${once.run} pruned model.up.weight, model.down.weight with half; the file now says the same of a pruner that is defined otherwise. That is not done again in a run that goes on.`,
    });
  });

  it('is another run with another line', async () => {
    const before = await open(line, 'Adam{lr: 0.05}');
    const { run } = await train({ ...before, out: folder, steps: 2 });
    const other = await open(line.replace('every 3', 'every 4'), 'Adam{lr: 0.05}');
    await expect(train({ ...other, out: folder, resume: run, steps: 4 })).rejects.toThrow(
      'was trained with another time to prune',
    );
  });
});
