/** What `nacre build` leaves: it trains with the bits of `nacre train`, without the compiler, in Node and in a browser. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readTrainer, type Trainer, trainerVersion } from '../../runtime/artefact.ts';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import { quote } from '../../tools/cli/quote.ts';
import { writeFolder } from '../../tools/driver/build.ts';
import { findNvcc } from '../../tools/driver/targets/cuda-compile.ts';
import { chromium, openPage, type Page, serve } from '../support/browser.ts';
import { nacre } from '../support/nacre.ts';
import { webgpuProblem } from '../support/webgpu.ts';

const root = resolve(import.meta.dirname, '../..');
const digits = join(root, 'examples/digits.model');
const native = (await describeCpu()).problem === undefined;
const folder = mkdtempSync(join(tmpdir(), 'nacre-build-'));
// Where the packages of native code are found.
mkdirSync(join(root, '.cache'), { recursive: true });
const inside = mkdtempSync(join(root, '.cache', 'built-'));
afterAll(() => [folder, inside].forEach((path) => rmSync(path, { recursive: true, force: true })));

interface Trained {
  readonly losses: readonly number[];
  /** Of the weights that were saved. */
  readonly hash: string;
}

/** Runs a command that trains with --json. */
function trained(script: string, ...words: readonly string[]): Trained {
  const text = execFileSync(process.execPath, [script, ...words, '--steps', '20', '--json'], {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const events = text
    .trim()
    .split('\n')
    .map((line): Record<string, unknown> => JSON.parse(line));
  const run = join(folder, String(events.at(-1)?.['run']));
  const losses = events.filter(({ event }) => event === 'step').map(({ loss }) => Number(loss));
  const hash = createHash('sha256')
    .update(readFileSync(join(run, 'best.safetensors')))
    .digest('hex');
  return { losses, hash };
}

interface Built {
  readonly output: string;
  readonly runtime: number;
  readonly runtimeInPage?: number;
  readonly total: number;
}

const bytesIn = (path: string): number =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);

async function built(output: string, ...words: readonly string[]): Promise<Built> {
  const { code, out, err } = await nacre('build', digits, '-o', output, '--json', ...words);
  expect([code, err]).toEqual([0, '']);
  return JSON.parse(out);
}

/** A trainer that learns a line from this many rows, which lie beside its model; with other lines of the block where they are given. */
async function line(rows: number, { csv = 'line.csv', lines = 'epochs = 2', target = 'wasm' } = {}): Promise<string> {
  const home = mkdtempSync(join(folder, 'line-'));
  for (const name of [csv, 'test.csv']) writeFileSync(join(home, name), rowsOfLine(rows));
  const model = join(home, 'line.model');
  writeFileSync(
    model,
    `use std.layers { Linear }
use std.optim { SGD }

train line {
  model = Linear{2, 1}
  data = csv("${csv}", x: ["a", "b"], y: ["c"]) |> batch(8)
  loss(x, y) = mean((model(x)[:, 0] - y) ^ 2)
  optimizer = SGD{lr: 0.1}
  ${lines}
  eval(x, y) over csv("test.csv", x: ["a", "b"], y: ["c"]) = { error: mean((model(x)[:, 0] - y) ^ 2) }
}
`,
  );
  const output = join(home, 'built');
  const { code, err } = await nacre('build', model, '-o', output, '--web', '--target', target);
  expect([code, err]).toEqual([0, '']);
  return output;
}

const rowsOfLine = (rows: number): string =>
  `a,b,c\n${Array.from({ length: rows }, (_, at) => `${at % 3},${at % 2},${(at % 3) - (at % 2)}\n`).join('')}`;

/** The page of a trainer of a line, its data beside it. */
async function linePage(
  of: Parameters<typeof line>[1],
  use: (page: Page, output: string) => Promise<void>,
): Promise<void> {
  const output = await line(20, of);
  for (const name of readdirSync(join(output, '..')))
    if (name.endsWith('.csv')) cpSync(join(output, '..', name), join(output, name));
  const server = await serve(output);
  const page = await openPage(server.url);
  try {
    await use(page, output);
  } finally {
    await page.close();
    server.close();
  }
}

const press = (page: Page, id: string): Promise<unknown> => page.evaluate(`document.getElementById('${id}').click()`);
const textOf = (page: Page, id: string): Promise<unknown> =>
  page.evaluate(`document.getElementById('${id}').textContent`);

/** How the run of a page ended. */
async function ended(page: Page, milliseconds = 20_000): Promise<unknown> {
  const end = Date.now() + milliseconds;
  for (;;) {
    const status = await page.evaluate('document.body.dataset.status ?? null');
    if (status !== null || Date.now() > end) return status;
    await new Promise((rest) => setTimeout(rest, 100));
  }
}

const lacks = (key: string, only: string): string =>
  `This trainer has no program ${key}, only ${only}: it was built for 20 training samples in batches of 8, and evaluation data of one size. Build it again for these data.`;

describe('a built trainer', () => {
  it.for([
    ['wasm', folder, true],
    ['cpu', inside, native],
  ] as const)('for %s trains with the same bits, without the compiler', async ([target, where, possible], { skip }) => {
    skip(!possible);
    const { output } = await built(join(where, target), '--target', target);
    const here = trained(join(output, 'train.js'), '--out', 'built');
    const there = trained(join(root, 'bin/nacre.mjs'), 'train', digits, '--target', target, '--out', 'trained');
    expect(here.losses).toHaveLength(20);
    expect(here).toEqual(there);
  });

  it.skipIf(webgpuProblem !== undefined)('for webgpu trains with the same bits', { timeout: 60_000 }, async () => {
    // SwiftShader compiles the drawing of digits for too long.
    const model = join(root, 'examples/rings.model');
    const output = join(inside, 'webgpu');
    const { code, err } = await nacre('build', model, '-o', output, '--target', 'webgpu');
    expect([code, err]).toEqual([0, '']);
    const here = trained(join(output, 'train.js'), '--out', 'built');
    expect(here.losses).toHaveLength(20);
    expect(here).toEqual(
      trained(join(root, 'bin/nacre.mjs'), 'train', model, '--target', 'webgpu', '--out', 'trained'),
    );
  });

  it.for([
    ['cpu', 'koffi', native],
    ['webgpu', 'webgpu', true],
  ] as const)('for %s says which package it needs, and gets it', async ([target, needs, possible], { skip }) => {
    skip(!possible);
    const output = join(folder, `alone on ${target}`);
    const { code, out } = await nacre('build', digits, '-o', output, '--target', target);
    expect([code, out]).toEqual([
      0,
      expect.stringContaining(`npm install --prefix ${quote(output)}, which gets ${needs}\n`),
    ]);
    const { optionalDependencies, peerDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(JSON.parse(readFileSync(join(output, 'package.json'), 'utf8')).dependencies).toEqual({
      [needs]: { ...optionalDependencies, ...peerDependencies }[needs],
    });
    const script = join(output, 'train.js');
    const { status, stderr } = spawnSync(process.execPath, [script], { cwd: folder, encoding: 'utf8' });
    expect([status, stderr]).toEqual([
      1,
      `error: The ${target} target needs the package ${needs}, which is not installed: run \`npm install --prefix ${quote(output)} ${needs}\`.\n`,
    ]);
  });

  const kinds = ['wasm', 'wasm --web', 'webgpu --web', 'cpu', 'cuda'];

  it.for(kinds)('that reads tables, for %s, is small too', async (words, { skip }) => {
    skip(words === 'cuda' && findNvcc() === undefined, 'there is no nvcc');
    const model = join(await line(20), '../line.model');
    const output = join(folder, 'small-line');
    const { out } = await nacre('build', model, '-o', output, '--json', '--target', ...words.split(' '));
    const { runtime, runtimeInPage = 0 }: Built = JSON.parse(out);
    expect(Math.max(runtime, runtimeInPage)).toBeLessThan(150_000);
  });

  it.for(kinds)('for %s is small', async (words, { skip }) => {
    skip(words === 'cuda' && findNvcc() === undefined, 'there is no nvcc');
    const { runtime, runtimeInPage = 0, total } = await built(join(folder, 'small'), '--target', ...words.split(' '));
    expect(Math.max(runtime, runtimeInPage)).toBeLessThan(150_000);
    expect(total).toBeLessThan(300_000);
    // All that is there: nothing is left of the build before.
    expect(bytesIn(join(folder, 'small'))).toBe(total);
  });

  it('says what is wrong with it', async () => {
    const { output } = await built(join(folder, 'wrong'));
    const run = (...words: readonly string[]) =>
      spawnSync(process.execPath, [join(output, 'train.js'), ...words], { cwd: folder, encoding: 'utf8' });
    expect(run('--stesp', '3')).toMatchObject({
      status: 2,
      stderr: "error: unknown option '--stesp'\nhint: Did you mean --steps?\n",
    });
    for (const [words, said] of [
      [['--steps'], '--steps is said without its <n>.'],
      [['--seed', '-1'], '--seed is -1: it has to be a whole number, at least 0.'],
      [['--json=yes'], '--json takes no value, but is given yes.'],
      [['--json='], '--json takes no value.'],
      [['--data='], '--data is said without its <folder>.'],
      [['--data', '--steps', '3'], '--data is said without its <folder>.'],
      [['--resume', '--json'], '--resume is said without its <run>.'],
      [['digits'], 'There is no place for `digits`: all it takes are options.'],
    ] as const)
      expect(run(...words)).toMatchObject({ status: 2, stderr: `error: ${said}\n` });
    expect(run('--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('--resume <run>') });
    const path = join(output, 'trainer.json');
    const trainer = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify({ ...trainer, version: 99 }));
    expect(run()).toMatchObject({
      status: 1,
      stderr: 'error: This trainer was built by another version of Nacre (99; this runtime runs 2): build it again.\n',
    });
    writeFileSync(path, JSON.stringify({ ...trainer, programs: { init: trainer.programs.init } }));
    expect(run().stderr).toContain(
      'This trainer has no program step-64-only: it was built for 20000 training samples in batches of 64, and',
    );
    writeFileSync(path, '{"version": 2,');
    expect(run().stderr).toBe('error: trainer.json is not whole: build the trainer again.\n');
    for (const damaged of ['{"version": 2}', '{"version": 2, "plan": {}, "programs": 3}']) {
      writeFileSync(path, damaged);
      expect(run().stderr).toBe('error: trainer.json is not whole: build the trainer again.\n');
    }
    writeFileSync(path, 'null');
    expect(run().stderr).toBe('error: trainer.json is no trainer: build it again.\n');
    writeFileSync(path, JSON.stringify({ ...trainer, target: 'cuda' }));
    expect(run()).toMatchObject({
      status: 1,
      stderr: 'error: This trainer says that it is for cuda, but what is in its folder runs on wasm: build it again.\n',
    });
    writeFileSync(path, JSON.stringify(trainer));
    for (const name of ['step-64-only.wasm.gz', 'step-64-only.relaxed.wasm.gz'])
      writeFileSync(join(output, name), readFileSync(join(output, name)).subarray(0, 2000));
    expect(run('--steps', '1')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/step-64-only\.(relaxed\.)?wasm\.gz is damaged: build the trainer again\./),
    });
    for (const name of ['step-64-only.wasm.gz', 'step-64-only.relaxed.wasm.gz']) rmSync(join(output, name));
    expect(run('--steps', '1')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/There is no step-64-only\.(relaxed\.)?wasm\.gz in/),
    });
  });

  it.skipIf(!native)('for cpu says where its code is damaged', async () => {
    const { output } = await built(join(inside, 'damaged'), '--target', 'cpu');
    const file = join(output, 'init.ll.gz');
    writeFileSync(file, readFileSync(file).subarray(0, 500));
    const { status, stderr } = spawnSync(process.execPath, [join(output, 'train.js')], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([1, 'error: init.ll.gz is damaged: build the trainer again.\n']);
  });

  it('of a block that removes columns begins with those that are left, with the same bits', async () => {
    const slim = join(folder, 'slim.model');
    const lines = '  prune model.fc1.weight with channels{keep: 0.5}\n  epochs = 6\n';
    const text = readFileSync(digits, 'utf8').replace('  epochs = 6\n', lines);
    writeFileSync(slim, `use std.pruning { channels }\n${text}`);
    const [output, target] = [join(folder, 'slim'), 'wasm'];
    const { code, err } = await nacre('build', slim, '-o', output, '--target', target);
    expect([code, err]).toEqual([0, expect.stringContaining('101,770 parameters become 50,890:\n')]);
    const here = trained(join(output, 'train.js'), '--out', 'built');
    expect(here).toEqual(trained(join(root, 'bin/nacre.mjs'), 'train', slim, '--target', target, '--out', 'trained'));
  });

  it('refuses data of another size before it begins, where it lacks a program for them', async () => {
    const output = await line(20);
    const run = ([rows, tested]: readonly [number, number], ...words: readonly string[]) => {
      const data = mkdtempSync(join(folder, 'rows-'));
      writeFileSync(join(data, 'line.csv'), rowsOfLine(rows));
      writeFileSync(join(data, 'test.csv'), rowsOfLine(tested));
      return spawnSync(process.execPath, [join(output, 'train.js'), '--data', data, '--out', 'sized', ...words], {
        cwd: folder,
        encoding: 'utf8',
      });
    };
    const refused = (key: string, only = 'step-8-only, step-4-only') => ({
      status: 1,
      stdout: '',
      stderr: `error: ${lacks(key, only)}\n`,
    });
    expect(run([22, 20])).toMatchObject(refused('step-6-only'));
    expect(run([22, 20], '--steps', '3')).toMatchObject(refused('step-6-only'));
    expect(run([6, 20], '--steps', '1')).toMatchObject(refused('step-6-only'));
    expect(run([20, 22])).toMatchObject(refused('eval-2', 'eval-20'));
    expect(existsSync(join(folder, 'sized'))).toBe(false);
    // Where it comes to no batch of another size, it may train.
    expect(run([22, 20], '--steps', '2')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('done: step 2 '),
    });
    expect(run([28, 40])).toMatchObject({ status: 0, stdout: expect.stringContaining('done: step 8 ') });
  });

  it('goes on with a run as it was begun, from any folder', async () => {
    const { output } = await built(join(folder, 'again'));
    const run = (cwd: string, ...words: readonly string[]): Record<string, unknown> => {
      const script = join(output, 'train.js');
      const { stdout, stderr } = spawnSync(process.execPath, [script, ...words, '--json'], { cwd, encoding: 'utf8' });
      const [last = stderr] = stdout.trim().split('\n').slice(-1);
      return JSON.parse(last);
    };
    const whole = run(folder, '--seed', '5', '--steps', '11', '--out', 'begun');
    run(folder, '--seed', '5', '--steps', '4', '--out', 'begun');
    const path = join(folder, 'begun/reader-2');
    const config = (): Record<string, unknown> => JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'));
    const same = ['--resume', path];
    expect(run(root, ...same)).toMatchObject({ status: 'done', steps: 4 });
    const { steps, loss, accuracy } = run(root, ...same, '--steps', '11', '--data', 'examples');
    expect({ steps, loss, accuracy }).toEqual({ steps: 11, loss: whole.loss, accuracy: whole.accuracy });
    const settings = { seed: 5, steps: 11, data: [join(root, 'examples')], target: 'wasm' };
    expect(config().settings).toEqual(settings);
    expect(run(folder, ...same)).toMatchObject({ status: 'done', steps: 11 });
    expect(config().settings).toEqual(settings);
  });

  it.skipIf(webgpuProblem !== undefined)('goes on where its GPU is lost', async () => {
    const { output } = await built(join(inside, 'lost'), '--target', 'webgpu');
    // All devices there are when something is submitted for the 24th time are destroyed.
    const lose = join(inside, 'lose.mjs');
    writeFileSync(
      lose,
      `let submits = 0;
       Object.defineProperty(globalThis, 'GPUQueue', {
         configurable: true,
         set(queue) {
           const submit = queue.prototype.submit;
           queue.prototype.submit = function (...given) {
             submit.apply(this, given);
             if (++submits === 24) for (const device of globalThis.devices) device.destroy();
           };
         },
       });
       globalThis.devices = [];
       Object.defineProperty(globalThis, 'GPUAdapter', {
         configurable: true,
         set(adapter) {
           const request = adapter.prototype.requestDevice;
           adapter.prototype.requestDevice = async function (...given) {
             const device = await request.apply(this, given);
             globalThis.devices.push(device);
             return device;
           };
         },
       });`,
    );
    const words = [join(output, 'train.js'), '--steps', '20', '--json', '--out', 'lost'];
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', lose, ...words], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(stderr).toMatch(/The GPU was lost.* beginning again/);
    expect([status, JSON.parse(stdout.trim().split('\n').at(-1) ?? '')]).toEqual([
      0,
      expect.objectContaining({ event: 'done', steps: 20 }),
    ]);
  });

  it.skipIf(!native)('for cpu says what the processor lacks that it was built for', async () => {
    const { output } = await built(join(inside, 'other'), '--target', 'cpu');
    const path = join(output, 'trainer.json');
    const trainer = JSON.parse(readFileSync(path, 'utf8'));
    trainer.programs.init.needs = ['avx1024'];
    writeFileSync(path, JSON.stringify(trainer));
    const { status, stderr } = spawnSync(process.execPath, [join(output, 'train.js')], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([
      1,
      'error: This trainer was built on a processor that has avx1024, which this one does not: build it here, or for another target.\n',
    ]);
  });

  it('is not put where something else is, nor on a page where it cannot run', async () => {
    const path = join(folder, 'mine');
    mkdirSync(path);
    writeFileSync(join(path, 'poem.txt'), 'mine');
    const refused = await nacre('build', digits, '-o', path);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('no trainer that Nacre built')]);
    const poem = await nacre('build', digits, '-o', join(path, 'poem.txt'));
    expect([poem.code, poem.err]).toEqual([
      1,
      `error: ${join(path, 'poem.txt')} is a file, and what is built is a folder.\nhint: Name another folder after -o.\n`,
    ]);
    expect(readFileSync(join(path, 'poem.txt'), 'utf8')).toBe('mine');
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    await built(empty);
    const file = await nacre('build', digits, '-o', join(empty, 'train.js', 'inside'));
    expect([file.code, file.err]).toEqual([1, expect.stringMatching(/Could not write .*: part of the path is a file/)]);
    const page = await nacre('build', digits, '-o', join(folder, 'page'), '--web', '--target', 'cuda');
    expect(page.err).toContain('A page cannot train on cuda.');
  });

  it('leaves what was there where it cannot be written', async () => {
    const { output } = await built(join(folder, 'kept'));
    const contents = (): readonly (readonly [string, string])[] =>
      readdirSync(output, { recursive: true, withFileTypes: true }).map((entry) => {
        const path = join(entry.parentPath, entry.name);
        return [path, entry.isFile() ? readFileSync(path, 'base64') : ''];
      });
    const before = contents();
    const trainer = readTrainer(readFileSync(join(output, 'trainer.json')));
    const file = { name: 'init.wasm.gz', bytes: new Uint8Array(4) };
    for (const path of [output, join(folder, 'not there/nor below'), join(folder, 'not there', 'long'.repeat(100))])
      expect(() => writeFolder(path, trainer, [file, { ...file, name: 'long'.repeat(100) }])).toThrow(
        `Could not write ${path}: the name is too long.`,
      );
    expect(contents()).toEqual(before);
    expect(existsSync(join(folder, 'not there'))).toBe(false);
    // What a build that was killed leaves.
    const killed = join(folder, 'killed');
    mkdirSync(join(killed, '.unfinished/runtime'), { recursive: true });
    writeFolder(killed, trainer, [file]);
    expect(readdirSync(killed)).toEqual(['init.wasm.gz', 'trainer.json']);
  });

  it.each(['a whole one', 'a killed one'])(
    'in place by halves, after %s, does not train and is built again',
    (name) => {
      const path = join(folder, `halves after ${name}`);
      const [first, second] = ['first', 'second'].map((word) => ({ name: word, bytes: new Uint8Array(4) }));
      const trainer = { version: trainerVersion, target: 'wasm', samples: 1, plan: {}, programs: {} } as Trainer;
      mkdirSync(path);
      if (name === 'a whole one') writeFolder(path, trainer, [first, { ...first, name: 'gone' }]);
      else mkdirSync(join(path, '.unfinished'));
      // No file is renamed over a folder.
      mkdirSync(join(path, 'second'));
      for (let attempt = 0; attempt < 2; attempt++) {
        expect(() => writeFolder(path, trainer, [first, second])).toThrow(`Could not write ${path}`);
        expect(readdirSync(path)).toEqual(expect.arrayContaining(['.unfinished', 'first']));
        expect(existsSync(join(path, 'trainer.json'))).toBe(false);
      }
      rmSync(join(path, 'second'), { recursive: true });
      writeFolder(path, trainer, [second]);
      expect(readdirSync(path)).toEqual(['second', 'trainer.json']);
    },
  );
});

