import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UserError } from '../../runtime/errors.ts';
import { grantFiles } from '../../runtime/files.ts';
import type { ElementType, LoadRule, TypedArray } from '../../runtime/program.ts';
import { encodeWeights, readTensor, readWeightsHeader, type WeightsHeader } from '../../runtime/safetensors.ts';
import { applyLoadRules } from '../../runtime/weights.ts';
import { scratch } from './fake.ts';

const folder = scratch();
const files = grantFiles({ data: [folder] });

/** The bytes of a file with this header text and as many bytes of data. */
function raw(header: string | Uint8Array, data = 0, length?: bigint): Uint8Array {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + data);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

function headerOf(bytes: Uint8Array, name = 'w.safetensors'): WeightsHeader {
  writeFileSync(join(folder, name), bytes);
  const file = files.open(name);
  try {
    return readWeightsHeader(file);
  } finally {
    file.close();
  }
}

const tensor = (shape: string, begin: string | number, end: string | number, dtype = '"F32"'): string =>
  `{"dtype":${dtype},"shape":${shape},"data_offsets":[${begin},${end}]}`;

const hostile: [string, Uint8Array, RegExp][] = [
  ['fewer than 8 bytes', Uint8Array.of(1, 2, 3), /fewer than the 8/],
  ['empty', new Uint8Array(0), /fewer than the 8/],
  ['length beyond the file', raw('{}', 0, 3n), /more than the file has/],
  ['length of 100 MB and more', raw('{}', 0, 100_000_001n), /at most 100000000/],
  ['length of 2^64 - 1', raw('{}', 0, 2n ** 64n - 1n), /at most 100000000/],
  ['length with high bits only', raw('{}', 0, 2n ** 53n), /at most 100000000/],
  ['no header', raw(''), /start with "\{"/],
  ['a list', raw('[]'), /start with "\{"/],
  ['space first', raw(' {}'), /start with "\{"/],
  ['bad UTF-8', raw(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d)), /not UTF-8/],
  ['lone surrogate', raw(`{"\\ud800":${tensor('[1]', 0, 4)}}`, 4), /a string was expected/],
  ['cut JSON', raw('{"a":'), /not valid JSON/],
  ['text after the header', raw('{}x'), /not valid JSON/],
  ['comma at the end', raw(`{"a":${tensor('[1]', 0, 4)},}`, 4), /not valid JSON/],
  ['duplicate tensor', raw(`{"a":${tensor('[1]', 0, 4)},"a":${tensor('[1]', 4, 8)}}`, 8), /"a" twice/],
  ['duplicate by escape', raw(`{"a":${tensor('[1]', 0, 4)},"\\u0061":${tensor('[1]', 4, 8)}}`, 8), /"a" twice/],
  ['duplicate entry', raw('{"a":{"dtype":"F32","dtype":"F64","shape":[1],"data_offsets":[0,4]}}', 4), /"dtype" twice/],
  ['duplicate metadata', raw('{"__metadata__":{"a":"1","a":"2"}}'), /"a" twice/],
  ['overlap', raw(`{"a":${tensor('[2]', 0, 8)},"b":${tensor('[2]', 4, 12)}}`, 12), /overlap/],
  ['same place', raw(`{"a":${tensor('[2]', 0, 8)},"b":${tensor('[2]', 0, 8)}}`, 8), /overlap/],
  ['hole', raw(`{"a":${tensor('[1]', 0, 4)},"b":${tensor('[1]', 8, 12)}}`, 12), /hole of 4 bytes before tensor "b"/],
  ['hole at the start', raw(`{"a":${tensor('[1]', 4, 8)}}`, 8), /hole of 4/],
  ['bytes after the last tensor', raw(`{"a":${tensor('[1]', 0, 4)}}`, 5), /1 bytes follow/],
  ['bytes without tensors', raw('{}', 1), /1 bytes follow/],
  ['data cut short', raw(`{"a":${tensor('[2]', 0, 8)}}`, 7), /tensors end at byte/],
  ['end before begin', raw(`{"a":${tensor('[1]', 8, 4)}}`, 8), /ends before it begins/],
  ['negative offset', raw(`{"a":${tensor('[1]', -4, 0)}}`), /whole number/],
  ['fractional size', raw(`{"a":${tensor('[1.5]', 0, 6)}}`, 6), /JSON|whole number/],
  ['exponent', raw(`{"a":${tensor('[1e0]', 0, 4)}}`, 4), /JSON|whole number/],
  ['number above 2^53', raw(`{"a":${tensor('[9007199254740993]', 0, 4)}}`, 4), /whole number/],
  ['number of 20 digits', raw(`{"a":${tensor('[18446744073709551616]', 0, 0)}}`), /whole number/],
  ['leading zero', raw(`{"a":${tensor('[01]', 0, 4)}}`, 4), /JSON|whole number/],
  ['shape and bytes differ', raw(`{"a":${tensor('[3]', 0, 8)}}`, 8), /needs 12 bytes and has 8/],
  ['product overflow', raw(`{"a":${tensor('[4294967296,4294967296,4]', 0, 0)}}`), /impossible shape/],
  ['product overflow to zero', raw(`{"a":${tensor('[4611686018427387904,4]', 0, 0)}}`), /whole number|impossible/],
  ['half bytes', raw(`{"a":${tensor('[3]', 0, 1, '"F4"')}}`, 1), /impossible shape/],
  ['unknown type', raw(`{"a":${tensor('[1]', 0, 4, '"F33"')}}`, 4), /unknown type "F33"/],
  ['type of the prototype', raw(`{"a":${tensor('[1]', 0, 4, '"toString"')}}`, 4), /unknown type/],
  [
    'empty tensor at the place of another',
    raw(`{"a":${tensor('[0]', 0, 0)},"b":${tensor('[1]', 0, 4)}}`, 4),
    /overlap/,
  ],
  ['many empty tensors', raw(`{"a":${tensor('[0]', 0, 0)},"b":${tensor('[0]', 0, 0)}}`), /overlap/],
  ['metadata number', raw('{"__metadata__":{"a":1}}'), /"a" is not a string/],
  ['metadata list', raw('{"__metadata__":[]}'), /JSON/],
  ['name __proto__', raw(`{"__proto__":${tensor('[1]', 0, 4)}}`, 4), /forbidden name "__proto__"/],
  ['name constructor', raw(`{"constructor":${tensor('[1]', 0, 4)}}`, 4), /forbidden name/],
  ['empty name', raw(`{"":${tensor('[1]', 0, 4)}}`, 4), /forbidden name/],
  ['NUL in a name', raw(`{"a\\u0000b":${tensor('[1]', 0, 4)}}`, 4), /forbidden name/],
  ['no dtype', raw('{"a":{"shape":[1],"data_offsets":[0,4]}}', 4), /lacks/],
  ['three offsets', raw('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,2,4]}}', 4), /lacks/],
  ['unknown entry', raw('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}', 4), /unknown entry "x"/],
  ['null tensor', raw('{"a":null}'), /not valid JSON/],
  ['nested shape', raw(`{"a":${tensor('[[1]]', 0, 4)}}`, 4), /JSON|whole number/],
  ['100,000 brackets', raw(`{"a":${'['.repeat(100_000)}}`), /not valid JSON/],
  ['65 axes', raw(`{"a":${tensor(`[${Array(65).fill(1).join(',')}]`, 0, 4)}}`, 4), /65 axes/],
];

