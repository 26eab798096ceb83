/** The programming interface: what docs/api.md shows, in Node and from a built folder. */
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import { compile, DeviceError, load, ModelError, type TypedArray, UserError } from '../../tools/api/index.ts';
import { nacre } from '../support/nacre.ts';
import { block, data, points, source } from './inside.ts';

const root = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'nacre-api-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const targets = [
  'wasm',
  'reference',
  ...((await describeCpu()).problem === undefined ? (['cpu'] as const) : []),
] as const;

const on = { data, target: 'wasm', threads: 1 } as const;

describe.each(targets)('on %s', (target) => {
  it('does in order what is asked for at once', async () => {
    /** What comes of calls that each wait for the one before, or of all of them at once. */
    const results = async (waits: boolean): Promise<unknown[]> => {
      const model = await compile(block('accumulate 2'), { data, target, threads: 2, seed: 3 });
      const point = (at: number) => ({ dtype: 'f32', shape: [1, 2], data: Float32Array.of(at, -at) }) as const;
      const calls: (() => Promise<unknown>)[] = [
        ...[1, 2, 3, 4, 5].map((seed) => () => model.step(points(32, seed))),
        ...[1, 2, 3].map((at) => () => model.infer(point(at))),
        () => model.save(),
        () => model.step(points(16, 6)),
        ...[7, 8].map((seed) => () => model.evaluate(points(100, seed))),
        () => model.read('model.up.weight'),
        () => model.write('model.up.weight', new Float32Array(32)),
        () => model.read('model.up.weight'),
      ];
      const given: Promise<unknown>[] = [];
      for (const call of calls) {
        given.push(call());
        if (waits) await given.at(-1);
      }
      const all = await Promise.all(given);
      expect(model.steps).toBe(3);
      model.close();
      return all;
    };
    expect(await results(false)).toEqual(await results(true));
  });

  it('goes on after a call that failed, and closes when what was asked for is done', async () => {
    const model = await compile(source, { data, target, threads: 2, seed: 3 });
    const given = [
      model.step(points(64, 1)),
      model.step({ x: new Float32Array(7), y: new Int32Array(4) }),
      model.step(points(64, 2)),
    ];
    model.close();
    given.push(model.step(points(64, 3)));
    const settled = await Promise.allSettled(given);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
    await expect(given[1]).rejects.toThrow('`x` has 7 elements');
    await expect(given[3]).rejects.toThrow('The session is closed.');
    expect(model.steps).toBe(2);
    for (const late of [
      () => model.evaluate(points(64, 1)),
      () => model.infer({ dtype: 'f32', shape: [1, 2], data: new Float32Array(2) }),
      () => model.read('model.up.weight'),
      () => model.write('model.up.weight', new Float32Array(32)),
      () => model.save(),
    ])
      await expect(late()).rejects.toThrow('The session is closed.');
    model.close();
  });

  it('learns step by step, gives its weights and takes others, and answers', async () => {
    const model = await compile(source, { data, target, threads: 2, seed: 3 });
    const first = await model.step(points(64, 1));
    for (let step = 2; step <= 150; step++) await model.step(points(64, step));
    const last = await model.step(points(64, 151));
    expect(last.loss).toBeLessThan(first.loss / 2);
    expect(model.steps).toBe(151);
    expect((await model.evaluate(points(1000, 7))).accuracy).toBeGreaterThan(0.9);
    const x = Float32Array.of(0, 0, 0.95, 0.95, -0.9, 0.8);
    const [logits] = await model.infer({ dtype: 'f32', shape: [3, 2], data: x });
    expect(logits).toMatchObject({ dtype: 'f32', shape: [3, 2] });
    expect([0, 1, 2].map((at) => Number(logits.data[2 * at + 1] > logits.data[2 * at]))).toEqual([1, 0, 0]);
    const bias = await model.read('model.down.bias');
    await model.write('model.down.bias', Float32Array.of(bias[0], bias[1] + 100));
    const [moved] = await model.infer({ dtype: 'f32', shape: [3, 2], data: x });
    expect(moved.data[1]).toBeCloseTo(logits.data[1] + 100, 3);
    expect((await model.save()).length).toBeGreaterThan(4 * (2 * 16 + 16 + 16 * 2 + 2));
    model.close();
  });
});

