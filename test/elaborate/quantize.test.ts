/** Quantization in training: what is saved and loaded, that runs go on bit for bit, and what may not be trained on. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { evaluateRun } from '../../runtime/evaluate.ts';
import { grantFiles } from '../../runtime/files.ts';
import { packedTensors, unpack } from '../../runtime/quantize.ts';
import { encodeWeights, readWeightsHeader } from '../../runtime/safetensors.ts';
import type { TrainEvent } from '../../runtime/train-options.ts';
import { train } from '../../runtime/trainer.ts';
import { everythingIn, openOnReference, type ReferenceRun } from '../support/reference-run.ts';

const folder = mkdtempSync(join(tmpdir(), 'nacre-quantize-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

/** A network on forty points; `lines` beside what every block has. */
function open(lines: string, runs: readonly string[] = []): Promise<ReferenceRun> {
  return openOnReference(
    join(folder, `case${++files}.model`),
    `use std.layers { Linear }
${lines.includes('Adam') ? 'use std.optim { Adam }' : ''}
data points() = generate(40) |> map(x: f32(index) / 40)
model Net {
  up = Linear{1, 12}
  middle = Linear{12, 9}
  down = Linear{9, 1}
  (x: f32[B]) -> f32[B] =
    reshape(x, [B, 1]) |> up |> sigmoid |> middle |> sigmoid |> down |> reshape([B])
}
train t {
  model = Net{}
  data = points() |> batch(4)
  loss(x) = mean_squared_error(model(x), sin(6 * x))
  eval(x) over points() = { mse: mean_squared_error(model(x), sin(6 * x)) }
  save last
  ${lines}
}
`,
    runs,
  );
}

const learning = 'optimizer = Adam{lr: 0.02}\n  epochs = 12\n  ';

async function run(
  lines: string,
  runs: readonly string[] = [],
): Promise<{ run: string; mse: number; events: TrainEvent[] }> {
  const events: TrainEvent[] = [];
  const done = await train({ ...(await open(lines, runs)), out: folder, onEvent: (event) => void events.push(event) });
  return { run: done.run, mse: done.metrics.get('mse') ?? NaN, events };
}

function headerOf(path: string): ReturnType<typeof readWeightsHeader> {
  const file = grantFiles({ data: [path] }).open('last.safetensors');
  try {
    return readWeightsHeader(file);
  } finally {
    file.close();
  }
}

/** What a safetensors file holds beside its header. */
function bytesBehindHeader(path: string): number {
  const file = readFileSync(path);
  return file.length - 8 - Number(file.readBigUInt64LE(0));
}

const trained = await run(learning);
const load = 'load "last.safetensors"\n  ';

describe('weights as they are', () => {
  it.each([
    ['int8', 'quantize *.weight to int8 calibrate 10', 0.01],
    ['int8 weights', 'quantize *.weight to int8 weights', 0.01],
    ['int4 weights', 'quantize *.weight to int4 weights group 3', 0.1],
  ])('%s: nothing is learned, little is lost, and what is saved is small', async (_, line, worse) => {
    const { run: path, mse, events } = await run(`${load}${line}`, [trained.run]);
    expect(events.map(({ event }) => event)).toEqual(['start', 'quantize', 'eval', 'save', 'save', 'done']);
    expect(Math.abs(mse - trained.mse)).toBeLessThan(worse);
    expect(mse).not.toBe(trained.mse);
    const { tensors, metadata } = headerOf(path);
    const weights = ['up', 'middle', 'down'].map((name) => `model.${name}.weight`);
    for (const name of weights) {
      expect(tensors.has(name)).toBe(false);
      expect(tensors.get(`quantized.${name}`)?.stored).toBe(line.includes('int4') ? 'U8' : 'I8');
    }
    expect(tensors.has('range.model.up.weight')).toBe(!line.includes('weights'));
    expect(tensors.get('model.up.bias')?.stored).toBe('F32');
    expect(Object.keys(JSON.parse(metadata.get('nacre.quantized') ?? '{}'))).toEqual(weights);
    const event = events.find(({ event }) => event === 'quantize');
    const bytes = [...tensors]
      .filter(([name]) => !name.endsWith('.bias'))
      .reduce((sum, [, tensor]) => sum + tensor.bytes, 0);
    expect(event).toMatchObject({ weights: 3, was: 4 * (12 + 108 + 9), bytes });

    // The run is evaluated again from what it saved, and its file is loaded as the weights it stands for.
    const again = await open(`${load}${line}`, [trained.run]);
    expect((await evaluateRun({ ...again, run: path })).metrics.get('mse')).toBe(mse);
    const dequantized = await run(`freeze all except model.up.bias\n  ${load}${learning.replace('0.02', '0.0')}`, [
      path,
    ]);
    expect(Math.abs(dequantized.mse - mse)).toBeLessThan(worse);
  });
});

