/** What a person is told before a run that may not be what was meant. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { nacre } from '../support/nacre.ts';

const folder = mkdtempSync(join(tmpdir(), 'nacre-notices-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('a teacher that nobody taught', async () => {
  const path = join(folder, 'untaught.model');
  writeFileSync(
    path,
    `use std.layers { Linear }
use std.optim { SGD }
data points() = generate(64) |> map(x: reshape(f32(index) / 64, [_, 1]))
train student {
  model = Linear{1, 1}
  teacher = Linear{1, 1}
  freeze teacher.*
  data = points() |> batch(8)
  loss(x) = mean_squared_error(model(x), teacher(x))
  optimizer = SGD{lr: 0.1}
  epochs = 1
}
`,
  );
  const line = 'teacher is frozen and nothing is loaded: its weights stay as they are first made\n';
  const { code, err } = await nacre('train', path, '--target', 'reference', '--out', folder);
  expect([code, err]).toEqual([0, expect.stringContaining(line)]);
  expect((await nacre('plan', path)).out).toContain(line);
});

it('pruning that the run ends before, unless the run was cut short', async () => {
  const path = join(folder, 'late.model');
  const text = `use std.layers { Linear }
use std.optim { SGD }
use std.pruning { gradual, magnitude }
data points() = generate(64) |> take(32) |> map(x: reshape(f32(index) / 64, [_, 1]))
train t {
  model = Linear{1, 8}
  data = points() |> batch(8)
  loss(x) = mean(model(x) ^ 2)
  optimizer = SGD{lr: 0.1}
  epochs = 4
  prune *.weight with magnitude{sparsity: gradual{final: 0.8, begin: 16, end: 20}} every 5
}
`;
  const told = 'it prunes after the steps 5, 10, 15, and at none of them is it otherwise';
  writeFileSync(path, text);
  for (const command of [['check'], ['plan'], ['train', '--target', 'reference', '--out', folder]] as const) {
    const [name, ...options] = command;
    const { code, err } = await nacre(name, path, ...options);
    expect([name, code, err]).toEqual([name, 1, expect.stringContaining(told)]);
  }
  const short = await nacre('train', path, '--target', 'reference', '--out', folder, '--steps', '7');
  expect([short.code, short.err]).toEqual([0, expect.stringContaining('no weight was pruned in these 7 steps\n')]);
  writeFileSync(path, text.replace('begin: 16', 'begin: 14'));
  expect((await nacre('check', path)).code).toBe(0);
});

it('calibration on more batches than there are', async () => {
  const path = join(folder, 'calibrate.model');
  const text = `use std.layers { Linear }
use std.optim { SGD }
data points() = generate(64) |> map(x: reshape(f32(index) / 64, [_, 1]))
train t {
  model = Linear{1, 8}
  data = points() |> batch(8)
  loss(x) = mean(model(x) ^ 2)
  optimizer = SGD{lr: 0.1}
  epochs = 1
  quantize *.weight to int8 calibrate 1000
}
`;
  writeFileSync(path, text);
  const line = 'calibrate 1000 looks at the 8 batches that an epoch has: there are no more\n';
  const begun = await nacre('train', path, '--target', 'reference', '--out', folder);
  expect([begun.code, begun.err]).toEqual([0, expect.stringContaining(line)]);
  expect((await nacre('plan', path)).out).toContain(line);
  const [, run = ''] = /^run: (.*)$/m.exec(begun.out) ?? [];
  const goneOn = await nacre('train', path, '--resume', run, '--epochs', '2');
  expect([goneOn.code, goneOn.err.includes('calibrate')]).toEqual([0, false]);
  // Sixteen are looked at where nobody says how many, as far as there are.
  writeFileSync(path, text.replace(' calibrate 1000', ''));
  expect((await nacre('plan', path)).out).not.toContain('calibrate ');
});

it('a checkpoint that frees nothing', async () => {
  const path = join(folder, 'checkpoint.model');
  const text = (line: string): string => `use std.layers { Linear }
use std.optim { SGD }
data points() = generate(256) |> map(x: reshape(f32(index), [_, 1]) * ones[64])
layer Wide {
  up = Linear{64, 256}
  down = Linear{256, 64}
  (x: f32[B, 64]) -> f32[B, 64] = x + (x |> up |> sigmoid |> down |> sigmoid)
}
model Net {
  blocks = [Wide{} for _i in 0..4]
  head = Linear{64, 1}
  (x: f32[B, 64]) -> f32[B, 1] = x |> blocks |> head
}
train t {
  model = Net{}
  data = points() |> batch(256)
  loss(x) = mean(model(x) ^ 2)
  optimizer = SGD{lr: 0.1}
  epochs = 1
  ${line}
}
`;
  const idle = async (line: string): Promise<{ paths: string[]; with: number; without: number }[]> => {
    writeFileSync(path, text(line));
    return JSON.parse((await nacre('plan', path, '--json', '--threads', '1')).out).idleCheckpoints;
  };
  expect(await idle('')).toEqual([]);
  expect(await idle('checkpoint model.blocks.0')).toEqual([]);
  const [head] = await idle('checkpoint model.head');
  expect(head).toMatchObject({ paths: ['model.head'] });
  expect(head.with).toBeGreaterThanOrEqual(head.without);
  expect(await idle('checkpoint model.head\n  checkpoint model.blocks.0')).toMatchObject([{ paths: ['model.head'] }]);
});