it('answers for shape after shape, with what it gave before left as it was', async () => {
  const model = await compile(source, { data, target: 'wasm', threads: 2, seed: 3 });
  const { x } = points(12, 1);
  const answers: { readonly given: TypedArray; readonly then: TypedArray }[] = [];
  for (const round of [0, 1])
    for (let count = 1; count <= 12; count++) {
      const [{ data: given }] = await model.infer({ dtype: 'f32', shape: [count, 2], data: x.slice(0, 2 * count) });
      if (round === 0) answers.push({ given, then: given.slice() });
      else expect(given).toEqual(answers[count - 1].then);
      await model.evaluate(points(count, 2));
    }
  for (const { given, then } of answers) expect(given).toEqual(then);
  model.close();
});

it('says where the tensor comes from that there is no room for', async () => {
  const model = await compile(source, { data, target: 'wasm', threads: 1 });
  await expect(model.infer({ dtype: 'f32', shape: [1e8, 2], data: new Float32Array(0) })).rejects.toThrow(
    /^inside\.model needs 7629 MiB, and WebAssembly has in all 4096 MiB\. Its largest buffer is v\d+: f32\[100000000, 16\], 6104 MiB, what model\.up computes at stdlib\/layers\.model:\d+:\d+\.$/,
  );
  model.close();
});

it('says what is wrong', async () => {
  await expect(compile(source.replace('Linear{2, hidden}', 'Linear{3, hidden}'), { data })).rejects.toThrow(ModelError);
  await expect(compile(source.replace('Linear{2, hidden}', 'Linear{3, hidden}'), { data })).rejects.toThrow('model:');
  // A block that could not be read is not one that is not there.
  for (const text of [source.replace('train inside {', 'train inside'), 'hello'])
    await expect(compile(text, { data })).rejects.toThrow('error[unexpected-token]');
  await expect(compile('', { data })).rejects.toThrow('The text has no train block.');
  const model = await compile(source, { data, target: 'wasm', threads: 1 });
  // @ts-expect-error: types say it too.
  await expect(model.step({ x: new Float32Array(8) })).rejects.toThrow('The batch has no `y`; it needs x, y.');
  await expect(model.step({ x: new Float32Array(7), y: new Int32Array(4) })).rejects.toThrow(DeviceError);
  await expect(model.step({ x: new Float32Array(8), y: new Int32Array(3) })).rejects.toThrow(
    '`y` has 3 elements, which are not 4 samples of 1.',
  );
  await expect(model.infer({ dtype: 'f32', shape: [1, 2], data: new Float32Array(2) }, 'teacher')).rejects.toThrow(
    'no model `teacher`',
  );
  const wide = model.infer({ dtype: 'f32', shape: [1, 5], data: new Float32Array(5) });
  await expect(wide).rejects.toThrow(ModelError);
  await expect(wide).rejects.toThrow(/model = Net\{\}\n.*this is f32\[1, 5\]/);
  model.close();
});