test('every hostile file is refused with a sentence, quickly', () => {
  for (const [name, bytes, message] of hostile) {
    const start = performance.now();
    expect(() => headerOf(bytes), name).toThrow(UserError);
    expect(() => headerOf(bytes), name).toThrow(message);
    expect(performance.now() - start, name).toBeLessThan(1000);
  }
});

test('formats that can run code are refused, whatever the file is called', () => {
  const zip = Uint8Array.from([0x50, 0x4b, 3, 4, ...new Uint8Array(40)]);
  const pickle = Uint8Array.from([0x80, 2, 0x7d, 0x71, 0, 0x58, 1, 0, 0, 0, 0x61]);
  for (const [name, bytes] of [
    ['a.pt', zip],
    ['a.safetensors', zip],
    ['b.safetensors', pickle],
    ['c.pkl', raw('{}')],
    ['d.bin', pickle],
  ] as const) {
    expect(() => headerOf(bytes, name), name).toThrow(
      expect.objectContaining({ code: 'weights-unsafe', hint: expect.stringContaining('save_file') }),
    );
  }
});

test('a header of 100,000 tensors is read in linear time, and one long string does not overflow', () => {
  const entries = Array.from({ length: 100_000 }, (_, i) => `"t${i}":${tensor('[1]', i, i + 1, '"U8"')}`);
  const start = performance.now();
  expect(headerOf(raw(`{${entries.join(',')}}`, 100_000)).tensors.size).toBe(100_000);
  expect(performance.now() - start).toBeLessThan(5000);
  const long = 'x'.repeat(30_000_000);
  expect(headerOf(raw(`{"__metadata__":{"a":"${long}"}}`)).metadata.get('a')).toHaveLength(long.length);
});

