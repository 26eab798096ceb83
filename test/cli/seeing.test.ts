/** `ir`, `plan` and `explain` on a small model: what they print holds, and the page stands in a real browser. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseModelTree } from '../../compiler/elaborate/model-text.ts';
import { emitLlvm } from '../../compiler/targets/llvm/step.ts';
import { describeCpu, openCpuSession } from '../../runtime/devices/cpu.ts';
import { nacre } from '../support/nacre.ts';
import { passes } from '../../compiler/optimize/index.ts';
import { analyzeTrain } from '../../tools/driver/analysis.ts';
import { asTrained } from '../../tools/driver/compact.ts';
import { openProject } from '../../tools/driver/project.ts';

const chromium = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
);
const native = (await describeCpu()).problem === undefined;
const root = join(import.meta.dirname, '../..');
const example = (name: string): string => join(root, 'examples', `${name}.model`);

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'nacre-seeing-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('nacre ir', () => {
  it('shows what a pass changed, with and without the others', async () => {
    const diff = await nacre('ir', example('rings'), '--diff', 'merge-common');
    expect(diff.code).toBe(0);
    expect(diff.out).toMatch(/^\/\/ merge-common: .+\n\/\/ \d+ operations before, \d+ after: [1-9]\d* gone, 0 new/);
    expect(diff.out).toContain('\n-   %');
    const left = await nacre('ir', example('rings'), '--diff', 'merge-common', '--without', 'merge-common');
    expect([left.code, left.err]).toEqual([2, expect.stringContaining('left out')]);
    expect((await nacre('ir', example('rings'), '--without', 'simplfy')).err).toContain('Did you mean simplify?');
    const none = await nacre('ir', example('rings'), '--after', 'none');
    expect((await nacre('ir', example('rings'), '--only', '')).out).toBe(none.out);
  });

  it('shows what fusion made of which operations, and what a pass changed in kernels', async () => {
    const fused = await nacre('ir', example('rings'), '--diff', 'fuse');
    const [, before, after] =
      /^\/\/ fuse: .+\n\/\/ (\d+) kernels if every operation is one, (\d+) after/.exec(fused.out) ?? [];
    const count = (text: string): number => text.match(/^ +kernel /gm)?.length ?? 0;
    const [apart, whole] = await Promise.all([
      nacre('ir', example('rings'), '--without', 'fuse', '--stage', 'loop'),
      nacre('ir', example('rings'), '--stage', 'loop'),
    ]);
    expect([count(apart.out), count(whole.out)]).toEqual([Number(before), Number(after)]);
    expect(Number(before)).toBeGreaterThan(3 * Number(after));
    expect(fused.out.match(/^\+ kernel /gm)?.length).toBeLessThanOrEqual(Number(after));
    const kernels = await nacre('ir', example('rings'), '--stage', 'loop', '--diff', 'remove-dead');
    expect(kernels.out).toMatch(
      /^\/\/ remove-dead: .+\n\/\/ \d+ kernels before, \d+ after: 0 gone, 0 new, \d+ the same\n$/,
    );
    const merged = await nacre('ir', example('rings'), '--stage', 'loop', '--diff', 'merge-common');
    expect(merged.out).toMatch(/\n- kernel k\d+[^]*\n\+ kernel k\d+/);
    const only = await nacre('ir', example('rings'), '--only', 'fuse', '--stage', 'loop');
    expect(only.out).toBe((await nacre('ir', example('rings'), '--only', '', '--stage', 'loop')).out);
    for (const [option, name, what] of [
      ['--diff', 'schedule', 'Loop IR to Tile IR: loops, vectors and work items for this machine.'],
      ['--without', 'plan-memory', 'Gives every temporary its place in the arena.'],
      ['--only', 'emit', 'Tile IR to LLVM text.'],
    ] as const)
      expect((await nacre('ir', example('rings'), option, name)).err).toBe(
        `error: ${name} cannot be left out or compared: every program needs it. ${what}\nhint: --after ${name} shows what it leaves.\n`,
      );
  });

  it('reads attention back at every level, and says where it was fused for machines of another kind', async () => {
    const attention = (rows: number): string => {
      const path = join(folder, `attention-${rows}.model`);
      writeFileSync(
        path,
        `use std.attention { TransformerBlock }
use std.optim { SGD }
data points = generate(4) |> map(x: f32(index))
model Net {
  block = TransformerBlock{8, 2}
  (x: f32[B]) -> f32[B, ${rows}, 8] {
    let z[b, t in 0..${rows}, d in 0..8] = sin(x[b] + f32(t * d))
    block(z)
  }
}
train net {
  model = Net{}
  data = points() |> batch(2)
  loss(x) = mean(model(x) ^ 2)
  optimizer = SGD{lr: 0.1}
  epochs = 1
}
`,
      );
      return path;
    };
    const read = async (text: string, stage: string) => {
      const path = join(folder, 'attention.ir');
      writeFileSync(path, text);
      return nacre('ir', path, '--stage', stage);
    };
    // In one block, and in several.
    for (const rows of [16, 96])
      for (const stage of ['tile', 'llvm']) {
        const { out } = await nacre('ir', attention(rows), '--stage', stage);
        expect((await read((await nacre('ir', attention(rows), '--stage', 'loop')).out, stage)).out).toBe(out);
      }
    const whole = (await nacre('ir', attention(96), '--after', 'fuse', '--stage', 'wgsl')).out;
    expect((await read(whole, 'wgsl')).out).toBe((await nacre('ir', attention(96), '--stage', 'wgsl')).out);
    expect((await read(whole, 'tile')).code).toBe(0);
    expect((await read((await nacre('ir', attention(96), '--stage', 'loop')).out, 'wgsl')).err).toBe(
      `error: This program has a chain that was made for machines of another kind than wgsl.
hint: Start from the model or from tensor text: its chains are made anew there.
`,
    );
  });

  it('stops after any pass or step, and goes on from there', async () => {
    const at = async (...options: string[]): Promise<string> => (await nacre('ir', example('rings'), ...options)).out;
    const [loop, tile, llvm] = [await at('--stage', 'loop'), await at('--stage', 'tile'), await at('--stage', 'llvm')];
    expect(await at('--after', 'fuse')).toBe(loop);
    expect(await at('--after', 'plan-memory')).toBe(tile);
    expect(await at('--after', 'emit')).toBe(llvm);
    expect(await at('--after', 'emit', '--stage', 'wgsl')).toBe(await at('--stage', 'wgsl'));
    const scheduled = await at('--after', 'schedule');
    expect([scheduled, tile].map((text) => / temporary @ \d+$/m.test(text))).toEqual([false, true]);
    const path = join(folder, 'scheduled.ir');
    writeFileSync(path, scheduled);
    expect((await nacre('ir', path, '--stage', 'tile')).out).toBe(tile);
    expect((await nacre('ir', path, '--stage', 'llvm')).out).toBe(llvm);
    // A workgroup of a GPU where the processor has vectors.
    expect(await at('--after', 'schedule', '--stage', 'wgsl')).toMatch(/ workgroup thread in 64 /);
    expect((await at('--passes', '--after', 'schedule')).trimEnd().split('\n').at(-1)).toMatch(/^schedule /);
    expect((await nacre('ir', path, '--after', 'fuse')).err).toContain('This is text of the tile level: --after fuse');
  });

  it.each([
    [['--after', 'nonsense'], /^error: There is no pass nonsense\.\nhint: Passes are none, simplify, .*, emit\.\n$/],
    [['--after', 'plan-memroy'], /hint: Did you mean plan-memory\?/],
    [['--after', 'fuse', '--stage', 'tile'], /What fuse leaves is the loop level, not tile/],
    [['--after', 'emit', '--stage', 'tensor'], /What emit leaves is the llvm level, not tensor/],
    [['--after', 'schedule', '--bitcode', 'no.bc'], /Bitcode is of the llvm level/],
    [['--diff', 'simplify', '--stage', 'tile'], /in operations or in kernels, not in tile/],
    [['--diff', 'simplify', '--passes'], /--diff compares before and after one pass; --passes/],
    [['--diff', 'simplify', '--format', 'svg'], /--diff is written as text or json, not as svg/],
    [['--passes', '--stage', 'model'], /the model is what was written/],
  ])('a command that asks for what is not there is refused: %j', async (options, problem) => {
    const { code, out, err } = await nacre('ir', example('rings'), ...options);
    expect([code, out, err]).toEqual([2, '', expect.stringMatching(problem)]);
  });

  it('takes text of a program as it is, and refuses what only a model or a graph can be asked', async () => {
    const path = join(folder, 'kernels.ir');
    const { out } = await nacre('ir', example('rings'), '--stage', 'loop');
    writeFileSync(path, out);
    expect((await nacre('ir', path)).out).toBe(out);
    for (const [words, said] of [
      [['--only', 'simplify'], 'This is text of the loop level: --only is about what comes before it.'],
      [['--without', 'fuse'], 'This is text of the loop level: --without is about what comes before it.'],
      [['--program', 'eval'], '--program is about a .model file, and this is text of a program'],
      [['--set', 'model.x=3', '--data', folder], '--set and --data are about a .model file'],
    ] as const) {
      const { code, err } = await nacre('ir', path, ...words);
      expect([code, err]).toEqual([2, expect.stringContaining(said)]);
    }
  });

  it('writes what passes did and what they changed as data', async () => {
    const json = async (...options: string[]): Promise<unknown> =>
      JSON.parse((await nacre('ir', example('rings'), ...options, '--format', 'json')).out);
    const text = async (...options: string[]): Promise<string> => (await nacre('ir', example('rings'), ...options)).out;
    const rows = (await text('--passes')).trimEnd().split('\n');
    expect(await json('--passes')).toEqual(
      rows.map((row) => {
        const [, before, after] = / (\d+) → (\d+) operations /.exec(row) ?? [];
        return {
          pass: row.split(' ')[0],
          doc: expect.any(String),
          milliseconds: expect.any(Number),
          ...(before !== undefined && { operations: { before: Number(before), after: Number(after) } }),
        };
      }),
    );
    const graph = await json('--diff', 'merge-common');
    const [, ...counts] =
      /(\d+) operations before, (\d+) after: (\d+) gone, (\d+) new, (\d+) changed/.exec(
        await text('--diff', 'merge-common'),
      ) ?? [];
    const [before, after, gone, added, changed] = counts.map(Number);
    expect(graph).toMatchObject({ pass: 'merge-common', operations: { before, after, gone, new: added, changed } });
    const { lines } = graph as { lines: { mark: string; text: string }[] };
    expect(lines.filter(({ mark, text }) => mark !== '+' && text.startsWith('  %')).length).toBeGreaterThan(after);
    for (const options of [
      ['--diff', 'merge-common', '--stage', 'loop'],
      ['--diff', 'fuse'],
    ]) {
      const { replaced } = (await json(...options)) as Record<'replaced', Record<'gone' | 'new', { text: string }[]>[]>;
      const marked = (mark: string, { text }: { text: string }): string => text.replaceAll(/^/gm, `${mark} `);
      const listed = replaced.flatMap((one) => [
        ...one.gone.map((kernel) => marked('-', kernel)),
        ...one.new.map((kernel) => marked('+', kernel)),
      ]);
      expect((await text(...options)).split('\n').slice(2).join('\n')).toBe(`${listed.join('\n')}\n`);
    }
  });

  it('lists passes with the time each took here', async () => {
    const { out } = await nacre('ir', example('rings'), '--passes', '--without', 'fold-constants');
    const names = out
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' ')[0]);
    expect(names.slice(0, 2)).toEqual(['simplify', 'insert-casts']);
    expect(names.slice(-4)).toEqual(['fuse', 'schedule', 'plan-memory', 'emit']);
    expect(names).not.toContain('fold-constants');
    expect(out).toMatch(/^simplify +[\d.]+ ms +\d+ → \d+ operations +\S/);
  });

  it('writes json, dot and svg', async () => {
    const json = JSON.parse((await nacre('ir', example('rings'), '--format', 'json')).out);
    const text = (await nacre('ir', example('rings'))).out;
    expect(json.nodes).toHaveLength(
      text.split('\n').filter((line) => /^ {2}%.* = (?!batch|param|state|scalar)/.test(line)).length,
    );
    const loop = JSON.parse((await nacre('ir', example('rings'), '--stage', 'loop', '--format', 'json')).out);
    expect(loop.steps[0]).toMatchObject({
      phase: expect.any(String),
      flops: expect.any(Number),
      text: expect.stringContaining('kernel'),
    });
    const { out: dot } = await nacre('ir', example('rings'), '--format', 'dot');
    expect(dot).toMatch(/subgraph cluster_\d+ \{\n +label="model/);
    const { out: svg } = await nacre('ir', example('rings'), '--format', 'svg');
    expect(svg.startsWith('<svg')).toBe(true);
    expect(svg.match(/<g id="node/g)).toHaveLength(dot.match(/^ +"[^"]+" \[/gm)?.length ?? 0);
    expect((await nacre('ir', example('rings'), '--stage', 'tile', '--format', 'svg')).err).toContain(
      'pictures of the tensor and the loop level',
    );
    const { out: kernels } = await nacre('ir', example('rings'), '--stage', 'loop', '--format', 'dot');
    const names = [...(await nacre('ir', example('rings'), '--stage', 'loop')).out.matchAll(/^ +kernel (\w+)/gm)];
    expect(names.length).toBeGreaterThan(2);
    for (const [, name] of names) expect(kernels).toContain(`"${name}" [label="${name}\\n`);
    expect(kernels).toMatch(/"k\d+" -> "k\d+" \[label="f32\[/);
  });

  it('and the others say what the cpu target has no code for', async () => {
    const path = join(folder, 'double.model');
    const text = readFileSync(example('rings'), 'utf8');
    writeFileSync(path, text.replace(/(loss\([^)]*\) = )(.*)$/m, '$1f32(sin(f64($2)))'));
    for (const command of [
      ['ir', path, '--stage', 'llvm'],
      ['ir', path, '--passes'],
      ['plan', path],
      ['explain', path, '-o', join(folder, 'no.html')],
    ]) {
      const { code, err } = await nacre(...command);
      expect([command[0], code, err]).toEqual([
        command[0],
        1,
        expect.stringContaining('computes in f64, which the cpu target does not'),
      ]);
    }
  });

  it('prints the model so that it reads back', async () => {
    const { out } = await nacre('ir', example('rings'), '--stage', 'model');
    expect(parseModelTree(out)).not.toHaveProperty('problem');
  });
});

describe('nacre plan', () => {
  it('adds up', async () => {
    const { code, out } = await nacre('plan', example('digits'), '--json', '--batch', '32', '--threads', '2');
    expect(code).toBe(0);
    const plan = JSON.parse(out);
    expect(plan).toMatchObject({ train: 'reader', batch: 32, parameters: 101_770 });
    const { peak, ...parts } = plan.memory;
    expect(peak).toBe(Object.values<number>(parts).reduce((sum, bytes) => sum + bytes, 0));
    expect(parts.parameters).toBe(4 * 101_770);
    // Adam keeps two numbers for each weight.
    expect(parts.states).toBe(2 * parts.parameters);
    // Forward 2·32·(784·128 + 128·10), as much again for the weights' gradients, and the first gradient of the last layer.
    const [step] = plan.programs.filter(({ kind }: { kind: string }) => kind === 'step');
    expect(step.flops).toBeGreaterThan(2 * 32 * (2 * 784 * 128 + 3 * 128 * 10));
    const text = (await nacre('plan', example('digits'), '--threads', '2')).out;
    expect(text).toContain('reader of');
    expect(text).toMatch(/peak +[\d.]+ MiB/);
  });

  it.each([
    ['SGD{lr: 0.1}', 0],
    ['SGD{lr: 0.1, momentum: 0.9}', 4],
  ])('counts for %s %i bytes of state for each weight', async (optimizer, bytes) => {
    const file = join(folder, 'states.model');
    writeFileSync(
      file,
      readFileSync(example('digits'), 'utf8')
        .replace(/^  optimizer = .*$/m, `  optimizer = ${optimizer}`)
        .replace('{ Adam }', '{ SGD }'),
    );
    const { code, out } = await nacre('plan', file, '--json', '--threads', '2');
    expect([code, JSON.parse(out).memory.states]).toEqual([0, bytes * 101_770]);
  });

  const shared = join(root, '../shared/data');
  /** Train blocks of the examples, with the data and the batches they are planned for. */
  const blocks: readonly (readonly [string, string, number, string?])[] = [
    ['digits', 'reader', 64],
    ['digits', 'reader', 500],
    ['sequence', 'adder', 64],
    ['rings', 'rings', 200],
    ['mnist', 'mlp', 100, 'mnist'],
    ['convnet', 'convnet', 64, 'mnist'],
    ['chars', 'gpt', 32, 'shakespeare'],
    ['distill', 'distilled', 64, 'mnist'],
    ['distill', 'alone', 64, 'mnist'],
    ['finetune', 'pretrain', 64, 'mnist'],
    ['finetune', 'even_or_odd', 64, 'mnist'],
    ['prune', 'sparse', 64, 'mnist'],
    ['prune', 'ticket', 64, 'mnist'],
    ['quantize', 'int8', 64, 'mnist'],
    ['quantize', 'int4', 64, 'mnist'],
    ['quantize', 'aware', 64, 'mnist'],
    ['slim', 'slim', 64, 'mnist'],
  ];
  const dataProblem = (data: string | undefined): string | undefined =>
    data === undefined || existsSync(join(shared, data)) ? undefined : `the data ${data} are not here`;

  it.runIf(native).for(blocks)(
    'foretells the memory that training %s %s in batches of %i allocates within a tenth',
    async ([name, block, batch, data], { skip }) => {
      skip(dataProblem(data) !== undefined, dataProblem(data));
      const project = await openProject(example(name), data === undefined ? {} : { data: [join(shared, data)] });
      const runnable = asTrained(await project.train(block));
      const { programs, memory } = await analyzeTrain(runnable, { threads: 2, batch, predict: false });
      const session = await openCpuSession({ threads: 2 });
      for (const {
        stages: { tile },
      } of programs) {
        const { parts, scratch } = emitLlvm(tile);
        await session.load({ name: tile.name, llvm: parts, scratch, buffers: tile.buffers, arena: tile.arena });
      }
      const ratio = memory.peak / session.allocated();
      session.close();
      expect([ratio > 0.9 && ratio < 1.1, ratio]).toEqual([true, ratio]);
    },
  );

  it.for(blocks.filter(([name]) => ['mnist', 'convnet', 'chars'].includes(name)))(
    'mixed precision halves most of what the forward pass of %s leaves for the backward pass',
    async ([name, block, batch, data = ''], { skip }) => {
      skip(dataProblem(data) !== undefined, dataProblem(data));
      const [plain, mixed] = await Promise.all(
        ['', '  precision = mixed(bf16)\n'].map(async (line) => {
          const file = join(folder, `${name}${line.length}.model`);
          writeFileSync(
            file,
            readFileSync(example(name), 'utf8').replace(/^ {2}optimizer = /m, `${line}  optimizer = `),
          );
          const project = await openProject(file, { data: [join(shared, data)] });
          const runnable = await project.train(block);
          expect(runnable.block.precision === undefined).toBe(line === '');
          const { programs } = await analyzeTrain(runnable, { threads: 2, batch, predict: false });
          return programs.find(({ kind }) => kind === 'step')?.analysis.activations ?? NaN;
        }),
      );
      expect(mixed).toBeLessThanOrEqual(0.6 * plain);
    },
  );
});

