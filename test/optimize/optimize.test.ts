/**
 * Passes change no result by more than they say — alone, left out, and all together — on 500 random graphs, forward and
 * backward, as they are and fused; and the text of what they make reads back. Every pass has something to do in some of them.
 */
import { describe, expect, test } from 'vitest';
import type { Graph } from '../../compiler/graph/graph.ts';
import { parseGraph } from '../../compiler/graph/parse-text.ts';
import { printGraph } from '../../compiler/graph/text.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import { optimize, passes, type OptimizeOptions } from '../../compiler/optimize/index.ts';
import { expectSame, interpret, interpretFused, ways } from '../support/passes.ts';
import { randomGraph } from '../support/random-graph.ts';

const seeds = 500;
const atOnce = 25;

/** Every third graph asks for activations to be computed again. */
const asked = (seed: number, size = 8 + (seed % 3) * 4): Graph => {
  const graph = randomGraph(seed, { size });
  return seed % 3 === 0 ? { ...graph, recompute: ['model.a', 'model.b'] } : graph;
};

describe(`${seeds} random graphs`, () => {
  const changed = new Set<string>();
  const noteChange: OptimizeOptions['observe'] = ({ name }, before, after) => {
    if (printGraph(before) !== printGraph(after)) changed.add(name);
  };

  for (let start = 0; start < seeds; start += atOnce)
    test(`${start} to ${start + atOnce - 1}`, () => {
      for (let seed = start; seed < start + atOnce; seed++) {
        const graph = asked(seed);
        expect(verifyGraph(graph), printGraph(graph)).toEqual([]);
        const expected = interpret(graph, seed);
        for (const [place, { name, options, tolerance }] of ways.entries()) {
          const after = optimize(graph, { ...options, verify: true });
          // All together, and one way in turn, on through fusion, which rounds sums in another order.
          if (place === 0 || place === seed % ways.length)
            expectSame(
              expected,
              interpretFused(after, seed),
              tolerance + 2e-4,
              () => `${name}, fused\n${printGraph(graph)}\n${printGraph(after)}`,
            );
          expectSame(
            expected,
            interpret(after, seed),
            tolerance,
            () => `${name}\n${printGraph(graph)}\n${printGraph(after)}`,
          );
        }
        const text = printGraph(optimize(graph, { observe: noteChange }), { origins: false });
        expect(printGraph(parseGraph(text), { origins: false })).toBe(text);
      }
    });

  test('every pass changed some', () => {
    // What it does is tested below, with a precision asked for.
    expect(passes.map(({ name }) => name).filter((name) => !changed.has(name))).toEqual(['insert-casts']);
  });
});

test('after the casts of mixed precision no pass rounds anything more or less', () => {
  let rounded = 0;
  for (let seed = 0; seed < 150; seed++) {
    const precision = {
      products: seed % 2 === 0 ? 'bf16' : 'f16',
      storage: seed % 2 === 0 ? 'bf16' : 'f16',
      except: [],
    } as const;
    const graph = { ...asked(seed, 40), precision };
    const plain = interpret(optimize(graph, { only: ['simplify'] }), seed);
    const cast = interpret(optimize(graph, { after: 'insert-casts' }), seed);
    const all = optimize(graph, { verify: true });
    expectSame(cast, interpret(all, seed), 0, () => printGraph(all));
    if ([...plain].some(([name, { data }]) => data.some((value, place) => value !== cast.get(name)?.data[place])))
      rounded++;
  }
  expect(rounded).toBeGreaterThan(10);
});

test('what is computed again is there twice, and late', () => {
  const copied = Array.from({ length: 60 }, (_, at) => optimize(asked(3 * at))).filter(({ nodes }) =>
    nodes.some(({ op }) => op === 'after'),
  );
  expect(copied.length).toBeGreaterThan(5);
});
