/** The programming interface in a page and in a worker of one, bundled by Vite, which finds Nacre by its name. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { DeviceError } from '../../runtime/program.ts';
import { compile } from '../../tools/api/index.ts';
import { openBuilt, openTarget, pageTargets } from '../../tools/api/page.ts';
import { codeTargets, targets } from '../../tools/driver/targets/index.ts';
import { chromium, openPage, serve } from '../support/browser.ts';
import { data, points, source } from './inside.ts';

const root = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'nacre-page-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What the page and its worker run. */
const training = `
  import { compile } from 'nacre';
  const points = ${points.toString()};
  export async function train() {
    const model = await compile(${JSON.stringify(source)}, { data: ${JSON.stringify(data)}, seed: 3, threads: 3 });
    const losses = [];
    for (let step = 1; step <= 100; step++) losses.push((await model.step(points(64, step))).loss);
    const [logits] = await model.infer({ dtype: 'f32', shape: [1, 2], data: Float32Array.of(0, 0) });
    const inside = logits.data[1] > logits.data[0];
    model.close();
    return { target: model.target, isolated: crossOriginIsolated, first: losses[0], last: losses.at(-1), inside };
  }`;

const files = {
  'train.js': training,
  'main.js': `
    import { train } from './train.js';
    window.here = train;
    window.inWorker = () => new Promise((resolve, reject) => {
      const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
      worker.onmessage = ({ data }) => 'error' in data ? reject(new Error(data.error)) : resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
    });`,
  'worker.js': `
    import { train } from './train.js';
    train().then(postMessage, (error) => postMessage({ error: String(error) }));`,
  'index.html': '<!doctype html><body><script type="module" src="./main.js"></script></body>',
};

it('a page has the targets that the list of targets says it has', async () => {
  const inPages = codeTargets.filter((name) => targets[name].inPage !== undefined);
  expect(Object.keys(pageTargets)).toEqual(inPages);
  for (const name of inPages) expect(await pageTargets[name]?.()).toBe(await targets[name].backend());
  for (const name of ['cpu', 'toString'])
    await expect(openBuilt(name, 1)).rejects.toThrow(`A page has no target ${name}: take webgpu or wasm.`);
});

it('a page takes WebAssembly where its GPU does not open', async () => {
  const requestDevice = vi.fn(() => Promise.reject(new DeviceError('It does not open.')));
  const adapter = { info: {}, limits: {}, features: new Set(), requestDevice };
  vi.stubGlobal('navigator', { gpu: { requestAdapter: () => Promise.resolve(adapter) } });
  try {
    const { session } = await openTarget('auto', 1);
    session.close();
    expect([session.target, requestDevice.mock.calls.length]).toEqual(['wasm', 1]);
  } finally {
    vi.unstubAllGlobals();
  }
});

describe.skipIf(chromium === undefined)('bundled by Vite', () => {
  beforeAll(async () => {
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(root, join(folder, 'node_modules/nacre'));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    await build({ root: folder, base: './', logLevel: 'silent', worker: { format: 'es' }, build: { outDir: 'out' } });
  });

  it.each([
    ['a page', 'here', false],
    ['an isolated page, on threads', 'here', true],
    ['a worker', 'inWorker', false],
    ['a worker of an isolated page, on threads', 'inWorker', true],
  ])('learns in %s', { timeout: 120_000 }, async (_, place, isolated) => {
    const server = await serve(join(folder, 'out'), isolated);
    const page = await openPage(server.url);
    try {
      const result = (await page.evaluate(`${place}()`)) as Record<string, unknown>;
      expect(result, page.messages.join('\n')).toMatchObject({ target: 'wasm', isolated, inside: true });
      expect(Number(result['last'])).toBeLessThan(Number(result['first']));
      const model = await compile(source, { data, target: 'wasm', threads: 1, seed: 3 });
      expect((await model.step(points(64, 1))).loss).toBeCloseTo(Number(result['first']), 5);
      model.close();
    } finally {
      await page.close();
      server.close();
    }
  });
});
