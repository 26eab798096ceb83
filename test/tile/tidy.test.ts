/** What schedules leave behind is cleared away, and nothing else: a kernel computes what it did. */
import { join } from 'node:path';
import { expect } from 'vitest';
import { interpretTile } from '../../compiler/tile/interpret.ts';
import { parseTile } from '../../compiler/tile/parse.ts';
import { printTile } from '../../compiler/tile/text.ts';
import { tidy } from '../../compiler/tile/tidy.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import { verifyTile } from '../../compiler/tile/verify.ts';
import { runCases } from '../support/cases.ts';

const tidied = (program: TileProgram): TileProgram => ({
  ...program,
  steps: program.steps.map((step) => (step.kind === 'launch' ? { ...step, kernel: tidy(step.kernel) } : step)),
});

/** What all buffers hold in the end. */
function resultOf(program: TileProgram): Map<string, Float64Array> {
  const contents = new Map(
    program.buffers.map(({ name, shape }): [string, Float64Array] => [
      name,
      Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, at) => (at % 7) + 1),
    ]),
  );
  interpretTile(program, contents);
  return contents;
}

runCases(join(import.meta.dirname, 'tidy.case'), (text) => {
  const program = parseTile(text);
  const result = tidied(program);
  for (const one of [program, result]) expect(verifyTile(one)).toEqual([]);
  expect(resultOf(result)).toEqual(resultOf(program));
  expect(printTile(tidied(result))).toBe(printTile(result));
  return printTile(result);
});