test('mutated files are read within their bounds or refused, never anything else', () => {
  const good = Buffer.concat(
    encodeWeights(
      [
        { field: { name: 'a', dtype: 'f32', shape: [2, 2] }, data: Float32Array.of(1, 2, 3, 4) },
        { field: { name: 'b.c', dtype: 'u8', shape: [3] }, data: Uint8Array.of(1, 2, 3) },
      ],
      new Map([['format', 'x']]),
    ),
  );
  const mutation = fc.array(fc.record({ at: fc.nat(good.length - 1), to: fc.nat(255) }), {
    minLength: 1,
    maxLength: 4,
  });
  const file = (bytes: Uint8Array) => ({
    shown: 'fuzzed',
    size: bytes.length,
    close() {},
    read(position: number, length: number) {
      if (position < 0 || length < 0 || position + length > bytes.length) throw new Error('read outside the file');
      return bytes.slice(position, position + length);
    },
  });
  fc.assert(
    fc.property(mutation, fc.nat(good.length), (changes, cut) => {
      const bytes = Uint8Array.from(good);
      for (const { at, to } of changes) bytes[at] = to;
      for (const variant of [bytes, bytes.slice(0, cut)]) {
        try {
          const input = file(variant);
          for (const stored of readWeightsHeader(input).tensors.values())
            if (stored.dtype !== undefined) readTensor(input, stored, stored.dtype);
        } catch (error) {
          if (!(error instanceof UserError)) throw error;
        }
      }
    }),
    { numRuns: 5000, seed: 1 },
  );
});

test('what is written is read back: types, names, metadata, order', () => {
  const tensors: { name: string; dtype: ElementType; shape: number[]; data: TypedArray }[] = [
    { name: 'z', dtype: 'u8', shape: [3], data: Uint8Array.of(1, 2, 255) },
    { name: 'b "quoted" ü', dtype: 'f32', shape: [2, 2], data: Float32Array.of(1, -0, NaN, 3e38) },
    { name: 'a', dtype: 'f32', shape: [], data: Float32Array.of(7) },
    { name: '0', dtype: 'bf16', shape: [2], data: Uint16Array.of(0x3f80, 0xc000) },
    { name: 'i', dtype: 'i32', shape: [1], data: Int32Array.of(-5) },
    { name: 'd', dtype: 'f64', shape: [1], data: Float64Array.of(0.1) },
    { name: 'f', dtype: 'bool', shape: [2], data: Uint8Array.of(0, 1) },
  ];
  const metadata = new Map([
    ['step', '3'],
    ['__proto__', 'x'],
  ]);
  const chunks = encodeWeights(
    tensors.map(({ data, ...field }) => ({ field, data })),
    metadata,
  );
  writeFileSync(join(folder, 'round.safetensors'), Buffer.concat(chunks));
  const file = files.open('round.safetensors');
  const header = readWeightsHeader(file);
  expect([...header.tensors.keys()]).toEqual(['d', 'a', 'b "quoted" ü', 'i', '0', 'f', 'z']);
  expect(header.metadata).toEqual(metadata);
  for (const { name, dtype, shape, data } of tensors) {
    const stored = header.tensors.get(name);
    if (stored === undefined) throw new Error(`${name} is missing`);
    expect(stored.shape).toEqual(shape);
    expect(readTensor(file, stored, dtype)).toEqual(data);
  }
  const narrow = header.tensors.get('0');
  if (narrow === undefined) throw new Error('0 is missing');
  expect(readTensor(file, narrow, 'f32')).toEqual(Float32Array.of(1, -2));
  expect(() => readTensor(file, narrow, 'i32')).toThrow('without loss');
  expect(chunks[0].length % 8).toBe(0);
  file.close();
});

test('f16 widens exactly', () => {
  const halves = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x03ff, 0x7bff, 0x7c00, 0xfc00, 0x8000, 0x7e00);
  writeFileSync(
    join(folder, 'h.safetensors'),
    Buffer.concat(encodeWeights([{ field: { name: 'h', dtype: 'f16', shape: [9] }, data: halves }], new Map())),
  );
  const file = files.open('h.safetensors');
  const stored = readWeightsHeader(file).tensors.get('h');
  if (stored === undefined) throw new Error('h is missing');
  expect([...readTensor(file, stored, 'f32')]).toEqual([
    1,
    -2,
    2 ** -24,
    1023 * 2 ** -24,
    65504,
    Infinity,
    -Infinity,
    -0,
    NaN,
  ]);
  file.close();
});

const parameters = (shapes: Record<string, number[]>) =>
  Object.entries(shapes).map(([name, shape]) => ({ name, dtype: 'f32' as const, shape }));
