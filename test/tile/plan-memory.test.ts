/** The arena: no two temporaries that live at the same time share a byte, and lives include what repeats carry. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parameter, register } from '../../compiler/tile/build.ts';
import { bytesOf, livesOf, planMemory } from '../../compiler/tile/plan-memory.ts';
import type { Memory, TileProgram, TileStep } from '../../compiler/tile/tile.ts';

/** A launch that touches the buffers named; `!name` writes it. */
function launch(
  name: string,
  uses: readonly string[],
  given: (TileStep & { kind: 'repeat' }) | undefined = undefined,
): TileStep {
  const parameters = uses.map((use): Memory =>
    parameter(use.replace('!', ''), 'f32', 16, use.startsWith('!') ? 'write' : 'read'),
  );
  return {
    kind: 'launch',
    buffers: parameters.map((memory) => memory.name),
    arguments: given === undefined ? [] : [given.index],
    kernel: {
      name,
      parameters,
      arguments: [],
      scratch: [],
      grid: 1,
      item: register('item', 'index'),
      workgroup: 1,
      thread: register('thread', 'index'),
      body: [],
    },
  };
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

describe('planMemory', () => {
  test('a buffer takes the place of one that is no longer needed', () => {
    const planned = planMemory(
      program({ a: 1000, b: 1000, c: 1000 }, [
        launch('one', ['!a']),
        launch('two', ['a', '!b']),
        launch('three', ['b', '!c']),
      ]),
    );
    const [a, , c] = planned.buffers;
    expect(c?.offset).toBe(a?.offset);
    expect(planned.arena).toBe(2 * 4032);
  });

  test('what a repeat reads from outside lives to the end of the repeat', () => {
    const lives = livesOf(
      program({ a: 16, b: 16, c: 16 }, [
        launch('one', ['!a']),
        repeat([launch('two', ['a', '!b']), launch('three', ['b', '!c'])]),
      ]),
    );
    expect(lives.get('a')).toEqual({ first: 0, last: 2 });
    expect(lives.get('b')).toEqual({ first: 1, last: 2 });
  });

  test('what a trip leaves for the next lives through the whole repeat', () => {
    const steps = [repeat([launch('one', ['!x']), launch('two', ['h', '!y']), launch('three', ['y', '!h'])])];
    const lives = livesOf(program({ h: 16, x: 16, y: 16 }, steps));
    expect(lives.get('h')).toEqual({ first: 0, last: 2 });
    expect(lives.get('x')).toEqual({ first: 0, last: 0 });
  });

  test('what a trip writes at its own place lives through the whole repeat', () => {
    const outer = repeat([]) as TileStep & { kind: 'repeat' };
    const steps = [{ ...outer, body: [launch('one', ['!rows'], outer), launch('two', ['rows', '!x'])] }];
    expect(livesOf(program({ rows: 16, x: 16 }, steps)).get('rows')).toEqual({ first: 0, last: 1 });
  });

  test('no two live temporaries overlap, whatever the steps', () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const uses = fc
      .uniqueArray(fc.tuple(fc.constantFrom(...names), fc.boolean()), {
        minLength: 1,
        maxLength: 3,
        selector: ([name]) => name,
      })
      .map((list) =>
        launch(
          'k',
          list.map(([name, writes]) => (writes ? `!${name}` : name)),
        ),
      );
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
        const planned = planMemory(program(size, list));
        const lives = livesOf(planned);
        for (const one of planned.buffers) {
          const [start, life] = [one.offset ?? -1, lives.get(one.name)];
          expect(start % 64).toBe(0);
          expect(start + bytesOf(one)).toBeLessThanOrEqual(planned.arena);
          for (const other of planned.buffers) {
            const [place, otherLife] = [other.offset ?? -1, lives.get(other.name)];
            if (one === other || life === undefined || otherLife === undefined) continue;
            const meet = life.first <= otherLife.last && otherLife.first <= life.last;
            const share = start < place + bytesOf(other) && place < start + bytesOf(one);
            expect(meet && share).toBe(false);
          }
        }
      }),
      { numRuns: 300, seed: 7 },
    );
  });
});
