/** The program that docs/api.md shows runs as it stands there. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { transformSync } from 'esbuild';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');

it('the blocks of docs/api.md are one program, which TypeScript takes', () => {
  const text = readFileSync(join(root, 'docs/api.md'), 'utf8');
  const blocks = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, block]) => block);
  expect(blocks.length).toBeGreaterThan(3);
  // Inside the package, which may import itself by its name.
  mkdirSync(join(root, '.cache'), { recursive: true });
  const folder = mkdtempSync(join(root, '.cache', 'api-'));
  try {
    const [source, file] = [join(folder, 'program.mts'), join(folder, 'program.mjs')];
    writeFileSync(source, blocks.join('\n'));
    const options = ['--noEmit', '--strict', '--ignoreConfig', '--target', 'es2022', '--module', 'nodenext'];
    const checked = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...options, source], {
      encoding: 'utf8',
    });
    expect([checked.status, checked.stdout]).toEqual([0, '']);
    writeFileSync(file, transformSync(blocks.join('\n'), { loader: 'ts' }).code);
    const said = execFileSync(process.execPath, [file], { encoding: 'utf8' }).trim().split('\n');
    expect(said).toHaveLength(7);
    expect(said.slice(-3)).toEqual(['true', '[ 2, 2 ] true false', '32 true']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