it('says what is wrong with its arguments, without types too', async () => {
  const refused = async (act: () => Promise<unknown>, ...words: readonly string[]): Promise<void> => {
    const error: unknown = await act().then(
      () => 'nothing',
      (thrown: unknown) => thrown,
    );
    expect(error instanceof UserError || error instanceof DeviceError, String(error)).toBe(true);
    for (const word of words) expect(String(error)).toContain(word);
  };
  const wrongly = compile as (source: unknown, options: object) => ReturnType<typeof compile>;
  const opened = load as (folder: unknown, options?: object) => ReturnType<typeof load>;
  await refused(() => wrongly(undefined, on), 'The text of the model has to be a string.');
  await refused(() => wrongly(source, { ...on, target: 'gpu' }), 'There is no target gpu: take auto, cpu,');
  for (const shape of [2, [-1], [1.5], [0], undefined])
    await refused(() => wrongly(source, { ...on, data: { ...data, x: { dtype: 'f32', shape } } }), 'The shape of `x`');
  await refused(() => wrongly(source, { ...on, data: { ...data, x: { dtype: 'float', shape: [2] } } }), 'f32, f16');
  await refused(() => wrongly(source, { ...on, files: { a: 'b' } }), 'The file a of `files`');
  await refused(() => wrongly(source, { ...on, files: null }), '`files` has to be a plain object.');
  await refused(() => wrongly(source, { ...on, files: new Map() }), '`files` has to be a plain object.');
  await refused(() => wrongly(source, { ...on, data: null }), '`data` has to be a plain object.');
  for (const train of [5, null]) await refused(() => wrongly(source, { ...on, train }), '`train` has to be a string.');
  for (const seed of [-1, 1.5, NaN, 2 ** 53, '1']) {
    const words = `\`seed\` is ${seed}: it has to be a whole number, at least 0.`;
    await refused(() => wrongly(source, { ...on, seed }), words);
    await refused(() => opened(folder, { seed }), words);
  }
  for (const threads of [0, 1.5, NaN, -1]) {
    const words = `\`threads\` is ${threads}: it has to be a whole number, at least 1.`;
    await refused(() => wrongly(source, { ...on, threads }), words);
    await refused(() => opened(folder, { threads }), words);
  }
  await refused(() => wrongly(source, { ...on, traget: 'cpu' }), 'There is no option `traget`; there are train, data,');
  await refused(() => opened(folder, { target: 'cpu' }), 'There is no option `target`; there are threads, seed,');
  await refused(() => opened(folder, null as unknown as object), 'The options have to be an object.');
  const twice = `${source}${source.slice(source.indexOf('train inside')).replace('inside', 'again')}`;
  await expect(compile(twice, { data })).rejects.toMatchObject({
    message: 'The text has 2 train blocks: inside, again.',
    hint: "Say which: `compile(text, { train: 'inside' })`.",
  });
  await refused(() => opened(new URL('http://127.0.0.1/digits')), 'http://127.0.0.1/digits is no folder');
  for (const address of ['http://127.0.0.1/digits', 'file://server/share', 'file:///tmp/a%2Fb'])
    await refused(() => opened(address), `${address} is no folder`);
  await refused(() => opened('file:/nowhere/digits'), 'There is no trainer.json in /nowhere/digits:');
  await refused(() => opened(undefined), 'The folder has to be a string or a URL.');
  const model = await compile(source, on);
  const { step, evaluate, infer, write } = model as unknown as Record<
    string,
    (...given: unknown[]) => Promise<unknown>
  >;
  await refused(() => step(), 'There is no batch; it needs x, y.');
  await refused(() => evaluate(null), 'There is no batch; it needs x, y.');
  for (const x of [5, null, [1, 2]])
    await refused(() => step({ x, y: new Int32Array(1) }), '`x` of the batch has to be a typed array');
  await refused(() => infer(), 'The dtype of input 1 is undefined');
  await refused(() => infer([{ dtype: 'f32', shape: [1.5, 2], data: new Float32Array(3) }]), 'The shape of input 1');
  await refused(() => infer({ dtype: 'f32', shape: [1, 2] }), 'The data of input 1 has to be a typed array');
  await refused(() => write('model.up.weight'), 'What is written to model.up.weight has to be a typed array');
  expect(model.steps).toBe(0);
  model.close();
});

it('opens what nacre build wrote', async () => {
  const output = join(folder, 'digits');
  expect((await nacre('build', join(root, 'examples/digits.model'), '-o', output)).code).toBe(0);
  const model = await load(output, { threads: 1 });
  const index = Int32Array.from({ length: 64 }, (_, at) => at);
  const first = await model.step({ index });
  for (let step = 0; step < 20; step++) await model.step({ index });
  expect((await model.step({ index })).loss).toBeLessThan(first.loss / 2);
  await expect(model.step({ index: index.slice(0, 63) })).rejects.toThrow('has no program step-63-only');
  model.close();
  (await load(pathToFileURL(output).href, { threads: 1 })).close();
  await expect(load(join(folder, 'nowhere'))).rejects.toThrow('is that a folder that nacre build wrote?');
  rmSync(join(output, 'trainer.json'));
  symlinkSync('trainer.json', join(output, 'trainer.json'));
  await expect(load(output)).rejects.toThrow(
    `Could not read trainer.json in ${output}: it is a link, or links go round in a circle.`,
  );
});

