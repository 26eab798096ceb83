import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { grantFiles } from '../../runtime/files.ts';
import { describeData, openData, type DataPlan, type Dataset } from '../../runtime/index.ts';
import { npy, scratch } from './fake.ts';

const folder = scratch();
const write = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return name;
};
/** New for each use, so that no test sees what another has cached. */
const files = () => grantFiles({ data: [folder] });

/** An IDX file: type byte, dimensions, then the elements' bytes. */
function idx(type: number, dimensions: readonly number[], elements: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * dimensions.length + elements.length);
  const view = new DataView(bytes.buffer);
  bytes[2] = type;
  bytes[3] = dimensions.length;
  dimensions.forEach((size, axis) => view.setUint32(4 + 4 * axis, size));
  bytes.set(elements, 4 + 4 * dimensions.length);
  return bytes;
}

const count = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => i);
const idxOf = (...paths: string[]): DataPlan => ({
  kind: 'idx',
  fields: paths.map((path, i) => ({ name: `f${i}`, path })),
});
const npyOf = (...paths: string[]): DataPlan => ({
  kind: 'npy',
  fields: paths.map((path, i) => ({ name: `f${i}`, path })),
});

/** All values of one field over an epoch. */
async function all(
  plan: DataPlan,
  name: string,
  options: { batch?: number; prefetch?: boolean; epoch?: number; from?: number } = {},
): Promise<number[]> {
  const data = await openData(plan, files(), { batch: 3, ...options });
  try {
    return await collect(data, name, options.epoch ?? 0, options.from ?? 0);
  } finally {
    await data.close();
  }
}

async function collect(data: Dataset, name: string, epoch: number, from = 0): Promise<number[]> {
  const values: number[] = [];
  for await (const batch of data.batches(epoch, from)) values.push(...(batch.fields.get(name) ?? []));
  return values;
}

test('IDX: bytes stay bytes, plain and .gz, in pairs', async () => {
  write('images', idx(8, [5, 2, 2], count(20)));
  write('labels.gz', gzipSync(idx(8, [5], count(5))));
  const plan = idxOf('images', 'labels.gz');
  expect(await describeData(plan, files())).toEqual({
    count: 5,
    fields: [
      { name: 'f0', dtype: 'u8', shape: [2, 2] },
      { name: 'f1', dtype: 'u8', shape: [] },
    ],
  });
  const data = await openData(plan, files(), { batch: 2 });
  const sizes: number[] = [];
  for await (const batch of data.batches(0)) {
    sizes.push(batch.size);
    expect(batch.fields.get('f0')).toBeInstanceOf(Uint8Array);
    expect(batch.fields.get('f0')).toHaveLength(4 * batch.size);
  }
  expect(sizes).toEqual([2, 2, 1]);
  expect(await all(plan, 'f0')).toEqual([...count(20)]);
  expect(await all(plan, 'f1')).toEqual([...count(5)]);
});

test('IDX: other element types are big-endian and come as i32, f32, f64', async () => {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setInt16(0, -300);
  view.setInt16(2, 7);
  write('shorts', idx(0x0b, [2], bytes.slice(0, 4)));
  view.setFloat32(0, 1.5);
  view.setFloat32(4, -2);
  write('floats', idx(0x0d, [2], bytes));
  view.setFloat64(0, 0.1);
  write('doubles', idx(0x0e, [1], bytes));
  write('signed', idx(0x09, [2], Uint8Array.of(255, 1)));
  expect(await all(idxOf('shorts', 'floats', 'signed'), 'f0')).toEqual([-300, 7]);
  expect(await all(idxOf('floats'), 'f0')).toEqual([1.5, -2]);
  expect(await all(idxOf('doubles'), 'f0')).toEqual([0.1]);
  expect(await all(idxOf('signed'), 'f0')).toEqual([-1, 1]);
});

const unsound: [string, Uint8Array, string][] = [
  ['empty', new Uint8Array(0), 'not an IDX file'],
  ['other', new TextEncoder().encode('hello, this is text'), 'not an IDX file'],
  ['bad type', idx(7, [1], count(1)), 'not an IDX file'],
  ['no axes', idx(8, [], count(4)), 'not an IDX file'],
  ['short', idx(8, [5, 2], count(9)), 'should have 22 bytes'],
  ['long', idx(8, [5], count(6)), 'should have 13 bytes'],
  ['huge', idx(0x0e, [2 ** 32 - 1, 2 ** 32 - 1, 9], count(6)), 'more than any file holds'],
  ['big claim', idx(8, [2 ** 31], count(6)), 'should have'],
  ['cut header', idx(8, [1, 2, 3], count(6)).slice(0, 9), 'ends within its header'],
];