describe.skipIf(chromium === undefined)('in a browser', () => {
  it.each(['wasm', 'webgpu', 'wasm on threads'])('digits learns to read on %s', { timeout: 240_000 }, async (name) => {
    const [target] = name.split(' ');
    const { output } = await built(
      join(folder, `page-${name.length}`),
      '--web',
      '--target',
      target,
      '--set',
      'epochs=1',
    );
    const server = await serve(output, name.endsWith('threads'));
    const page = await openPage(server.url);
    try {
      await press(page, 'start');
      const status = await ended(page, 200_000);
      expect(status, `${await textOf(page, 'state')} ${page.messages.join()}`).toBe('done');
      expect(Number(await page.evaluate('document.body.dataset.accuracy'))).toBeGreaterThan(0.95);
      expect(await page.evaluate("document.querySelectorAll('#charts svg').length")).toBe(2);
      expect(
        await page.evaluate("document.querySelector('polyline.main').getBoundingClientRect().width"),
      ).toBeGreaterThan(300);
      expect(await page.evaluate("document.querySelector('#weights a').download")).toBe('best.safetensors');
      const picture = join(folder, `${target}.png`);
      await page.screenshot(picture);
      expect(statSync(picture).size).toBeGreaterThan(10_000);
    } finally {
      await page.close();
      server.close();
    }
  });
});

