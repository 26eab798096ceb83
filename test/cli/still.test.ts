/** A block that takes no step: it is planned, shown and measured by what it runs instead. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import { nacre } from '../support/nacre.ts';

const native = (await describeCpu()).problem === undefined;
const folder = mkdtempSync(join(tmpdir(), 'nacre-still-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('a block that takes no step', () => {
  const write = (lines: string): string => {
    const file = join(folder, 'still.model');
    writeFileSync(
      file,
      `use std.layers { Linear }
data points() = generate(64) |> map(x: reshape(f32(index) / 64, [_, 1]))
model Net {
  up = Linear{1, 32}
  down = Linear{32, 1}
  (x: f32[B, 1]) -> f32[B, 1] = x |> up |> sigmoid |> down
}
train still {
  model = Net{}
  data = points() |> batch(8)
  loss(x) = mean((model(x) - x) ^ 2)
  load "last.safetensors"
  ${lines}
}
`,
    );
    return file;
  };
  const evaluation = 'eval(x) over points() = { mse: mean((model(x) - x) ^ 2) }';
  const path = (): string => join(folder, 'still.html');

  it('is planned and shown by its evaluation', async () => {
    const file = write(`${evaluation}\n  quantize *.weight to int8`);
    const { out } = await nacre('plan', file);
    expect(out).toContain('\nno step is taken; a batch of 64 of the eval\n');
    expect(out).not.toMatch(/step:|of the step|activations/);
    expect((await nacre('explain', file, '-o', path())).code).toBe(0);
    const page = readFileSync(path(), 'utf8');
    expect(page).toContain('Nothing is trained here, so no step is taken; this is what a batch of eval is made of');
    expect(page).toContain('<h2>The evaluation</h2>');
    expect((await nacre('ir', file)).out).toBe((await nacre('ir', file, '--program', 'eval')).out);
    expect((await nacre('ir', file, '--program', 'step')).err).toBe(
      'error: The train block still takes no step.\nhint: Leave --program out: it shows what runs.\n',
    );
    // Products of bytes, and no gradient.
    expect(page).toContain('i8');
    expect(page).not.toMatch(/class="kernel (backward|update)"/);
  });

  it('or by what computes its codes', async () => {
    const file = write('quantize *.weight to int4 weights');
    expect((await nacre('plan', file)).out).toContain('\nno step is taken; what computes the codes of the weights\n');
    expect((await nacre('explain', file, '-o', path())).code).toBe(0);
    expect(readFileSync(path(), 'utf8')).toContain('<h2>The codes of the weights</h2>');
  });

  it('calibrates in the forward pass', async () => {
    const file = write(`${evaluation}\n  quantize *.weight to int8`);
    const options = ['--program', 'calibrate', '--stage', 'loop', '--format', 'json'];
    const { steps } = JSON.parse((await nacre('ir', file, ...options)).out);
    expect([...new Set(steps.map(({ phase }: { phase: string }) => phase))]).toEqual(['forward']);
  });

  it.runIf(native)('is measured with the codes of its weights', async () => {
    const file = write(`optimizer = SGD{lr: 0.1}\n  epochs = 1\n  save last\n  quantize *.weight to int8`);
    writeFileSync(
      file,
      readFileSync(file, 'utf8')
        .replace('  load "last.safetensors"\n', '')
        .replace('use std', 'use std.optim { SGD }\nuse std'),
    );
    const trained = await nacre('train', file, '--out', folder);
    const [, run = ''] = /^run: (.*)$/m.exec(trained.out) ?? [];
    const still = write(`${evaluation}\n  quantize *.weight to int8`);
    const { code, err } = await nacre('explain', still, '--run', '--data', run, '-o', path());
    expect([code, err]).toEqual([0, '']);
    expect(readFileSync(path(), 'utf8')).toContain('As one program it took');
  });
});
