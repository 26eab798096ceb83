import { describe, it } from 'vitest';
import { optimize } from '../../compiler/optimize/index.ts';
import { randomGraph } from '../support/random-graph.ts';
import { expectSame, inputsFor } from './support.ts';

const count = Number(process.env.COUNT ?? 500);
const from = Number(process.env.FROM ?? 0);

describe('fused random graphs compute what they say', () => {
  for (let seed = from; seed < from + count; seed++)
    it(`seed ${seed}`, () => {
      const graph = randomGraph(seed, { size: 10 + (seed % 3) * 8 });
      const inputs = inputsFor(graph, seed, { ids: 2 });
      expectSame(seed % 2 === 0 ? graph : optimize(graph), inputs, 1e-5);
      expectSame(graph, inputs, 1e-5, { apart: true });
    });
});