describe('a plan for another machine', () => {
  const device = {
    version: 1,
    processor: 'Another',
    capabilities: {
      vectorLanes: 4,
      vectorRegisters: 16,
      workgroupThreads: 1,
      subgroupThreads: 1,
      nearMemory: 32768,
      cache: 262144,
      units: 3,
      smallestElement: 1,
      halvesApart: false,
      dtypes: ['f32', 'i32', 'u32', 'bool'],
      dotsBytes: false,
    },
    machine: {
      threads: 3,
      contraction: 2e9,
      cycles: { functions: 1e9, rest: 1e9, multiply: 1e9, beside: 1e9 },
      bandwidth: [{ within: 1e6, rate: 1e10 }],
      launch: 1e-6,
      meeting: 1e-6,
      call: 1e-5,
      between: 1e-5,
      gather: 1e9,
    },
  };

  it('takes what it can do and reaches from a file', async () => {
    const path = join(folder, 'another.json');
    writeFileSync(path, JSON.stringify(device));
    const { code, out } = await nacre('plan', example('rings'), '--device', path);
    expect(code).toBe(0);
    expect(out).toMatch(/predicted, on 3 threads that reach 2.00 GFLOP\/s and 10.0 GB\/s/);
    const fast = {
      ...device,
      machine: { ...device.machine, cycles: { functions: 1e12, rest: 1e12, multiply: 1e12, beside: 1e12 } },
    };
    writeFileSync(path, JSON.stringify(fast));
    const seconds = async (file: string): Promise<number> =>
      JSON.parse((await nacre('plan', example('rings'), '--device', file, '--json')).out).seconds;
    const slow = join(folder, 'slow.json');
    writeFileSync(slow, JSON.stringify(device));
    expect(await seconds(slow)).toBeGreaterThan(2 * (await seconds(path)));
  });

  it.each([
    ['is no description of a machine: it is not valid JSON', '{'],
    ['its version is missing or wrong', JSON.stringify({ ...device, version: 2 })],
    [
      'its cache is missing or wrong',
      JSON.stringify({ ...device, capabilities: { ...device.capabilities, cache: 'x' } }),
    ],
    ['its bandwidth is missing or wrong', JSON.stringify({ ...device, machine: { ...device.machine, bandwidth: [] } })],
  ])('refuses a file: %s', async (problem, text) => {
    const path = join(folder, 'wrong.json');
    writeFileSync(path, text);
    const { code, err } = await nacre('plan', example('rings'), '--device', path);
    expect([code, err]).toEqual([1, expect.stringContaining(problem)]);
    expect(err).toContain(`nacre doctor --save ${path}`);
  });

  it.runIf(native)('which doctor writes', async () => {
    const path = join(folder, 'this.json');
    expect((await nacre('doctor', '--save', path)).out).toContain(path);
    expect((await nacre('plan', example('rings'), '--device', path)).code).toBe(0);
  });
});

