/** Losses of ten steps agree with PyTorch 2.13 from its weights on its inputs. Runs where torch and the peers' jobs are found. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const script = resolve(root, '../shared/peers/torch_jobs.py');

function hasTorch(): boolean {
  try {
    execFileSync('python3', ['-c', 'import torch; assert torch.__version__.startswith("2.13")'], { stdio: 'ignore' });
    return existsSync(script);
  } catch {
    return false;
  }
}

// Known before tests are collected, so that a machine without torch shows them as skipped.
const found = hasTorch();

describe.runIf(found)('ten steps agree with PyTorch to 1e-5', () => {
  it.each(['mlp', 'gpt', 'bilstm'])('%s', (job) => {
    const folder = mkdtempSync(join(tmpdir(), `nacre-${job}-`));
    try {
      execFileSync('python3', [script, job, '--dump', folder, '--steps', '10', '--warmup', '0', '--threads', '1'], {
        stdio: 'ignore',
      });
      const output = execFileSync(process.execPath, [join(root, 'dist/bench/parity.js'), job, folder], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const { losses, worst } = JSON.parse(output);
      expect(losses).toHaveLength(10);
      expect(worst).toBeLessThan(1e-5);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
