/** `npm run bench:gpu` does not pass for nothing: what is wrong, or did not run, ends it with 1. Only what needs no GPU. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { compareLosses, lastJson, type Losses, sanitized } from '../../bench/gpu-checks.ts';

const root = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'nacre-bench-gpu-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('losses', () => {
  const wanted: Losses = async () => [2, 1];
  const compare = async (found: Losses, precision: string) => {
    const said: object[] = [];
    const result = await compareLosses({
      examples: ['digits'],
      precisions: [precision],
      steps: 2,
      found,
      wanted,
      say: (line) => void said.push(line),
    });
    return { ...result, said };
  };

  it('that agree are counted', async () => {
    expect(await compare(async () => [2, 1.00001], 'f32')).toEqual({
      compared: 1,
      problems: [],
      said: [{ example: 'digits', precision: 'f32', steps: 2, largest_difference: expect.closeTo(1e-5, 10) }],
    });
  });

  it.each([
    ['f32', 1.00009, 0],
    ['f32', 1.00011, 1],
    ['mixed(tf32)', 1.009, 0],
    ['mixed(bf16)', 0.991, 0],
    ['mixed(bf16)', 0.989, 1],
    ['mixed(f16)', NaN, 1],
    ['f32', Infinity, 1],
  ])('in %s of %f where it should be 1: %i problems', async (precision, loss, count) => {
    const { problems, said } = await compare(async () => [2, loss], precision);
    expect(problems).toHaveLength(count);
    if (count > 0) {
      expect(problems[0]).toMatch(`digits in ${precision}: a loss is `);
      expect(said).toEqual([expect.objectContaining({ problem: expect.any(String) })]);
    }
  });

  it.each([
    ['of no steps', async () => [], '0 steps of 2 were done'],
    ['of fewer steps', async () => [2], '1 steps of 2 were done'],
    ['of a target that is not there', () => Promise.reject(new Error('no driver')), 'no driver'],
  ] as const)('%s are not compared', async (_, found, problem) => {
    expect(await compare(found, 'f32')).toEqual({
      compared: 0,
      problems: [`digits in f32: ${problem}`],
      said: [{ example: 'digits', precision: 'f32', problem }],
    });
  });
});

describe('a run under compute-sanitizer', () => {
  const counted = '{"part":"losses on cuda"}\n{"part":"losses on cuda, in all","compared":16,"wrong":0}\n';
  const stdout = `========= COMPUTE-SANITIZER\n${counted}========= ERROR SUMMARY: 0 errors\n`;
  const ended = { status: 0, stdout, stderr: '' };

  it('is clean where it found nothing, and something ran', () => {
    expect(sanitized(ended, 16)).toEqual({ clean: true, compared: 16 });
  });

  it.each([
    ['it is not there', { ...ended, status: null, stdout: '', error: new Error('spawn ENOENT') }, 'spawn ENOENT'],
    ['it took too long', { ...ended, status: null, error: new Error('spawnSync ETIMEDOUT') }, 'spawnSync ETIMEDOUT'],
    ['it did not look', { ...ended, stdout: counted }, 'compute-sanitizer gave no summary'],
    ['it found something', { ...ended, stdout: stdout.replace('0 errors', '1 error') }, 'ERROR SUMMARY: 1 error'],
    ['no kernel ran', { ...ended, stdout: stdout.replace('16', '0') }, '0 of 16 trainings were done'],
    ['less was said', { ...ended, stdout: stdout.replace(counted, '') }, '0 of 16 trainings were done'],
    ['losses were wrong', { ...ended, status: 1, stderr: 'error: a\nerror: b\n' }, 'ended with 1: error: b'],
  ])('is not where %s', (_, result, problem) => {
    expect(sanitized(result, 16)).toMatchObject({ clean: false, problem: expect.stringContaining(problem) });
  });
});

it('the script fails, and says what, where there is no GPU', () => {
  const words = ['--only', 'losses', '--examples', 'digits', '--precisions', 'f32', '--steps', '2', '--out', folder];
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'dist/bench/gpu.js'), ...words], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, NACRE_LIBCUDA: '/nowhere' },
  });
  expect(stderr).toMatch(/^error: losses on cuda, digits in f32: The cuda target needs NVIDIA's driver/);
  expect([status, lastJson(stdout)]).toEqual([1, { part: 'losses on cuda, in all', compared: 0, wrong: 1 }]);
});