test('IDX: every unsound file is refused, plain and inside .gz', async () => {
  for (const [name, bytes, message] of unsound) {
    for (const content of [bytes, gzipSync(bytes)]) {
      const plan = idxOf(write('bad', content));
      await expect(openData(plan, files(), { batch: 1 }), name).rejects.toMatchObject({ name: 'UserError' });
      if (content === bytes) await expect(describeData(plan, files()), name).rejects.toThrow(message);
    }
  }
  const whole = gzipSync(
    idx(
      8,
      [5000],
      new Uint8Array(5000).map((_, i) => (i * 7919) >> 3),
    ),
  );
  for (const cut of [10, 30, whole.length - 4]) {
    await expect(openData(idxOf(write('bad', whole.slice(0, cut))), files(), { batch: 1 })).rejects.toMatchObject({
      code: expect.stringMatching(/data-/),
    });
  }
});

test('a small .gz that inflates without end is stopped by its header', async () => {
  const bomb = gzipSync(idx(8, [10], new Uint8Array(50_000_000)));
  await expect(openData(idxOf(write('bomb.gz', bomb)), files(), { batch: 1 })).rejects.toThrow(
    'inflates to more than the 19 bytes',
  );
});

test('files that do not belong together are told apart by their headers', async () => {
  write('five', idx(8, [5], count(5)));
  write('six', idx(8, [6], count(6)));
  await expect(describeData(idxOf('five', 'six'), files())).rejects.toThrow('five holds 5 samples and six holds 6');
});

test('.npy: element types, byte order, versions', async () => {
  const floats = Float32Array.of(1, 2, 3, 4.5);
  write('a.npy', npy(floats, [2, 2]));
  expect(await describeData(npyOf('a.npy'), files())).toEqual({
    count: 2,
    fields: [{ name: 'f0', dtype: 'f32', shape: [2] }],
  });
  expect(await all(npyOf('a.npy'), 'f0')).toEqual([...floats]);
  const swapped = new Uint8Array(floats.slice().buffer);
  for (let i = 0; i < 16; i += 4) swapped.subarray(i, i + 4).reverse();
  write('b.npy', npy(new Float32Array(swapped.buffer), [4], '>f4'));
  expect(await all(npyOf('b.npy'), 'f0')).toEqual([...floats]);
  const longs = new Float32Array(BigInt64Array.of(-5n, 7n).buffer);
  write('c.npy', npy(longs, [2], '<i8'));
  expect(await all(npyOf('c.npy'), 'f0')).toEqual([-5, 7]);
  expect((await describeData(npyOf('c.npy'), files())).fields[0].dtype).toBe('i32');
  const shorts = new Float32Array(Int16Array.of(-3, 300).buffer);
  write('d.npy', npy(shorts, [2], '<i2'));
  expect(await all(npyOf('d.npy'), 'f0')).toEqual([-3, 300]);
  const version2 = npy(floats, [4]);
  const longer = new Uint8Array(version2.length + 2);
  longer.set(version2.subarray(0, 10));
  longer[6] = 2;
  longer.set(version2.subarray(10), 12);
  write('e.npy', longer);
  expect(await all(npyOf('e.npy'), 'f0')).toEqual([...floats]);
});

test('.npy: what cannot be read is refused with advice', async () => {
  const floats = Float32Array.of(1, 2);
  const patched = (from: string, to: string): Uint8Array =>
    Buffer.from(
      Buffer.from(npy(floats, [2]))
        .toString('latin1')
        .replace(from, to),
      'latin1',
    );
  const cases: [Uint8Array, string][] = [
    [npy(floats, [1], '|O'), 'Python objects'],
    [npy(floats, [2], '<c8'), 'elements of type <c8'],
    [npy(floats, [2], '<U1'), 'elements of type <U1'],
    [npy(floats, [3]), 'should have'],
    [npy(floats, [1]), 'should have'],
    [npy(floats, [2 ** 30, 2 ** 30]), 'should have'],
    [patched("'<f4'", "[('a', '<f4')]"), 'records of several fields'],
    [patched('False', 'True '), 'column by column'],
    [patched('(2,)', '(,) '), 'single number'],
    [patched('(2,)', '(-2)'), 'cannot be read'],
    [npy(floats, [2]).slice(0, 30), 'longer than the file'],
    [count(40), 'not a .npy file'],
    [Uint8Array.from([0x50, 0x4b, 3, 4, ...count(30)]), '.npz'],
    [npy(new Float32Array(BigInt64Array.of(2n ** 40n).buffer), [1], '<i8'), 'does not fit in 32 bits'],
  ];
  for (const [bytes, message] of cases) {
    await expect(openData(npyOf(write('bad.npy', bytes)), files(), { batch: 1 }), message).rejects.toThrow(message);
  }
});

