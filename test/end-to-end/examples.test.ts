/**
 * The examples reach what the README says, run as it says. Those that need data run where ../shared/data is; all need the
 * cpu target.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import { grantFiles } from '../../runtime/files.ts';
import { readTensor, readWeightsHeader } from '../../runtime/safetensors.ts';
import type { TypedArray } from '../../runtime/program.ts';

const root = resolve(import.meta.dirname, '../..');
const data = resolve(root, '../shared/data');
const mnist = join(data, 'mnist');
const native = (await describeCpu()).problem === undefined;
const withData = native && existsSync(mnist);

const out = mkdtempSync(join(tmpdir(), 'nacre-examples-'));
afterAll(() => rmSync(out, { recursive: true }));

interface Done {
  readonly run: string;
  readonly [metric: string]: unknown;
}

/** `nacre train examples/…`: the events, and the last of them. */
function train(...words: readonly string[]): { events: readonly Record<string, unknown>[]; done: Done } {
  const command = [join(root, 'bin/nacre.mjs'), 'train', ...words, '--out', out, '--json'];
  const text = execFileSync(process.execPath, command, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const events: Record<string, unknown>[] = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const done = events.at(-1);
  if (done?.['event'] !== 'done' || typeof done['run'] !== 'string') throw new Error('the run did not end with done');
  return { events, done: { ...done, run: done['run'] } };
}

const best = (
  events: readonly Record<string, unknown>[],
  metric: string,
  choose: (...values: number[]) => number,
): number => choose(...events.filter(({ event }) => event === 'eval').map((event) => Number(event[metric])));

function weights(folder: string, name = 'best'): Map<string, TypedArray> {
  const file = grantFiles({ data: [folder] }).open(`${name}.safetensors`);
  try {
    return new Map(
      [...readWeightsHeader(file).tensors.values()].map((tensor) => [tensor.name, readTensor(file, tensor, 'f32')]),
    );
  } finally {
    file.close();
  }
}

describe.runIf(native)('without data', () => {
  it('digits reads 97 % of held-out drawings', () => {
    const { events } = train('examples/digits.model', '--epochs', '2');
    expect(best(events, 'accuracy', Math.max)).toBeGreaterThanOrEqual(0.97);
  });

  it('sequence solves the adding problem over 50 steps', () => {
    const { events } = train('examples/sequence.model', '--epochs', '4');
    expect(best(events, 'mse', Math.min)).toBeLessThan(0.01);
  });

  it('the reference target learns too', () => {
    const { done } = train('examples/rings.model', '--target', 'reference', '--steps', '60');
    expect(done['accuracy']).toBeGreaterThan(0.85);
  });
});

describe.runIf(withData)('with data', () => {
  it('mnist reaches 96 %', () => {
    const { events } = train('examples/mnist.model', '--data', mnist);
    expect(best(events, 'accuracy', Math.max)).toBeGreaterThanOrEqual(0.96);
  });

  describe('convnet, and what is made of it', () => {
    let teacher: Done;
    let reached: number;

    beforeAll(() => {
      const { events, done } = train('examples/convnet.model', '--data', mnist, '--epochs', '6');
      [teacher, reached] = [done, best(events, 'accuracy', Math.max)];
    });

    it('convnet reaches 98 %', () => expect(reached).toBeGreaterThanOrEqual(0.98));

    it.each(['0', '1', '2'])('distill: a student learns more from it than from the labels (seed %s)', (seed) => {
      const student = ['examples/distill.model', '--data', mnist, '--seed', seed];
      const { done: alone } = train(...student, 'alone');
      const { done: distilled } = train(...student, 'distilled', '--data', teacher.run);
      expect(distilled['accuracy']).toBeGreaterThan(Number(alone['accuracy']));
    });

    it('slim: half the channels are as good, and the parameters are counted', () => {
      const { events, done } = train('examples/slim.model', '--data', mnist, '--data', teacher.run);
      expect(Number(done['accuracy'])).toBeGreaterThanOrEqual(Number(teacher['accuracy']) - 0.01);
      expect(events[0]['trained']).toBe((25 + 1) * 8 + (25 * 8 + 1) * 16 + (49 * 16 + 1) * 128 + (128 + 1) * 10);
    });

    it.each([
      ['int8', 3.94],
      ['int4', 5.26],
      ['aware', 3.94],
    ])('quantize: %s is as good, and %f times smaller on disk', (name, smaller) => {
      const { done } = train('examples/quantize.model', name, '--data', mnist, '--data', teacher.run);
      expect(Number(done['accuracy'])).toBeGreaterThanOrEqual(Number(teacher['accuracy']) - 0.005);
      const [before, after] = [`${teacher.run}/best.safetensors`, `${done.run}/last.safetensors`].map(
        (path) => statSync(path).size,
      );
      expect(before / after).toBeGreaterThan(smaller);
    });

    it('prune: a fifth of the weights are enough', () => {
      const { done } = train('examples/prune.model', 'sparse', '--data', mnist, '--data', teacher.run);
      expect(Number(done['accuracy'])).toBeGreaterThanOrEqual(Number(teacher['accuracy']) - 0.005);
      const pruned = [...weights(done.run, 'last')].filter(([name]) => name.endsWith('.weight'));
      const elements = pruned.reduce((sum, [, data]) => sum + data.length, 0);
      const zeros = pruned.reduce((sum, [, data]) => sum + data.filter((value) => value === 0).length, 0);
      expect(zeros / elements).toBeCloseTo(0.8, 4);
    });
  });

  it('finetune answers another question with fewer than 300 trained weights, the frozen ones bit for bit the same', () => {
    const { done: pretrained } = train('examples/finetune.model', 'pretrain', '--data', mnist);
    const { events, done } = train('examples/finetune.model', 'even_or_odd', '--data', mnist, '--data', pretrained.run);
    expect(best(events, 'accuracy', Math.max)).toBeGreaterThanOrEqual(0.97);
    expect(events[0]['trained']).toBe(258);
    const [before, after] = [weights(pretrained.run), weights(done.run)];
    for (const name of ['model.fc1.weight', 'model.fc1.bias', 'model.fc2.weight', 'model.fc2.bias'])
      expect(after.get(name), name).toEqual(before.get(name));
    expect(after.get('model.fc3.weight')).toHaveLength(256);
  });

  it('chars spells Shakespeare: 2.0 nats within 500 steps', () => {
    const { events } = train('examples/chars.model', '--data', join(data, 'shakespeare'), '--steps', '500');
    expect(best(events, 'validation_loss', Math.min)).toBeLessThanOrEqual(2.0);
  });
});