it.skipIf(chromium === undefined)(
  'a page refuses data of another size before it begins',
  { timeout: 60_000 },
  async () => {
    const output = await line(20);
    writeFileSync(join(output, 'line.csv'), rowsOfLine(22));
    writeFileSync(join(output, 'test.csv'), rowsOfLine(20));
    const server = await serve(output);
    const page = await openPage(server.url);
    try {
      await press(page, 'start');
      await ended(page);
      expect(await textOf(page, 'state')).toBe(lacks('step-6-only', 'step-8-only, step-4-only'));
      expect(await page.evaluate("document.querySelectorAll('#charts svg').length")).toBe(0);
    } finally {
      await page.close();
      server.close();
    }
  },
);

describe.skipIf(chromium === undefined)('a page', () => {
  it('goes on from where it was stopped, and gives its weights each time', { timeout: 60_000 }, () =>
    linePage({ csv: 'li#ne?.csv', lines: 'epochs = 3000' }, async (page, output) => {
      const shown = (): Promise<unknown> =>
        page.evaluate(
          "[...document.querySelectorAll('button')].filter(({ hidden }) => !hidden).map(({ id }) => id).join()",
        );
      const offered = (): Promise<unknown> => page.evaluate("document.querySelector('#weights a').download");
      await page.evaluate(`
        const state = document.getElementById('state');
        Object.assign(globalThis, { said: [], stopAt: 5 });
        new MutationObserver(() => {
          said.push(state.textContent);
          if (said.length === stopAt) document.getElementById('stop').click();
        }).observe(state, { childList: true })`);
      await press(page, 'start');
      // What is hidden does nothing.
      await press(page, 'start');
      expect(await ended(page), String(await textOf(page, 'state'))).toBe('interrupted');
      const [, stopped] = /^stopped: step (\d+) /.exec(String(await textOf(page, 'state'))) ?? [];
      expect(await shown()).toBe('start');
      expect(await offered()).toBe(`checkpoint-${stopped}.safetensors`);
      await page.evaluate('Object.assign(globalThis, { said: [], stopAt: 0 }), 0');
      await press(page, 'start');
      expect(await ended(page), String(await textOf(page, 'state'))).toBe('done');
      expect(await page.evaluate("said.find((text) => text?.startsWith('step '))")).toMatch(
        new RegExp(`^step ${Number(stopped) + 1} of 9000 `),
      );
      expect(await shown()).toBe('');
      expect(await offered()).toBe('checkpoint-9000.safetensors');
      const bytes = await page.evaluate(
        "fetch(document.querySelector('#weights a').href).then((answer) => answer.arrayBuffer()).then((all) => [...new Uint8Array(all)])",
      );
      const words = [join(output, 'train.js'), '--threads', '1', '--out', 'whole'];
      expect(spawnSync(process.execPath, words, { cwd: output }).status).toBe(0);
      const there = readFileSync(join(output, 'whole/line-1/checkpoints/000009000.safetensors'));
      expect(Buffer.from(bytes as number[]).equals(there)).toBe(true);
    }),
  );

  it.skipIf(webgpuProblem !== undefined)(
    'draws once what it measures again where its GPU was lost',
    { timeout: 60_000 },
    () =>
      linePage({ target: 'webgpu', lines: 'steps = 12\n  eval_every = 2\n  save every 5' }, async (page) => {
        await page.evaluate(`
          globalThis.devices = [];
          const request = GPUAdapter.prototype.requestDevice;
          GPUAdapter.prototype.requestDevice = async function (...given) {
            devices.push(await request.apply(this, given));
            return devices.at(-1);
          };
          let measured = 0;
          new MutationObserver((records) => {
            measured += records.length;
            if (measured >= 4 && devices.length === 1) devices[0].destroy();
          }).observe(document.body, { attributeFilter: ['data-error'] });`);
        await press(page, 'start');
        expect(await ended(page, 50_000), String(await textOf(page, 'state'))).toBe('done');
        expect(
          await page.evaluate("[devices.length, document.querySelectorAll('#charts circle.other').length]"),
        ).toEqual([2, 6]);
      }),
  );
});

