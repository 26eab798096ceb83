/** The arena: no two temporaries that live at the same time share a byte, and lives include what repeats carry. */
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Capabilities } from '../../compiler/targets/target.ts';
import { forWebGpu } from '../../compiler/targets/wgsl/compiler.ts';
import { parameter, register } from '../../compiler/tile/build.ts';
import { interpretTile } from '../../compiler/tile/interpret.ts';
import { parseTile } from '../../compiler/tile/parse.ts';
import { livesOf, planMemory } from '../../compiler/tile/plan-memory.ts';
import { printTile } from '../../compiler/tile/text.ts';
import type { Memory, TileProgram, TileStep } from '../../compiler/tile/tile.ts';
import { verifyTile } from '../../compiler/tile/verify.ts';
import { runCases } from '../support/cases.ts';
import { nativeProblem, runNative } from './native.ts';
import { launch } from './programs.ts';

let kernels = 0;

/** A launch that touches the buffers named, of whatever size; `!name` writes it. */
function touch(...uses: readonly string[]): TileStep {
  const parameters = uses.map((use): Memory =>
    parameter(use.replace('!', ''), 'f32', 0, use.startsWith('!') ? 'write' : 'read'),
  );
  return launch({ name: `k${kernels++}`, parameters, body: [] });
}

const repeat = (body: readonly TileStep[]): TileStep => ({
  kind: 'repeat',
  index: register('t', 'index'),
  trips: 3,
  reverse: false,
  body,
});

const program = (sizes: Readonly<Record<string, number>>, steps: readonly TileStep[]): TileProgram => ({
  name: 'plan',
  arena: 0,
  steps,
  buffers: Object.entries(sizes).map(([name, size]) => ({ name, role: 'temporary', dtype: 'f32', shape: [size] })),
});

describe.each<[string, Pick<Capabilities, 'smallestElement' | 'halvesApart'>]>([
  ['plan-memory', { smallestElement: 1, halvesApart: false }],
  ['plan-memory-webgpu', forWebGpu({ subgroupThreads: 1, halves: true }).capabilities],
])('%s.case', (name, { smallestElement, halvesApart }) =>
  runCases(join(import.meta.dirname, `${name}.case`), async (before) => {
    const program = parseTile(before);
    const planned = planMemory(program, smallestElement, halvesApart);
    for (const one of [program, planned]) expect(verifyTile(one, smallestElement)).toEqual([]);
    // The interpreter gives each temporary memory of its own; a processor has them where they were placed.
    if (nativeProblem === undefined && !halvesApart) {
      const x = Float32Array.from({ length: 64 }, (_, i) => i - 20.5).slice(0, program.buffers[0].shape[0]);
      const wanted = new Map([['x', Float64Array.from(x)]]);
      interpretTile(program, wanted);
      expect([...((await runNative(planned, { x })).get('y') ?? [])]).toEqual([...(wanted.get('y') ?? [])]);
    }
    return printTile(planned);
  }),
);

describe('planMemory', () => {
  test('what a trip leaves for the next lives through the whole repeat, though nothing outside uses it', () => {
    const steps = [repeat([touch('!x'), touch('h', '!y'), touch('y', '!h')])];
    const lives = livesOf(program({ h: 16, x: 16, y: 16 }, steps));
    expect(lives.get('h')).toEqual({ first: 0, last: 2 });
    expect(lives.get('x')).toEqual({ first: 0, last: 0 });
  });

  test('no two live temporaries overlap, whatever the steps', () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const uses = fc
      .uniqueArray(fc.tuple(fc.constantFrom(...names), fc.boolean()), {
        minLength: 1,
        maxLength: 3,
        selector: ([name]) => name,
      })
      .map((list) => touch(...list.map(([name, writes]) => (writes ? `!${name}` : name))));
    const body = fc.array(uses, { minLength: 1, maxLength: 4 });
    const steps = fc.array(
      fc.oneof(
        uses,
        body.map(repeat),
        body.map((inner) => repeat([repeat(inner), ...inner])),
      ),
      { minLength: 1, maxLength: 8 },
    );
    const sizes = fc.record(Object.fromEntries(names.map((name) => [name, fc.nat({ max: 300 })])));
    fc.assert(
      fc.property(steps, sizes, (list, size) => {
        expect(verifyTile(planMemory(program(size, list)))).toEqual([]);
      }),
      { numRuns: 300, seed: 7 },
    );
  });
});