const csv = (path: string, header = true): DataPlan => ({
  kind: 'csv',
  path,
  header,
  columns: header
    ? [
        { name: 'x', columns: ['a', 'b'], dtype: 'f32' },
        { name: 'n', columns: ['n'], dtype: 'i32' },
        { name: 'label', columns: ['kind'], dtype: 'category' },
      ]
    : [{ name: 'x', columns: ['2', '1'], dtype: 'f32' }],
});

test('CSV: columns become fields, categories are numbered in sorted order', async () => {
  write('t.csv', '\ufeffkind,a,b,n\r\ncat,1,2,3\r\n"dog, old",1.5,-2e-3,-7\r\n\r\n"a ""x""",0,0,0\r\n');
  const description = await describeData(csv('t.csv'), files());
  expect(description.count).toBe(3);
  expect(description.fields).toEqual([
    { name: 'x', dtype: 'f32', shape: [2] },
    { name: 'n', dtype: 'i32', shape: [] },
    { name: 'label', dtype: 'i32', shape: [] },
  ]);
  expect(description.categories?.get('label')).toEqual(['a "x"', 'cat', 'dog, old']);
  expect(await all(csv('t.csv'), 'x')).toEqual([1, 2, 1.5, Math.fround(-2e-3), 0, 0]);
  expect(await all(csv('t.csv'), 'label')).toEqual([1, 2, 0]);
  write('plain.csv', '1,2\n3,4\n');
  expect(await all(csv('plain.csv', false), 'x')).toEqual([2, 1, 4, 3]);
});

test('CSV: errors say file:row:column', async () => {
  const head = 'kind,a,b,n\n';
  const cases: [string, string][] = [
    [`${head}cat,1,x,3\n`, 'bad.csv:2:3: "x" is not a number (column "b")'],
    [`${head}cat,1,2,3\n\n"two\nlines",1,,3\n`, 'bad.csv:4:3: an empty cell is not a number (column "b")'],
    [`${head}cat,1,2,3.5\n`, 'bad.csv:2:4: 3.5 is not a whole number'],
    [`${head}cat,1,2,3000000000\n`, 'bad.csv:2:4'],
    [`${head}cat,1,NaN,3\n`, 'bad.csv:2:3: "NaN" is not a number'],
    [`${head}cat,1,2\n`, 'bad.csv:2: this row has 3 cells; the first has 4'],
    [`${head}"cat,1,2,3\n`, 'a quote is opened and never closed'],
    [`${head}c"at,1,2,3\n`, 'bad.csv:2: a quote stands in the middle of a cell'],
    ['kind,a,c,n\n', 'has no column "b", which the field `x` is read from; it has kind, a, c, n'],
    ['kind,a,b,b,n\n', 'two columns named "b"'],
    ['', 'is empty'],
  ];
  for (const [text, message] of cases) {
    await expect(describeData(csv(write('bad.csv', text)), files()), text).rejects.toThrow(message);
  }
});

const text = (path: string, length: number, stride: number): DataPlan => ({
  kind: 'text',
  path,
  length,
  stride,
  input: 'x',
  target: 'y',
});

test('text: vocabulary by code point, windows and the same one character later', async () => {
  write('t.txt', 'hällo wörld 🙂!');
  const description = await describeData(text('t.txt', 4, 3), files());
  const vocabulary = [' ', '!', 'd', 'h', 'l', 'o', 'r', 'w', 'ä', 'ö', '🙂'];
  expect(description).toEqual({
    count: 4,
    vocabulary,
    fields: [
      { name: 'x', dtype: 'i32', shape: [4] },
      { name: 'y', dtype: 'i32', shape: [4] },
    ],
  });
  const read = async (name: string): Promise<string> =>
    (await all(text('t.txt', 4, 3), name)).map((id) => vocabulary[id]).join('');
  expect(await read('x')).toBe('häll' + 'lo w' + 'wörl' + 'ld 🙂');
  expect(await read('y')).toBe('ällo' + 'o wö' + 'örld' + 'd 🙂!');
  await expect(describeData(text('t.txt', 14, 1), files())).rejects.toThrow('need 15');
  await expect(describeData(text(write('latin', Uint8Array.of(0x68, 0xe4)), 1, 1), files())).rejects.toThrow('UTF-8');
});

