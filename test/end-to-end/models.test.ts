/** Every model of the project — standard library, examples, benchmark jobs, the language reference — checks, and its tests pass. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { formatSource } from '../../grammar/format.ts';
import { renderDiagnostic } from '../../compiler/base/diagnostics.ts';
import { openProject } from '../../tools/driver/project.ts';
import { runTest } from '../../tools/driver/run-tests.ts';
import { describeCpu } from '../../runtime/devices/cpu.ts';

const root = resolve(import.meta.dirname, '../..');
const models = (folder: string): string[] =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.model'))
    .map((name) => join(root, folder, name));
const native = (await describeCpu()).problem === undefined;

const scratch = mkdtempSync(join(tmpdir(), 'nacre-docs-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** The ```model blocks of a page, each a file of its own. */
function blocksOf(page: string): string[] {
  const text = readFileSync(join(root, page), 'utf8');
  return [...text.matchAll(/^```model\n([\s\S]*?)^```$/gm)].map(([, block], at) => {
    const file = join(scratch, `${page.replace(/\W/g, '-')}-${at + 1}.model`);
    writeFileSync(file, block);
    return file;
  });
}

const files = [
  ...models('stdlib'),
  ...models('examples'),
  ...models('bench/jobs'),
  ...blocksOf('docs/language.md'),
  ...blocksOf('docs/pruning.md'),
  ...blocksOf('README.md'),
];

describe.each(files.map((file) => [file.replace(`${root}/`, '').replace(`${scratch}/`, ''), file]))('%s', (_, file) => {
  it('checks', async () => {
    const project = await openProject(file);
    expect(project.check().map((diagnostic) => renderDiagnostic(diagnostic, { color: false }))).toEqual([]);
  });

  it('is in the one format', async () => {
    const text = readFileSync(file, 'utf8');
    expect(await formatSource(text, file)).toBe(text);
  });

  it('passes its tests on the reference target', async () => {
    const project = await openProject(file);
    for (const test of project.tests())
      expect(await runTest(project, test, 'reference')).toMatchObject({ name: test.name, failures: [] });
  });

  it.runIf(native)('passes its tests on the cpu target', async () => {
    const project = await openProject(file);
    for (const test of project.tests())
      expect(await runTest(project, test, 'cpu')).toMatchObject({ name: test.name, failures: [] });
  });
});