const load = (shapes: Record<string, number[]>, rules: LoadRule[] = []) => [
  { path: 'w.safetensors', tensors: new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape }])), rules },
];
const placed = (...args: Parameters<typeof applyLoadRules>): Record<string, string> =>
  Object.fromEntries(applyLoadRules(...args).map(({ tensor: name, parameter }) => [name, parameter]));

test('load rules: by name, renamed with wildcards, skipped, fresh', () => {
  expect(placed(load({ a: [2] }), parameters({ a: [2] }))).toEqual({ a: 'a' });
  expect(
    placed(
      load({ 'bert.layer.0.query.weight': [4], 'bert.layer.1.key.weight': [4], 'cls.bias': [9] }, [
        { kind: 'map', from: 'bert.layer.*.{query, key}.*', to: 'encoder.*.attention.*.*' },
        { kind: 'skip', from: 'cls.*' },
        { kind: 'fresh', to: 'head.*' },
      ]),
      parameters({
        'encoder.0.attention.query.weight': [4],
        'encoder.1.attention.key.weight': [4],
        'head.weight': [1],
        'head.bias': [1],
      }),
    ),
  ).toEqual({
    'bert.layer.0.query.weight': 'encoder.0.attention.query.weight',
    'bert.layer.1.key.weight': 'encoder.1.attention.key.weight',
  });
  // The first rule that matches decides.
  expect(
    placed(
      load({ a: [1], b: [1] }, [
        { kind: 'map', from: 'a', to: 'x' },
        { kind: 'map', from: '*', to: 'y' },
      ]),
      parameters({ x: [1], y: [1] }),
    ),
  ).toEqual({ a: 'x', b: 'y' });
  // Two files fill one model.
  expect(placed([...load({ a: [1] }), ...load({ b: [1] })], parameters({ a: [1], b: [1] }))).toEqual({
    a: 'a',
    b: 'b',
  });
});

const mistakes: [string, ReturnType<typeof load>, ReturnType<typeof parameters>, RegExp][] = [
  [
    'left over',
    load({ a: [1], 'fc2.weight': [1] }),
    parameters({ a: [1], 'fc3.weight': [1] }),
    /"fc2.weight" of w.safetensors is left over.*nearest parameter is fc3.weight/,
  ],
  [
    'unfilled',
    load({ a: [1], wieght: [1] }),
    parameters({ a: [1], weight: [1] }),
    /No tensor fills weight. The nearest is "wieght"/,
  ],
  ['shape', load({ a: [2, 3] }), parameters({ a: [4] }), /"a" of w.safetensors has shape \[2, 3\]; a has \[4\]/],
  ['transposed', load({ a: [2, 3] }), parameters({ a: [3, 2] }), /looks transposed/],
  [
    'rule matches nothing',
    load({ 'bert.a': [1] }, [
      { kind: 'map', from: 'brt.*', to: '*' },
      { kind: 'map', from: 'bert.*', to: '*' },
    ]),
    parameters({ a: [1] }),
    /"brt.\*" matches no tensor.*nearest is bert.a/,
  ],
  [
    'skip matches nothing',
    load({ a: [1] }, [{ kind: 'skip', from: 'cls.*' }]),
    parameters({ a: [1] }),
    /"cls.\*" matches no tensor/,
  ],
  [
    'fresh matches nothing',
    load({ a: [1] }, [{ kind: 'fresh', to: 'haed.b' }]),
    parameters({ a: [1], 'head.b': [1] }),
    /fresh haed.b matches no parameter. The nearest is head.b/,
  ],
  [
    'no such target',
    load({ a: [1] }, [{ kind: 'map', from: 'a', to: 'bb' }]),
    parameters({ b: [1] }),
    /its rule sends it to bb, which is no parameter. The nearest parameter is b/,
  ],
  [
    'two for one',
    load({ a: [1], b: [1] }, [{ kind: 'map', from: '*', to: 'c' }]),
    parameters({ c: [1] }),
    /"a" and "b" both go to c/,
  ],
  [
    'fresh and filled',
    load({ a: [1] }, [{ kind: 'fresh', to: 'a' }]),
    parameters({ a: [1] }),
    /declared fresh; skip it/,
  ],
];

test.each(mistakes)('load rules: %s', (_name, loads, fields, message) => {
  expect(() => applyLoadRules(loads, fields)).toThrow(message);
});

test('load rules: all problems at once', () => {
  expect(() =>
    applyLoadRules(load({ a: [1], b: [2] }, [{ kind: 'skip', from: 'x' }]), parameters({ b: [3], c: [1] })),
  ).toThrow(/"a".*left over[^]*"b".*shape[^]*"x" matches no[^]*No tensor fills c/);
});
