/**
 * Case files: `=== name`, a text, `--`, what comes of it. `BLESS=1` writes what came; read the diff like someone else's.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';

/** A test for each case of a file. */
export function runCases(file: string, work: (before: string) => string): void {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const cases = text
    .split(/^=== /m)
    .slice(1)
    .map((part) => {
      const [name, ...lines] = part.split('\n');
      const [before, after = ''] = lines.join('\n').split(/^--\n/m);
      return { name, before: before.trimEnd(), after: after.trimEnd() };
    });
  const blessed: string[] = [];
  for (const { name, before, after } of cases)
    test(name, () => {
      const result = work(before).trimEnd();
      blessed.push(`=== ${name}\n${before}\n--\n${result}\n`);
      if (process.env.BLESS === undefined) expect(result).toBe(after);
    });
  afterAll(() => {
    if (process.env.BLESS !== undefined && blessed.length === cases.length) writeFileSync(file, blessed.join('\n'));
  });
}