describe('nacre explain', () => {
  it('writes one page that needs nothing else', async () => {
    const path = join(folder, 'pages', 'rings.html');
    const { code, out } = await nacre('explain', example('rings'), '-o', path);
    expect([code, out]).toEqual([0, expect.stringContaining(path)]);
    const page = readFileSync(path, 'utf8');
    expect(page).not.toMatch(/<script|<link|<img|@import|url\(|(?:src|href)="(?!#)/);
    const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    const links = new Set([...page.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id));
    expect([...links].filter((id) => !ids.includes(id))).toEqual([]);
    expect(page).toContain('<mark>');
    expect((await nacre('explain', example('rings'))).code).toBe(2);
  });

  it('says what passes did, what was rounded, pruned, quantized and computed again', async () => {
    const file = join(folder, 'asked.model');
    writeFileSync(
      file,
      `use std.layers { Linear }
use std.optim { SGD }
use std.pruning { magnitude }
data points() = generate(64) |> map(x: f32(index) / 64)
model Net {
  up = Linear{1, 64}
  middle = Linear{64, 64}
  down = Linear{64, 1}
  (x: f32[B]) -> f32[B] = reshape(x, [B, 1]) |> up |> relu |> middle |> relu |> down |> reshape([B])
}
train t {
  model = Net{}
  precision = mixed(bf16)
  checkpoint model.middle
  prune model.middle.weight with magnitude{sparsity: 0.5}
  quantize model.down.weight to int4 weights group 8
  data = points() |> batch(32)
  loss(x) = mean_squared_error(model(x), x)
  optimizer = SGD{lr: 0.1}
  epochs = 1
}
`,
    );
    const path = join(folder, 'asked.html');
    expect((await nacre('explain', file, '-o', path)).code).toBe(0);
    const page = readFileSync(path, 'utf8');
    for (const pass of passes) expect(page).toContain(`<td><code>${pass.name}</code></td>`);
    expect(page).toMatch(/<td><code>model.middle.weight<\/code><\/td><td><code>bf16\[64, 64\]/);
    expect(page).toMatch(
      /operand of a product<\/td><td>products: a contraction of two tensors [^<]*<small>nearly all of the arithmetic/,
    );
    expect(page).toMatch(
      /<td><code>model.middle.weight<\/code><\/td><td><code>magnitude{sparsity: 0.5}<\/code><\/td><td>elements, by a mask/,
    );
    expect(page).toMatch(/<td><code>model.down.weight<\/code><\/td><td>int4, a scale for 8 rows of a column/);
    expect(page).toContain('<code>model.middle</code>.');
  });

  it.runIf(native)('measures every kernel', async () => {
    const path = join(folder, 'measured.html');
    expect((await nacre('explain', example('digits'), '--run', '--threads', '2', '-o', path)).code).toBe(0);
    const page = readFileSync(path, 'utf8');
    const kernels = page.match(/<details id="kernel-/g)?.length ?? 0;
    expect(kernels).toBeGreaterThan(3);
    expect(page.match(/<dt>measured<\/dt>/g)).toHaveLength(kernels + 1);
  });

  it.runIf(chromium !== undefined)('stands in a browser, wide and narrow', { timeout: 60_000 }, async () => {
    const path = join(folder, 'seen.html');
    expect((await nacre('explain', example('digits'), '-o', path)).code).toBe(0);
    // The page has no script; this copy says what the browser made of it.
    const measure = `<script>
      document.querySelectorAll('details').forEach((details) => { details.open = true; });
      const box = (element) => element.getBoundingClientRect();
      const found = {
        wider: document.documentElement.scrollWidth - innerWidth,
        sections: [...document.querySelectorAll('section')].filter((section) => box(section).height > 40).length,
        pictures: [...document.querySelectorAll('svg')].map((svg) => Math.round(box(svg).width) * Math.round(box(svg).height) > 1000),
        kernels: [...document.querySelectorAll('[id^=kernel-]')].filter((kernel) => box(kernel).height > 60).length,
        boxes: document.querySelectorAll('.memory .box rect').length,
        colours: new Set([...document.querySelectorAll('.timeline rect')].map((rect) => getComputedStyle(rect).fill)).size,
      };
      // No window of this browser is as narrow as a telephone.
      document.body.style.width = '340px';
      found.spills = [...document.querySelectorAll('.columns')].filter((grid) => grid.scrollWidth > grid.clientWidth).length;
      document.title = 'seen ' + JSON.stringify(found);
    </script></body>`;
    const copy = join(folder, 'copy.html');
    writeFileSync(copy, readFileSync(path, 'utf8').replace('</body>', measure));
    for (const width of [1180, 480]) {
      const dom = execFileSync(
        chromium ?? '',
        [
          '--headless',
          '--no-sandbox',
          '--disable-gpu',
          '--disable-quic',
          '--no-first-run',
          '--disable-background-networking',
          '--disable-component-update',
          '--disable-sync',
          `--user-data-dir=${mkdtempSync(join(folder, 'browser-'))}`,
          `--window-size=${width},900`,
          '--dump-dom',
          pathToFileURL(copy).href,
        ],
        { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], timeout: 30_000, maxBuffer: 1 << 26 },
      );
      const [, text = 'null'] = /<title>seen (.*?)<\/title>/.exec(dom) ?? [];
      const seen = JSON.parse(text);
      expect([width, seen]).toEqual([
        width,
        {
          wider: expect.any(Number),
          sections: 9,
          pictures: [true, true, true],
          kernels: expect.any(Number),
          boxes: expect.any(Number),
          colours: 3,
          spills: 0,
        },
      ]);
      expect(seen.wider).toBeLessThanOrEqual(0);
      expect(seen.kernels).toBeGreaterThan(3);
      expect(seen.boxes).toBeGreaterThan(3);
    }
  });
});
