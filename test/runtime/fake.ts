/** A training run without a compiler: linear regression with momentum, in plain TypeScript behind the Programs contract. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { philox } from '../../common/philox.ts';
import { DeviceLost } from '../../runtime/program.ts';
import type {
  DataPlan,
  Executable,
  Field,
  Programs,
  Session,
  StepPhase,
  TrainPlan,
  TypedArray,
} from '../../runtime/program.ts';

const fields: Field[] = [
  { name: 'weight', dtype: 'f32', shape: [3] },
  { name: 'bias', dtype: 'f32', shape: [1] },
  { name: 'm.weight', dtype: 'f32', shape: [3] },
  { name: 'm.bias', dtype: 'f32', shape: [1] },
  { name: 'seen', dtype: 'u32', shape: [1] },
];

/** A folder of its own for one test. */
export const scratch = (): string => mkdtempSync(join(tmpdir(), 'nacre-runtime-'));

/** The bytes of a .npy file of little-endian f32. */
export function npy(values: Float32Array, shape: readonly number[], descr = '<f4'): Uint8Array {
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(', ')},), }`;
  const padded = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + '\n';
  const bytes = new Uint8Array(10 + padded.length + values.byteLength);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, padded.length & 255, padded.length >> 8]);
  bytes.set(new TextEncoder().encode(padded), 10);
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), 10 + padded.length);
  return bytes;
}

/** 50 samples of y = 2·a − b + 0.5·c + 1, as x.npy and y.npy. */
export function writeRegression(folder: string, count = 50): void {
  const x = new Float32Array(count * 3);
  const y = new Float32Array(count);
  const words = new Uint32Array(4);
  for (let i = 0; i < count; i++) {
    philox(i, 0, 0, 0, 1, 2, words);
    for (let k = 0; k < 3; k++) x[3 * i + k] = words[k] / 2 ** 32 - 0.5;
    y[i] = 2 * x[3 * i] - x[3 * i + 1] + 0.5 * x[3 * i + 2] + 1;
  }
  writeFileSync(join(folder, 'x.npy'), npy(x, [count, 3]));
  writeFileSync(join(folder, 'y.npy'), npy(y, [count]));
}

export const regressionData: DataPlan = {
  kind: 'npy',
  fields: [
    { name: 'x', path: 'x.npy' },
    { name: 'y', path: 'y.npy' },
  ],
};

export function regressionPlan(change: Partial<TrainPlan> = {}): TrainPlan {
  const shuffled: DataPlan = {
    kind: 'shuffle',
    of: { kind: 'slice', of: regressionData, start: 0, end: 0.86 },
    seed: 5,
  };
  return {
    version: 1,
    name: 'line',
    seed: 11,
    data: { kind: 'batch', of: shuffled, size: 8, last: 'keep' },
    batch: 8,
    epochs: 4,
    accumulate: 1,
    evaluations: [
      { name: 'held', data: { kind: 'slice', of: regressionData, start: 0.86, end: 1 }, batch: 4, metrics: ['error'] },
    ],
    saves: [{ kind: 'best', metric: 'error', order: 'min' }],
    loads: [],
    parameters: fields.slice(0, 2).map((field) => ({ ...field, trained: true })),
    states: fields.slice(2).map((field) => ({ ...field, buffer: field.name === 'seen' })),
    ...change,
  };
}

export interface FakeOptions {
  readonly rate?: number;
  /** Step that spoils the weights, and the loss it reports if not its own. */
  readonly breakAt?: { readonly step: number; readonly loss?: number };
}

/** Programs whose every result depends on all that a continuation has to restore: step, seed, epoch, states. */
export function fakePrograms({ rate = 0.1, breakAt }: FakeOptions = {}): Programs & { readonly sizes: string[] } {
  const memory = new Map<string, TypedArray>(
    fields.map(({ name, dtype, shape }) => [
      name,
      dtype === 'u32' ? new Uint32Array(shape[0]) : new Float32Array(shape[0]),
    ]),
  );
  const at = (name: string): TypedArray => {
    const array = memory.get(name);
    if (array === undefined) throw new Error(`no ${name}`);
    return array;
  };
  const session: Session = {
    target: 'fake',
    fields: new Map(fields.map((field) => [field.name, field])),
    read: async (name) => at(name).slice(),
    write: (name, data) => at(name).set(data),
    close() {},
  };
  const inputs = (names: readonly string[]): Field[] => names.map((name) => ({ name, dtype: 'f32', shape: [] }));
  const executable = (
    names: readonly string[],
    run: (input: (name: string) => TypedArray) => Record<string, number>,
  ): Executable => ({
    inputs: inputs(names),
    results: [],
    async run(given) {
      const input = (name: string): TypedArray => {
        const data = given.get(name);
        if (data === undefined) throw new Error(`input ${name} is missing`);
        return data;
      };
      return new Map(Object.entries(run(input)).map(([name, value]) => [name, Float64Array.of(value)]));
    },
    close: () => Promise.resolve(),
  });
  const predict = (x: TypedArray, i: number): number =>
    x[3 * i] * at('weight')[0] + x[3 * i + 1] * at('weight')[1] + x[3 * i + 2] * at('weight')[2] + at('bias')[0];
  let gradient = [0, 0, 0, 0];
  let samples = 0;
  const sizes: string[] = [];
  return {
    session,
    sizes,
    init: async () =>
      executable(['seed'], (input) => {
        const words = new Uint32Array(4);
        philox(0, 0, 0, 0, input('seed')[0], input('seed')[1], words);
        for (let k = 0; k < 3; k++) at('weight')[k] = words[k] / 2 ** 32;
        ['bias', 'm.weight', 'm.bias', 'seen'].forEach((name) => at(name).fill(0));
        return {};
      }),
    step: async (batch, phase: StepPhase) =>
      executable(['x', 'y', 'step', 'seed', 'epoch', 'micro'], (input) => {
        sizes.push(`${batch} ${phase}`);
        const [x, y] = [input('x'), input('y')];
        const noise = new Uint32Array(4);
        philox(input('step')[0], input('epoch')[0], input('micro')[0], 9, input('seed')[0], input('seed')[1], noise);
        let sum = 0;
        for (let i = 0; i < batch; i++) {
          const difference = predict(x, i) - y[i] + noise[0] / 2 ** 40;
          sum += difference * difference;
          for (let k = 0; k < 3; k++) gradient[k] += 2 * difference * x[3 * i + k];
          gradient[3] += 2 * difference;
        }
        samples += batch;
        at('seen')[0] += batch;
        if (phase !== 'accumulate') {
          for (let k = 0; k < 4; k++) {
            const [value, moment] = k < 3 ? [at('weight'), at('m.weight')] : [at('bias'), at('m.bias')];
            moment[k % 3] = 0.9 * moment[k % 3] + gradient[k] / samples;
            value[k % 3] -= rate * moment[k % 3];
          }
          gradient = [0, 0, 0, 0];
          samples = 0;
        }
        const broken = breakAt !== undefined && input('step')[0] === breakAt.step;
        if (broken) at('bias')[0] = NaN;
        return { 'loss.sum': broken ? (breakAt.loss ?? sum) : sum, 'loss.count': batch, lr: rate };
      }),
    evaluate: async (_name, batch) =>
      executable(['x', 'y'], (input) => {
        let sum = 0;
        for (let i = 0; i < batch; i++) sum += Math.abs(predict(input('x'), i) - input('y')[i]);
        return { 'error.sum': sum, 'error.count': batch };
      }),
    prune: none,
    calibrate: none,
    quantize: none,
    snapshot: none,
  };
}

/** A program that no plan here asks for. */
const none = (): Promise<Executable> => Promise.reject(new Error('a program that is not there'));

/** Steps that were begun and have not told yet, and who looked at the weights, or changed them, meanwhile. */
interface Underway {
  now: number;
  most: number;
  readonly disturbed: string[];
}

/** A device that queues: it computes in the order it is given runs, and tells of each a while later. */
export function queueing(programs: Programs): Programs & { readonly underway: Underway } {
  const underway: Underway = { now: 0, most: 0, disturbed: [] };
  const alone = (what: string): void => {
    if (underway.now > 0) underway.disturbed.push(what);
  };
  const { session } = programs;
  return {
    ...programs,
    underway,
    session: {
      ...session,
      queues: true,
      async read(name) {
        alone(`reading ${name}`);
        return session.read(name);
      },
      write(name, data) {
        alone(`writing ${name}`);
        session.write(name, data);
      },
    },
    async step(size, phase) {
      const executable = await programs.step(size, phase);
      return {
        ...executable,
        async run(inputs) {
          underway.most = Math.max(underway.most, ++underway.now);
          const results = executable.run(inputs);
          await new Promise((resume) => setTimeout(resume, 1));
          underway.now--;
          return results;
        },
      };
    },
    async evaluate(name, size) {
      const executable = await programs.evaluate(name, size);
      return {
        ...executable,
        async run(inputs) {
          alone('measuring');
          return executable.run(inputs);
        },
      };
    },
  };
}

/** On a device that goes away at a step. */
export const losing = (programs: Programs, at: number | undefined): Programs => ({
  ...programs,
  async step(batch, phase) {
    const step = await programs.step(batch, phase);
    return {
      ...step,
      run: (given) => (given.get('step')?.[0] === at ? Promise.reject(new DeviceLost('gone')) : step.run(given)),
    };
  },
});
