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