it('knows the fields of generated data, in batches and not', async () => {
  const model = await compile(readFileSync(join(root, 'examples/rings.model'), 'utf8'), { target: 'wasm', threads: 1 });
  const index = Int32Array.from({ length: 64 }, (_, at) => at);
  await model.step({ index });
  expect((await model.evaluate({ index })).accuracy).toBeGreaterThan(0);
  model.close();
});

it('begins with the weights that a load line names, and says where they are missing', async () => {
  const taught = await compile(source, on);
  await taught.step(points(64, 1));
  const bytes = await taught.save();
  const text = block('load "taught.safetensors"');
  const model = await compile(text, { ...on, files: { 'taught.safetensors': bytes } });
  expect(await model.read('model.up.weight')).toEqual(await taught.read('model.up.weight'));
  [taught, model].forEach((one) => one.close());
  await expect(compile(text, on)).rejects.toThrow('There is no file taught.safetensors in `files`.');
});

it('prunes, accumulates and quantizes as the block says, or says that it does not', async () => {
  const use = 'use std.pruning { magnitude, channels }\n';
  const pruned = await compile(
    use.replace(', channels', '') + block('prune model.up.weight with magnitude{sparsity: 0.5}'),
    on,
  );
  await pruned.step(points(64, 1));
  const zeros = [...(await pruned.read('model.up.weight'))].filter((value) => value === 0);
  expect(zeros).toHaveLength((await pruned.read('model.up.weight')).length / 2);
  const summing = await compile(block('accumulate 2'), on);
  const before = await summing.read('model.up.weight');
  await summing.step(points(64, 1));
  expect([summing.steps, await summing.read('model.up.weight')]).toEqual([0, before]);
  await summing.step(points(64, 2));
  expect(summing.steps).toBe(1);
  expect(await summing.read('model.up.weight')).not.toEqual(before);
  [pruned, summing].forEach((one) => one.close());
  const columns = use.replace('magnitude, ', '') + block('prune model.up.weight with channels{keep: 0.5}');
  await expect(compile(columns, on)).rejects.toThrow('removes columns, which is decided before it is compiled');
  await expect(compile(block('quantize *.weight to int8 calibrate 2'), on)).rejects.toThrow('calibrates on its data');
});

it('opens a built block without some of its columns, with the weights that are left', async () => {
  const path = join(folder, 'slim.model');
  const text = readFileSync(join(root, 'examples/rings.model'), 'utf8');
  writeFileSync(
    path,
    `use std.pruning { channels }\n${text.replace('  epochs = 5\n', '  prune model.fc1.weight with channels{keep: 0.5}\n  epochs = 5\n')}`,
  );
  const output = join(folder, 'slim');
  expect((await nacre('build', path, '-o', output)).code).toBe(0);
  const model = await load(output, { threads: 1 });
  const weight = await model.read('model.fc1.weight');
  expect(weight).toHaveLength(2 * 16);
  expect(weight.every((value) => value !== 0)).toBe(true);
  await expect(model.evaluate({ index: new Int32Array(200) }, 'nope')).rejects.toThrow(
    'has no evaluation nope; it has eval.',
  );
  model.close();
});

it('loads a built block with the weights that its lines name, from `files` or else from the folder', async () => {
  const rings = readFileSync(join(root, 'examples/rings.model'), 'utf8');
  const taught = await compile(rings, { target: 'wasm', threads: 1 });
  await taught.step({ index: Int32Array.from({ length: 64 }, (_, at) => at) });
  const [bytes, weight] = [await taught.save(), await taught.read('model.fc1.weight')];
  taught.close();
  const path = join(folder, 'taught.model');
  writeFileSync(path, rings.replace('  epochs = 5\n', '  load "taught.safetensors"\n  epochs = 5\n'));
  const output = join(folder, 'taught');
  expect((await nacre('build', path, '-o', output)).code).toBe(0);
  const read = async (files?: Readonly<Record<string, Uint8Array>>) => {
    const model = await load(output, { threads: 1, ...(files && { files }) });
    const found = await model.read('model.fc1.weight');
    model.close();
    return found;
  };
  expect(await read({ 'taught.safetensors': bytes })).toEqual(weight);
  await expect(read()).rejects.toThrow(
    `taught.model:33:3: There is no file taught.safetensors in \`files\` or in ${output}.`,
  );
  writeFileSync(join(output, 'taught.safetensors'), bytes);
  expect(await read()).toEqual(weight);
});
