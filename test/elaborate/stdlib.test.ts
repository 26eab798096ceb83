import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkModule } from '../../compiler/elaborate/generic.ts';
import { load, shown } from './support.ts';

const root = join(import.meta.dirname, '../..');

describe.each(['stdlib', 'examples'])('%s', (folder) => {
  const files = readdirSync(join(root, folder)).filter((file) => file.endsWith('.model'));
  test.each(files)('%s has nothing wrong', (file) => {
    const program = load(readFileSync(join(root, folder, file), 'utf8'), {}, `${folder}/${file}`);
    checkModule(program.entry, program.diagnostics);
    expect(shown(program.diagnostics)).toBe('');
  });
});
