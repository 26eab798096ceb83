import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve, sep } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { main } from '../../tools/cli/main.ts';
import type { Terminal } from '../../tools/cli/terminal.ts';

let folder = '';
let project = '';
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'nacre-cli-'));
  project = join(folder, 'demo');
  expect((await nacre('new', project)).code).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const nacre = (...argv: string[]): Promise<Ran> => listening(() => {}, ...argv);

/** Runs a command whose reader hears what is written, and may go away. */
async function listening(hear: (text: string, close: () => void) => void, ...argv: string[]): Promise<Ran> {
  const written = { out: '', err: '' };
  let closed = (): void => {};
  const terminal: Terminal = {
    out: (text) => {
      written.out += text;
      hear(text, () => closed());
    },
    whenClosed: (act) => (closed = act),
    err: (text) => void (written.err += text),
    isInteractive: false,
    color: false,
    columns: 80,
  };
  return { code: await main(argv, terminal), ...written };
}

const lines = (text: string): Record<string, unknown>[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line): Record<string, unknown> => JSON.parse(line));
const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const model = (): string => join(project, 'demo.model');

describe('the command line', () => {
  it('shows help, and takes a wrong command for misuse', async () => {
    const help = await nacre('--help');
    expect(help.code).toBe(0);
    for (const command of ['check', 'fmt', 'test', 'train', 'eval', 'ir', 'doctor', 'new'])
      expect(help.out).toContain(`  ${command} `);
    expect((await nacre()).code).toBe(2);
    expect((await nacre('chekc', 'a.model')).err).toContain('Did you mean check?');
    expect((await nacre('train')).code).toBe(2);
    expect((await nacre('train', model(), '--epochs', '1.5')).code).toBe(2);
    expect((await nacre('train', model(), '--target', 'gpu')).code).toBe(2);
    expect((await nacre('check', join(folder, 'none.model'))).code).toBe(2);
    expect((await nacre('train', model(), 'ring')).err).toContain('Did you mean `rings`?');
    expect((await nacre('train', model(), '--set', 'mdel.hidden=8')).err).toContain('Did you mean `model`?');
    expect((await nacre('ir', model(), '--after', 'simplfy')).err).toContain('Did you mean simplify?');
  });

  it('makes a project that is in the one format, and refuses to write over anything', async () => {
    expect((await nacre('fmt', '--check', project)).code).toBe(0);
    const again = await nacre('new', project);
    expect([again.code, again.err]).toEqual([
      2,
      `error: ${project} is there already; a new project gets a new folder.\n`,
    ]);
    expect((await nacre('new', join(folder, '1 2'))).code).toBe(2);
  });

  it('checks files, for people and for programs', async () => {
    expect(await nacre('check', model())).toEqual({ code: 0, out: '1 file checked: nothing wrong.\n', err: '' });
    const bad = file('bad.model', 'fn f(x) = g(x)\n');
    const found = await nacre('check', bad);
    expect(found.code).toBe(1);
    expect(found.err).toContain(`${bad}:1:11`);
    const events = lines((await nacre('check', bad, model(), '--json')).out);
    expect(events[0]).toMatchObject({ event: 'diagnostic', file: bad, line: 1, column: 11 });
    expect(events.at(-1)).toEqual({ event: 'done', files: 2, errors: 1 });
  });

  it('formats files in place, and leaves alone what it cannot read', async () => {
    const ugly = file('ugly.model', 'fn f(x)=x+1\n');
    const broken = file('broken.model', 'fn f(x = 1\n');
    expect((await nacre('fmt', '--check', ugly)).code).toBe(1);
    expect((await nacre('fmt', ugly, broken)).code).toBe(1);
    expect(readFileSync(ugly, 'utf8')).toBe('fn f(x) = x + 1\n');
    expect(readFileSync(broken, 'utf8')).toBe('fn f(x = 1\n');
  });

  it('runs tests', async () => {
    const passing = await nacre('test', model(), '--target', 'reference');
    expect([passing.code, passing.out]).toEqual([
      0,
      'ok    an untrained network guesses\nok    its gradient is right\n2 tests passed, 0 failed.\n',
    ]);
    const failing = await nacre(
      'test',
      file('fail.model', 'test "no" { expect 1 > 2 }\n'),
      '--target',
      'reference',
      '--json',
    );
    expect(failing.code).toBe(1);
    expect(lines(failing.out).map((event) => event['event'])).toEqual(['test', 'done']);
  });

  it('runs what can be run beside what is wrong', async () => {
    const some = join(folder, 'some');
    mkdirSync(some);
    const train = (name: string, target: string): string =>
      `train ${name} {\n  model = Linear{1, 2}\n  data = ${name}d() |> batch(4)\n  loss(x, y) = cross_entropy(model(reshape(x, [4, 1])), y)\n  optimizer = SGD{lr: 0.1}\n  epochs = 1\n}\ndata ${name}d() = generate(8) |> map(x: f32(index), y: ${target})\n`;
    writeFileSync(
      join(some, 'a.model'),
      `use std.layers { Linear }\nuse std.optim { SGD }\n${train('label', 'index')}${train('bad', 'f32(index)')}` +
        'test "label" { train label for 3 steps { loss > 0 } }\n' +
        'test "bad" { train bad for 3 steps { loss > 0 } }\n' +
        'test "large" { expect sum(normal[70000, 70000]) > 0 }\n' +
        'test "good" { expect 2 > 1 }\n',
    );
    writeFileSync(join(some, 'b.model'), 'fn f(x) = g(x)\n');
    const ran = await nacre('test', some, join(folder, 'none.model'), '--target', 'reference', '--json');
    expect(ran.code).toBe(2);
    expect(ran.err).toContain('There is no file or folder');
    const events = lines(ran.out);
    expect(events.at(-1)).toEqual({ event: 'done', passed: 1, failed: 5 });
    const failures = events.map((event) => String(event['failures'] ?? event['message']));
    expect(failures[0]).toMatch(
      /^An index was out of range in .+: \d in .*losses\.model:\d+:\d+, where .* from 0 to 1\.$/,
    );
    expect(failures[1]).toContain('error[');
    expect(failures[2]).toMatch(
      /stdlib.initializers\.model:\d+:\d+: a tensor of type u32\[70000, 70000\] is too large/,
    );
    const trained = await nacre(
      'train',
      join(some, 'a.model'),
      'label',
      '--target',
      'reference',
      '--out',
      join(some, 'runs'),
    );
    expect([trained.code, trained.err]).toEqual([1, expect.stringContaining('In step 1: ')]);
    expect((await nacre('check', some, model(), '--json')).out).toContain('"files":3');
  });

  it('trains, continues and evaluates', async () => {
    const out = join(folder, 'runs');
    const trained = await nacre(
      'train',
      model(),
      '--target',
      'reference',
      '--steps',
      '12',
      '--set',
      'model.hidden=4',
      '--seed',
      '3',
      '--out',
      out,
      '--json',
    );
    expect([trained.code, trained.err.includes('22 parameters')]).toEqual([0, true]);
    const events = lines(trained.out);
    expect(events.filter((event) => event['event'] === 'step')).toHaveLength(12);
    const done = events.at(-1);
    expect(done).toMatchObject({ event: 'done', steps: 12, status: 'done' });
    const run = String(done?.['run']);
    // The run remembers the smaller network and its seed.
    const resumed = await nacre('train', model(), '--target', 'reference', '--steps', '15', '--resume', run, '--json');
    expect(
      lines(resumed.out)
        .filter((event) => event['event'] === 'step')
        .map((event) => event['step']),
    ).toEqual([13, 14, 15]);
    const whole = await nacre(
      'train',
      model(),
      '--target',
      'reference',
      '--steps',
      '15',
      '--set',
      'model.hidden=4',
      '--seed',
      '3',
      '--out',
      out,
      '--json',
    );
    expect(lines(whole.out).at(-1)?.['loss']).toBe(lines(resumed.out).at(-1)?.['loss']);
    const measured = await nacre('eval', model(), run, '--target', 'reference', '--json');
    expect(measured.code).toBe(0);
    expect(lines(measured.out)).toEqual([{ accuracy: expect.closeTo(0.5, 0) }]);
  });

  it('goes on without a state that has no use any more, and not where one is missing', async () => {
    const flags = ['--target', 'reference', '--out', join(folder, 'states')];
    const text = (optimizer: string): string =>
      `use std.layers { Linear }\nuse std.optim { SGD }\ndata d = generate(8) |> map(x: f32(index))\ntrain t {\n  model = Linear{1, 1}\n  data = d() |> batch(4)\n  loss(x) = mean(model(reshape(x, [4, 1])) ^ 2)\n  optimizer = SGD{lr: 1e-3${optimizer}}\n  epochs = 2\n}\n`;
    const [plain, heavy] = [file('plain.model', text('')), file('heavy.model', text(', momentum: 0.9'))];
    const start = async (of: string): Promise<string> => {
      const { out } = await nacre('train', of, ...flags, '--steps', '2', '--json');
      return String(lines(out).at(-1)?.['run']);
    };
    const without = await nacre('train', plain, ...flags, '--resume', await start(heavy));
    expect([without.code, without.err]).toEqual([0, expect.stringContaining('has changed since this run')]);
    const { code, err } = await nacre('train', heavy, ...flags, '--resume', await start(plain));
    expect([code, err]).toEqual([
      1,
      expect.stringContaining(
        'was saved by another model or optimizer: it has no optimizer.velocity.model.weight; it has no optimizer.velocity.model.bias.',
      ),
    ]);
  });

  it('says which line asked for data or weights that are not there', async () => {
    const flags = ['--target', 'reference', '--out', join(folder, 'placed')];
    const text = (data: string, load: string): string =>
      `use std.layers { Linear }\nuse std.optim { SGD }\ntrain t {\n  model = Linear{1, 2}\n  data = ${data} |> batch(4)\n  loss(x, y) = cross_entropy(model(reshape(x, [4, 1])), y)\n  optimizer = SGD{lr: 0.1}\n  epochs = 1\n${load}}\n`;
    const noData = file('nodata.model', text('csv("none.csv", x: "a", y: "b")', ''));
    expect((await nacre('train', noData, ...flags)).err).toContain(`error: ${noData}:5:3: `);
    const made = 'generate(8) |> map(x: f32(index), y: index % 2)';
    const noWeights = file('noweights.model', text(made, '  load "none.safetensors"\n'));
    expect((await nacre('train', noWeights, ...flags)).err).toContain(`error: ${noWeights}:9:3: `);
  });

  it('sets what the language knows and the block leaves out', async () => {
    const flags = ['--target', 'reference', '--out', join(folder, 'set')];
    const trained = await nacre('train', model(), ...flags, '--set', 'steps=3', '--set', 'seed=5');
    expect([trained.code, trained.out]).toEqual([0, expect.stringContaining('step 3 ')]);
    const wrong = await nacre('train', model(), ...flags, '--set', 'stps=3');
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining('Did you mean `steps`?')]);
    expect((await nacre('train', model(), ...flags, '--set', 'steps=0')).code).toBe(1);
  });

  it('continues a stopped run by the command it prints, with all that the run was started with', async () => {
    const wanted = join(folder, 'my data');
    mkdirSync(wanted);
    const out = join(folder, 'my runs');
    const flags = [
      '--target',
      'reference',
      '--steps',
      '30',
      '--set',
      'model.hidden=4',
      '--seed',
      '3',
      '--data',
      wanted,
      '--threads',
      '1',
      '--out',
      out,
    ];
    const whole = await nacre('train', model(), ...flags);
    let seen = 0;
    // The reader goes away after some steps: that asks to stop, and the command fails.
    const stopped = await listening(
      (text, close) => void (text.includes('"step"') && ++seen === 5 && close()),
      'train',
      model(),
      ...flags,
      '--json',
    );
    expect(stopped.code).toBe(1);
    const [, advice = ''] = /to go on: npx nacre (.*)/.exec(stopped.err) ?? [];
    expect(advice).toBe(`train ${model()} rings --resume '${out}${sep}rings-2'`);
    const config = JSON.parse(readFileSync(join(out, 'rings-2', 'config.json'), 'utf8'));
    expect(config.settings).toMatchObject({
      steps: 30,
      seed: 3,
      threads: 1,
      target: 'reference',
      data: [wanted],
      set: ['model.hidden=4'],
    });
    writeFileSync(model(), `${readFileSync(model(), 'utf8')}\n// more\n`);
    const resumed = await nacre('train', model(), 'rings', '--resume', join(out, 'rings-2'));
    expect(resumed.err).toContain('has changed since this run');
    expect(resumed.out.split('\n')[0]).toBe(whole.out.split('\n')[0]);
    expect((await nacre('train', model(), '--resume', join(out, 'rings-2'), '--steps', '31')).out).toContain('step 31');
  });

  it('shows every level, and takes the text of a graph again', async () => {
    for (const stage of ['model', 'tensor', 'loop', 'tile', 'llvm']) {
      const shown = await nacre('ir', model(), '--stage', stage);
      expect([stage, shown.code, shown.out.length > 100]).toEqual([stage, 0, true]);
    }
    const graph = await nacre('ir', model(), '--after', 'none');
    const path = file('step.ir', graph.out);
    expect((await nacre('ir', path, '--after', 'none')).out).toBe(graph.out);
    expect((await nacre('ir', path, '--stage', 'loop')).out).toBe((await nacre('ir', model(), '--stage', 'loop')).out);
    expect((await nacre('ir', file('not.ir', 'nothing of the kind'))).code).toBe(1);
  });

  it('loads nothing native to check or to format', () => {
    const seen = new Set<string>();
    const visit = (path: string): void => {
      if (seen.has(path)) return;
      seen.add(path);
      if (!path.endsWith('.ts')) return;
      for (const [, type, target = ''] of readFileSync(path, 'utf8').matchAll(
        /^(?:import|export)( type)?[^'"]*?from '([^']+)'/gm,
      )) {
        if (type === undefined) visit(target.startsWith('.') ? resolve(dirname(path), target) : target);
      }
    };
    for (const name of ['main', 'check', 'fmt']) visit(resolve(import.meta.dirname, `../../tools/cli/${name}.ts`));
    expect([...seen].filter((path) => path === 'koffi' || path.includes('runtime/devices/'))).toEqual([]);
    expect(seen.has('chevrotain')).toBe(true);
  });

  it('says what the machine has', async () => {
    const found = lines((await nacre('doctor', '--json')).out);
    expect(found.find((finding) => finding['name'] === 'Node')).toMatchObject({
      found: true,
      text: expect.stringContaining(process.version),
    });
    for (const finding of found)
      if (finding['found'] === false && finding['needed'] === true) expect(finding['get']).toBeTypeOf('string');
  });
});