test('generate: the fields are the sample numbers', async () => {
  const plan: DataPlan = { kind: 'generate', count: 7, index: 'i' };
  expect(await describeData(plan, files())).toEqual({ count: 7, fields: [{ name: 'i', dtype: 'i32', shape: [] }] });
  expect(await all(plan, 'i')).toEqual([0, 1, 2, 3, 4, 5, 6]);
  await expect(describeData({ ...plan, count: 0 }, files())).rejects.toMatchObject({ code: 'data-count' });
});

const numbers = (n: number): DataPlan => ({ kind: 'generate', count: n, index: 'i' });
const shuffle = (of: DataPlan, seed = 1): DataPlan => ({ kind: 'shuffle', of, seed });
const slice = (of: DataPlan, start: number, end: number): DataPlan => ({ kind: 'slice', of, start, end });

test('the parts of a split are disjoint, complete and the same in every epoch, also of a shuffle', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 4, max: 60 }),
      fc.integer({ min: 1, max: 9 }),
      fc.boolean(),
      async (n, tenths, shuffled) => {
        const base = shuffled ? shuffle(numbers(n)) : numbers(n);
        const cut = tenths / 10;
        const train = shuffle(slice(base, 0, cut));
        const held = slice(base, cut, 1);
        const parts = async (plan: DataPlan, epoch: number): Promise<number[]> =>
          (await describeData(plan, files())).count === 0 ? [] : all(plan, 'i', { epoch });
        const [a, b, c] = [await parts(train, 0), await parts(train, 1), await parts(held, 5)];
        expect([...a, ...c].sort((x, y) => x - y)).toEqual([...Array(n).keys()]);
        expect(new Set(b)).toEqual(new Set(a));
        expect(c).toEqual(await parts(held, 0));
      },
    ),
    { numRuns: 60, seed: 1 },
  );
});

test('an epoch can be taken up at any batch', async () => {
  const plan = shuffle(numbers(23));
  for (const batch of [1, 4, 23, 40]) {
    const whole = await all(plan, 'i', { batch, epoch: 2 });
    expect(whole).not.toEqual(await all(plan, 'i', { batch, epoch: 3 }));
    for (let from = 0; from * batch < 23; from++) {
      expect(await all(plan, 'i', { batch, epoch: 2, from })).toEqual(whole.slice(from * batch));
    }
  }
});

test('take, the batch stage and dropped batches', async () => {
  expect(await all({ kind: 'take', of: numbers(9), count: 4 }, 'i')).toEqual([0, 1, 2, 3]);
  expect(await all({ kind: 'take', of: numbers(3), count: 4 }, 'i')).toEqual([0, 1, 2]);
  expect(await all({ kind: 'batch', of: numbers(5), size: 2, last: 'drop' }, 'i')).toEqual([0, 1, 2, 3]);
  await expect(openData({ kind: 'batch', of: numbers(1), size: 2, last: 'drop' }, files())).rejects.toThrow(
    'fewer than one batch',
  );
  await expect(openData(shuffle({ kind: 'batch', of: numbers(5), size: 2, last: 'keep' }), files())).rejects.toThrow(
    'batch has to be the last stage',
  );
  await expect(openData(slice(numbers(5), 0.5, 0.5), files(), { batch: 1 })).rejects.toMatchObject({
    code: 'data-empty',
  });
});

test.runIf(existsSync('dist/runtime/data/prefetch-worker.js'))('a worker thread gives the same batches', async () => {
  const big = new Float32Array(40 * 300).map((_, i) => i);
  write('big.npy', npy(big, [40, 300]));
  write('number.npy', npy(Float32Array.from(count(40)), [40]));
  const plan = shuffle(npyOf('big.npy', 'number.npy'));
  const data = await openData(plan, files(), { batch: 7, prefetch: true });
  expect(data.prefetching).toBe(true);
  for (const [epoch, from] of [
    [0, 0],
    [1, 3],
    [1, 0],
  ]) {
    for (const name of ['f0', 'f1'])
      expect(await collect(data, name, epoch, from)).toEqual(
        await all(plan, name, { batch: 7, epoch, from, prefetch: false }),
      );
  }
  // Stopping early leaves nothing behind that the next iteration could trip over.
  for await (const batch of data.batches(2)) if (batch.index === 1) break;
  expect(await collect(data, 'f1', 2)).toEqual(await all(plan, 'f1', { batch: 7, epoch: 2, prefetch: false }));
  await data.close();
  // A worker that is gone costs speed only.
  expect(await collect(data, 'f1', 2)).toEqual(await all(plan, 'f1', { batch: 7, epoch: 2, prefetch: false }));
});
