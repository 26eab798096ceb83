import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, expect, test, vi } from 'vitest';
import { createRun, openRun, reopenRun, type Progress, type RunFolder } from '../../runtime/run-folder.ts';
import { readTensor, readWeightsHeader } from '../../runtime/safetensors.ts';
import { regressionPlan, scratch } from './fake.ts';

/** The call on the disk, counted from now, that is to fail, and how. */
const fault = vi.hoisted(() => ({ in: Infinity, code: 'ENOSPC' }));

vi.mock('node:fs', async (original) => {
  const real = await original<typeof import('node:fs')>();
  const failing =
    <Args extends unknown[], Result>(call: (...args: Args) => Result) =>
    (...args: Args): Result => {
      if (--fault.in === 0) throw Object.assign(new Error(`${fault.code}: injected`), { code: fault.code });
      return call(...args);
    };
  return {
    ...real,
    openSync: failing(real.openSync),
    writeSync: failing(real.writeSync),
    fsyncSync: failing(real.fsyncSync),
    renameSync: failing(real.renameSync),
    closeSync: real.closeSync,
  };
});

beforeEach(() => {
  fault.in = Infinity;
});

const progressAt = (step: number): Progress => ({
  step,
  epoch: 0,
  batch: step,
  last: 1,
  loss: { sum: 0, count: 0 },
  measured: [],
  best: [],
  seconds: 0,
});

const save = (run: RunFolder, step: number): void =>
  run.saveCheckpoint(
    progressAt(step),
    [{ field: { name: 'w', dtype: 'f32', shape: [4] }, data: new Float32Array(4).fill(step) }],
    [],
  );

/** The step of the newest checkpoint, whose weights must be those saved at that step. */
function newest(run: RunFolder): number {
  const checkpoint = run.newestCheckpoint();
  if (checkpoint === undefined) return 0;
  const file = checkpoint.open();
  const stored = readWeightsHeader(file).tensors.get('w');
  if (stored === undefined) throw new Error('w is missing');
  expect(new Set(readTensor(file, stored, 'f32'))).toEqual(new Set([checkpoint.progress.step]));
  file.close();
  return checkpoint.progress.step;
}

/** A run that was left, so that it can be opened again. */
function newRun(): RunFolder {
  const run = createRun(scratch(), 'line', { plan: regressionPlan(), settings: {} });
  run.release();
  return run;
}

function reopen(path: string): RunFolder {
  const run = reopenRun(path);
  run.release();
  return run;
}

const writer = fileURLToPath(new URL('checkpoint-writer.mjs', import.meta.url));

/** Lets a process save checkpoints, kills it after `delay` ms beyond its first, returns the last step it said was saved. */
function saveUntilKilled(path: string, delay: number): Promise<number> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [writer, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (data) => {
      if (said === '') setTimeout(() => child.kill('SIGKILL'), delay);
      said += data;
    });
    child.on('close', () => done(Number(said.trim().split('\n').at(-1))));
  });
}

test.runIf(existsSync('dist/runtime/run-folder.js'))(
  'a process killed at any moment leaves its last checkpoint whole',
  async () => {
    const lanes = [newRun(), newRun()].map(async (run, lane) => {
      for (let kill = 0; kill < 20; kill++) {
        const said = await saveUntilKilled(run.path, (kill * 7 + lane * 3) % 40);
        expect(said).toBeGreaterThan(0);
        expect(newest(openRun(run.path))).toBeGreaterThanOrEqual(said);
      }
      reopen(run.path);
      expect(
        readdirSync(join(run.path, 'checkpoints')).filter((name) => !/^\d{9}\.(json|safetensors)$/.test(name)),
      ).toEqual([]);
    });
    await Promise.all(lanes);
  },
);

test.each(['ENOSPC', 'EIO', 'EACCES'])(
  'a disk that fails with %s at any call of a save costs neither the old checkpoint nor a clear message',
  (code) => {
    fault.code = code;
    let failures = 0;
    for (let call = 1; call < 60; call++) {
      const run = newRun();
      save(run, 1);
      save(run, 2);
      fault.in = call;
      let failed = false;
      try {
        save(run, 3);
      } catch (error) {
        failed = true;
        expect(error).toMatchObject({
          code: 'disk',
          message: expect.stringMatching(
            /^Could not .*: (the disk is full|the disk reported an error|permission was denied)\.$/,
          ),
        });
      }
      fault.in = Infinity;
      const after = newest(reopen(run.path));
      expect(after).toBeGreaterThanOrEqual(failed ? 2 : 3);
      expect(readdirSync(join(run.path, 'checkpoints')).some((name) => name.endsWith('.unfinished'))).toBe(false);
      if (!failed) break;
      failures++;
    }
    expect(failures).toBeGreaterThan(8);
  },
);

test('a checkpoint with a wrong hash, size or manifest is passed over for the one before', () => {
  const run = newRun();
  save(run, 1);
  save(run, 2);
  expect(newest(run)).toBe(2);
  save(run, 3);
  expect(newest(run)).toBe(3);
  // The manifest of step 3 now stands beside other bytes.
  const folder = join(run.path, 'checkpoints');
  copyFileSync(join(folder, '000000002.safetensors'), join(folder, '000000003.safetensors'));
  expect(newest(openRun(run.path))).toBe(2);
  writeFileSync(join(folder, '000000002.json'), '{"version":1,');
  expect(openRun(run.path).newestCheckpoint()).toBeUndefined();
  writeFileSync(join(folder, '000000002.json'), '{"version":99}');
  expect(() => openRun(run.path).newestCheckpoint()).toThrow('written by a newer Nacre');
});

test('saving a step twice keeps it whole', () => {
  const run = newRun();
  save(run, 1);
  run.saveCheckpoint(
    { ...progressAt(1), measured: ['held'] },
    [{ field: { name: 'w', dtype: 'f32', shape: [4] }, data: new Float32Array(4).fill(1) }],
    [],
  );
  expect(run.newestCheckpoint()?.progress.measured).toEqual(['held']);
  expect(newest(run)).toBe(1);
});
