/** A run with removed channels: trained, continued and measured again on the smaller shapes, and loaded by a smaller model. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { grantFiles } from '../../runtime/files.ts';
import { readTensor, readWeightsHeader } from '../../runtime/safetensors.ts';
import { nacre } from '../support/nacre.ts';

const folder = mkdtempSync(join(tmpdir(), 'nacre-slim-'));
afterAll(() => rmSync(folder, { recursive: true }));

const network = (hidden: number, lines: string): string => {
  const path = join(folder, `net${hidden}${lines.length}.model`);
  writeFileSync(
    path,
    `use std.layers { Linear }
use std.optim { Adam }
${['channels', 'magnitude']
  .filter((name) => lines.includes(name))
  .map((name) => `use std.pruning { ${name} }`)
  .join('\n')}
data points() = generate(200) |> map(x: f32(index) / 200)
model Net{hidden: int} {
  up = Linear{1, hidden}
  down = Linear{hidden, 1}
  (x: f32[B]) -> f32[B] = reshape(x, [B, 1]) |> up |> tanh |> down |> reshape([B])
}
train t {
  model = Net{${hidden}}
  data = points() |> batch(20)
  loss(x) = mean_squared_error(model(x), sin(6 * x))
  optimizer = Adam{lr: 0.02}
  epochs = 4
  eval(x) over points() = { mse: mean_squared_error(model(x), sin(6 * x)) }
  save last
  ${lines}
}
`,
  );
  return path;
};

const run = ['--target', 'reference', '--out', folder];
const weightsOf = (path: string): Map<string, readonly number[]> => {
  const file = grantFiles({ data: [path] }).open('last.safetensors');
  try {
    return new Map(
      [...readWeightsHeader(file).tensors.values()].map((tensor) => [
        tensor.name,
        [...readTensor(file, tensor, 'f32')],
      ]),
    );
  } finally {
    file.close();
  }
};
const done = (out: string): Record<string, unknown> => JSON.parse(out.trim().split('\n').at(-1) ?? '');

it('goes on with the smaller shapes wherever it is taken up', async () => {
  const file = network(16, 'prune model.up.weight with channels{keep: 0.25}');
  const whole = await nacre('train', file, ...run, '--json');
  expect(whole.err).toContain('49 parameters become 13:\n  model.up.weight  [1, 16] → [1, 4]\n');
  const { run: path, mse } = done(whole.out);
  expect([...weightsOf(String(path))].map(([name, data]) => [name, data.length])).toEqual([
    ['model.down.bias', 1],
    ['model.down.weight', 4],
    ['model.up.bias', 4],
    ['model.up.weight', 4],
  ]);

  const part = await nacre('train', file, ...run, '--json', '--steps', '15');
  const { run: begun } = done(part.out);
  const rest = await nacre(
    'train',
    file,
    '--target',
    'reference',
    '--resume',
    String(begun),
    '--epochs',
    '4',
    '--json',
  );
  expect([rest.code, rest.err]).toEqual([0, expect.not.stringContaining('error')]);
  expect(weightsOf(String(begun))).toEqual(weightsOf(String(path)));

  const again = await nacre('eval', file, String(path), '--target', 'reference', '--json');
  expect(JSON.parse(again.out)).toEqual({ mse });

  const small = network(4, 'load "last.safetensors"');
  const loaded = await nacre('train', small, ...run, '--data', String(path), '--steps', '1', '--json');
  expect([loaded.code, loaded.err]).toEqual([0, expect.not.stringContaining('error')]);

  const wrong = await nacre('train', network(16, 'load "last.safetensors"'), ...run, '--data', String(path));
  expect(wrong.err).toContain('"model.up.weight" of last.safetensors has shape [1, 4]; model.up.weight has [1, 16].');
});

it('goes on only with the pruner it began with', async () => {
  const lines = 'prune model.up.weight with channels{keep: 0.25}';
  const file = network(16, lines);
  const begun = await nacre('train', file, ...run, '--steps', '5', '--json');
  const path = String(done(begun.out).run);
  const goOn = async (text: string): Promise<readonly [number, string]> => {
    const { code, err } = await nacre('train', network(16, text), ...run, '--resume', path, '--epochs', '4');
    return [code, err];
  };
  const says = (now: string): string =>
    `error: Before its first step ${path} pruned model.up.weight with channels{keep: 0.25}; the file now says ${now}. That is not done again in a run that goes on.\nhint: Write it as it was (config.json has the file), or start a new run.\n`;
  expect(await goOn('prune model.up.weight with channels{keep: 0.5}')).toEqual([
    1,
    says('model.up.weight with channels{keep: 0.5}'),
  ]);
  expect(await goOn('prune model.{up}.weight with channels')).toEqual([1, says('model.up.weight with channels')]);
  expect(await goOn('')).toEqual([1, says('nothing')]);
  // The same in other words.
  expect((await goOn('prune model.up.weight with channels{keep: 1 / 4}'))[0]).toBe(0);
});

it('begins to prune only in a new run', async () => {
  const begun = await nacre('train', network(16, ''), ...run, '--steps', '5', '--json');
  const pruned = network(16, 'prune model.up.weight with channels{keep: 0.5}');
  const { code, err } = await nacre('train', pruned, ...run, '--resume', String(done(begun.out).run));
  expect([code, err]).toEqual([
    1,
    expect.stringContaining('pruned nothing; the file now says model.up.weight with channels{keep: 0.5}.'),
  ]);
});

it('goes on with the masks that it has, and no others', async () => {
  const lines = (which: string): string => `prune ${which} with magnitude{sparsity: 0.5} every 3`;
  const begun = await nacre('train', network(16, lines('*.weight')), ...run, '--steps', '7', '--json');
  const path = String(done(begun.out).run);
  const goOn = async (text: string): Promise<readonly [number, string]> => {
    const { code, err } = await nacre('train', network(16, text), ...run, '--resume', path, '--epochs', '4');
    return [code, err];
  };
  const hint = 'hint: Write it as it was (config.json has the file), or start a new run and load its weights.\n';
  expect(await goOn(lines('model.up.weight'))).toEqual([
    1,
    `error: ${path} cannot go on like this: it prunes \`model.down.weight\`, which the file does not any more: what is 0 would not stay 0.\n${hint}`,
  ]);
  expect(await goOn(lines('model.up.*, model.down.weight'))).toEqual([
    1,
    `error: ${path} cannot go on like this: the file prunes \`model.up.bias\`, which it did not.\n${hint}`,
  ]);
  expect((await goOn(lines('*.weight').replace('0.5', '0.6')))[0]).toBe(0);
});

it('is planned and shown with the smaller shapes', async () => {
  const file = network(16, 'prune model.up.weight with channels{keep: 0.25}');
  expect((await nacre('ir', file)).out).toContain(': f32[1, 4] = param model.up.weight');
  expect((await nacre('plan', file)).out).toContain('13 weights, 13 of them trained');
});
