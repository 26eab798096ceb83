/**
 * Case files: `=== name`, a text, `--`, what comes of it. `BLESS=1` writes what came; read the diff like someone else's.
 * A text that is a program begins with comments (`//`) that say what to look at.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';

interface Case {
  readonly name: string;
  readonly before: string;
  readonly after: string;
}

export function casesOf(file: string): Case[] {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  return text
    .split(/^=== /m)
    .slice(1)
    .map((part) => {
      const [name, ...lines] = part.split('\n');
      const [before, after = ''] = lines.join('\n').split(/^--\n/m);
      return { name, before: before.trimEnd(), after: after.trimEnd() };
    });
}

/** A test for each case of a file. */
export function runCases(file: string, work: (before: string) => string | Promise<string>): void {
  const cases = casesOf(file);
  const blessed: string[] = [];
  for (const { name, before, after } of cases)
    test(name, async () => {
      const result = (await work(before)).trimEnd();
      blessed.push(`=== ${name}\n${before}\n--\n${result}\n`);
      if (process.env.BLESS === undefined) expect(result).toBe(after);
    });
  afterAll(() => {
    if (process.env.BLESS !== undefined && blessed.length === cases.length) writeFileSync(file, blessed.join('\n'));
  });
}