describe('training through the rounding', () => {
  const aware = `${learning}quantize *.weight to int8 calibrate 3`;

  it('learns, and evaluates with integers what it trained in f32', async () => {
    const { mse } = await run(aware);
    expect(mse).toBeLessThan(3 * trained.mse + 0.01);
  });

  it.each([1, 7, 10, 25])('goes on after step %i bit for bit', async (cut) => {
    const whole = await open(aware);
    await train({ ...whole, out: folder, steps: 30 });
    const stop = new AbortController();
    const { run: path } = await train({
      ...(await open(aware)),
      out: folder,
      steps: 30,
      signal: stop.signal,
      onEvent: (event) => (event.event === 'step' && event.step === cut ? stop.abort() : undefined),
    });
    const continued = await open(aware);
    await train({ ...continued, out: folder, resume: path, steps: 30 });
    expect(await everythingIn(continued.programs)).toEqual(await everythingIn(whole.programs));
  });

  it('takes up weights that are quantized, which training without the rounding does not', async () => {
    const { run: path, mse } = await run(`${load}quantize *.weight to int8`, [trained.run]);
    const later = await run(`${load}${aware}`, [path]);
    expect(later.mse).toBeLessThan(2 * mse + 0.01);
    await expect(run(`${load}${learning}`, [path])).rejects.toMatchObject({
      code: 'quantized-weights',
      message: `${folder}/case${files}.model:17:3: last.safetensors holds model.up.weight, model.middle.weight, model.down.weight in few bits; trained on without rounding they would not fit these any more.`,
      hint: 'Say `quantize … to …` in the train block to train through the rounding, or `freeze` these weights, or load the weights they were made from.',
    });
  });

  it('is another run with another line', async () => {
    const { run: path } = await train({ ...(await open(aware)), out: folder, steps: 2 });
    const other = await open(aware.replace('int8', 'int8 weights').replace(' calibrate 3', ''));
    await expect(train({ ...other, out: folder, resume: path, steps: 4 })).rejects.toThrow('another quantization');
  });
});

it('files of a wide layer are as small as codes and scales are', async () => {
  const sizes = await Promise.all(
    ['', 'quantize *.weight to int8 calibrate 1', 'quantize *.weight to int4 weights group 64'].map(async (line) => {
      const wide = await openOnReference(
        join(folder, `case${++files}.model`),
        `use std.layers { Linear }
use std.optim { SGD }
data points() = generate(2) |> map(x: f32(index))
model Net {
  fc = Linear{256, 256}
  (x: f32[B]) -> f32[B, 256] = fc(broadcast(reshape(x, [B, 1]), [B, 256]))
}
train t {
  model = Net{}
  data = points() |> batch(2)
  loss(x) = mean(model(x) ^ 2)
  optimizer = SGD{lr: 0.001}
  epochs = 1
  save last
  ${line}
}
`,
      );
      const { run: path } = await train({ ...wide, out: folder });
      return bytesBehindHeader(join(path, 'last.safetensors'));
    }),
  );
  const [biases, scales, range] = [4 * 256, 4 * 256, 4];
  expect(sizes).toEqual([
    4 * 256 * 256 + biases,
    256 * 256 + scales + range + biases,
    (256 * 256) / 2 + 4 * scales + biases,
  ]);
});

it('a block that learns nothing takes no number of epochs', async () => {
  const block = await open(`${load}quantize *.weight to int8`, [trained.run]);
  await expect(train({ ...block, out: folder, epochs: 2 })).rejects.toMatchObject({
    code: 'train-bound',
    message: 'The train block t learns nothing: it quantizes weights as they are.',
  });
});

it.each([
  ['{"w":{"bits":8,"shape":[4,3]}}', undefined],
  ['{"w":{"bits":8,"shape":[4,5]}}', 'few bits'],
  ['{"w":{"bits":4,"shape":[4,3]}}', 'few bits'],
  ['{"w":{"bits":8,"shape":[4,3],"group":2}}', 'few bits'],
  ['{"w":{"bits":8,"shape":[4,3],"group":0}}', 'few bits'],
  ['{"w":{"bits":7,"shape":[4,3]}}', 'few bits'],
  ['{"v":{"bits":8,"shape":[4,3]}}', 'few bits'],
  ['[[[', undefined],
])('a file that says %s of its codes', (metadata, problem) => {
  const codes = { name: 'quantized.w', dtype: 'i8', shape: [4, 3] } as const;
  const scale = { name: 'scale.w', dtype: 'f32', shape: [1, 3] } as const;
  const path = join(folder, `codes${++files}.safetensors`);
  writeFileSync(
    path,
    Buffer.concat(
      encodeWeights(
        [
          { field: codes, data: Int8Array.from({ length: 12 }, (_, at) => at - 6) },
          { field: scale, data: Float32Array.of(1, 2, 3) },
        ],
        new Map([['nacre.quantized', metadata]]),
      ),
    ),
  );
  const file = grantFiles({ data: [folder] }).open(basename(path));
  try {
    const read = (): ReturnType<typeof packedTensors> => packedTensors(readWeightsHeader(file), file.shown);
    if (problem !== undefined) return expect(read).toThrow(problem);
    const packed = read().weights.get('w');
    if (metadata.startsWith('{'))
      expect(packed && [...unpack(file, packed)]).toEqual([-6, -10, -12, -3, -4, -3, 0, 2, 6, 3, 8, 15]);
    else expect(packed).toBeUndefined();
  } finally {
    file.close();
  }
});
