import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkModule } from '../../compiler/elaborate/generic.ts';
import { elaborateTest } from '../../compiler/elaborate/tests.ts';
import { load, shown } from './support.ts';
import { numbers } from '../support/numbers.ts';

const root = join(import.meta.dirname, '../..');

/** A mutation is the same in every run. */
function generator(seed: number): (below: number) => number {
  const next = numbers(seed);
  return (below) => Math.floor(next() * below);
}

/** Words, numbers and signs taken away, exchanged, repeated. */
function damage(text: string, random: (below: number) => number): string {
  const tokens = text.match(/\/\/[^\n]*|"[^"\n]*"|\w+|\s+|[^\w\s]/g) ?? [];
  for (let count = 1 + random(3); count > 0; count--) {
    const [here, there] = [random(tokens.length), random(tokens.length)];
    switch (random(4)) {
      case 0:
        tokens.splice(here, 1);
        break;
      case 1:
        tokens[here] = tokens[there];
        break;
      case 2:
        tokens.splice(here, 0, tokens[there]);
        break;
      default:
        if (/^\d+$/.test(tokens[here])) tokens[here] = String([0, 1, 3, 1e9, 1e15][random(5)]);
    }
  }
  return tokens.join('');
}

test('damaged files give diagnostics, never an exception', () => {
  const files = readdirSync(join(root, 'stdlib')).filter((file) => file.endsWith('.model'));
  const random = generator(20);
  let wrong = 0;
  for (let round = 0; round < 60; round++) {
    const file = files[random(files.length)];
    const text = damage(readFileSync(join(root, 'stdlib', file), 'utf8'), random);
    const program = load(text, {}, file);
    checkModule(program.entry, program.diagnostics);
    for (const declaration of program.entry.loaded.healthy)
      if (declaration.kind === 'test') elaborateTest(declaration, program.entry.scope);
    if (shown(program.diagnostics) !== '') wrong++;
  }
  expect(wrong).toBeGreaterThan(30);
});
