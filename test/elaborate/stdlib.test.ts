import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkModule } from '../../compiler/elaborate/generic.ts';
import { load, shown } from './support.ts';

const root = join(import.meta.dirname, '../..');

describe.each(['stdlib', 'examples'])('%s', (folder) => {
  const files = readdirSync(join(root, folder)).filter((file) => file.endsWith('.model'));
  const read = (file: string): string => readFileSync(join(root, folder, file), 'utf8');
  const siblings = Object.fromEntries(files.map((file) => [`./${file}`, read(file)]));
  test.each(files)('%s has nothing wrong', (file) => {
    const program = load(read(file), siblings, `${folder}/${file}`);
    checkModule(program.entry, program.diagnostics);
    expect(shown(program.diagnostics)).toBe('');
  });
});
