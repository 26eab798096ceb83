/** tools/api/standard-library.ts has the texts of stdlib/ for pages, which have no folder to read; BLESS=1 writes it anew. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { format } from 'prettier';
import { expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const path = join(root, 'tools/api/standard-library.ts');

it('is that of stdlib/', async () => {
  const modules = readdirSync(join(root, 'stdlib'))
    .filter((name) => name.endsWith('.model'))
    .map((name) => [`std.${basename(name, '.model')}`, readFileSync(join(root, 'stdlib', name), 'utf8')]);
  const text = [
    '/** The texts of stdlib/, by the names they are used by. Made by test/api/standard-library.test.ts with BLESS=1. */',
    `export const standardLibrary: Readonly<Record<string, string>> = ${JSON.stringify(Object.fromEntries(modules))};`,
  ].join('\n');
  const wanted = await format(text, { parser: 'typescript', singleQuote: true, printWidth: 120 });
  if (process.env['BLESS'] === '1') writeFileSync(path, wanted);
  expect(readFileSync(path, 'utf8')).toBe(wanted);
});
