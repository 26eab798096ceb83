/** Optimized graphs compute what unoptimized ones do, pass by pass, and their text reads back. */
import { describe, expect, test } from 'vitest';
import type { Graph } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { parseGraph } from '../../compiler/graph/parse-text.ts';
import { printGraph } from '../../compiler/graph/text.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import { optimize, passes } from '../../compiler/optimize/index.ts';
import { randomGraph } from '../support/random-graph.ts';
import { draw, numbers } from '../support/samples.ts';

const inputsOf = (graph: Graph, seed: number): Map<string, Tensor> => {
  const next = numbers(seed);
  return new Map(graph.inputs.map(({ name, value }) => [name, draw(value.type, next, { range: [-1, 1] })]));
};

function expectSame(before: Graph, after: Graph, seed: number): void {
  const inputs = inputsOf(before, seed);
  const [expected, found] = [before, after].map((graph) => interpretGraph(graph, inputs, { precision: 'as-written' }));
  for (const [name, { data, type }] of expected) {
    const other = found.get(name);
    expect(other?.type).toEqual(type);
    // Differences add up along a graph; they are judged against the largest element.
    const scale = data.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1e-2);
    data.forEach((value, place) => {
      const now = other?.data[place] ?? NaN;
      const close =
        Object.is(value, now) || (Number.isNaN(value) && Number.isNaN(now)) || Math.abs(value - now) <= 1e-4 * scale;
      expect(close, `${name}[${place}]: ${value} became ${now}\n${printGraph(before)}\n${printGraph(after)}`).toBe(
        true,
      );
    });
  }
}

describe('200 random graphs, forward and backward', () => {
  for (let group = 0; group < 20; group++)
    test(`${group * 10} to ${group * 10 + 9}`, () => {
      for (let seed = group * 10; seed < group * 10 + 10; seed++) {
        const graph = randomGraph(seed);
        expect(verifyGraph(graph), printGraph(graph)).toEqual([]);
        const after = optimize(graph, { verify: true });
        expectSame(graph, after, seed);
        const text = printGraph(after, { origins: false });
        expect(printGraph(parseGraph(text), { origins: false })).toBe(text);
        expectSame(after, parseGraph(text), seed);
      }
    });
});

test.each(passes.map((pass) => [pass.name, pass] as const))('%s alone changes no result', (_, pass) => {
  for (let seed = 300; seed < 330; seed++) {
    const graph = randomGraph(seed);
    const after = pass.run(graph);
    expect(verifyGraph(after)).toEqual([]);
    expectSame(graph, after, seed);
  }
});