it.skipIf(chromium === undefined)('a page without WebGPU says what to do', { timeout: 60_000 }, async () => {
  const { output } = await built(join(folder, 'no-gpu'), '--web', '--target', 'webgpu');
  const server = await serve(output);
  try {
    for (const [without, said] of [
      ['delete Navigator.prototype.gpu', 'This browser has no WebGPU, or not for this page: it takes a recent'],
      ['navigator.gpu.requestAdapter = async () => null', 'This browser finds no GPU for WebGPU'],
    ]) {
      const page = await openPage(server.url);
      await page.evaluate(without);
      await press(page, 'start');
      await ended(page);
      expect(await textOf(page, 'state')).toMatch(said);
      await page.close();
    }
  } finally {
    server.close();
  }
});

/** Packages by name with all they depend on, as links. */
function linkPackages(names: readonly string[], into: string): void {
  for (const name of names) {
    const to = join(into, 'node_modules', name);
    if (existsSync(to)) continue;
    const from = join(root, 'node_modules', name);
    mkdirSync(resolve(to, '..'), { recursive: true });
    symlinkSync(from, to);
    const { dependencies = {} } = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8'));
    linkPackages(Object.keys(dependencies), into);
  }
}

it('a machine with nothing but Node trains digits in WebAssembly', () => {
  // The package as npm installs it without its optional parts.
  const bare = join(folder, 'bare');
  const { files, dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const name of [...files, 'package.json']) cpSync(join(root, name), join(bare, name), { recursive: true });
  linkPackages(Object.keys(dependencies), bare);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(bare, 'bin/nacre.mjs'), 'train', join(bare, 'examples/digits.model'), '--epochs', '1', '--json'],
    { cwd: folder, encoding: 'utf8', env: { ...process.env, NACRE_LIBLLVM: '/nowhere' } },
  );
  expect(stderr).toContain('Target wasm: WebAssembly.');
  expect(status).toBe(0);
  const done = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  expect(done.accuracy).toBeGreaterThan(0.97);
});

it('a checkout is built where the optional packages, and their types, are absent', { timeout: 60_000 }, () => {
  const bare = join(folder, 'checkout');
  const { include } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8'));
  for (const name of [...include, 'package.json', 'tsconfig.json'])
    cpSync(join(root, name), join(bare, name), { recursive: true });
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  linkPackages([...Object.keys(dependencies), '@types/node', 'webgpu'], bare);
  for (const name of Object.keys(optionalDependencies))
    expect(existsSync(join(bare, 'node_modules', name)), name).toBe(false);
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const { stdout } = spawnSync(process.execPath, [compiler, '-p', bare, '--noEmit'], { encoding: 'utf8' });
  expect(stdout).toBe('');
});
