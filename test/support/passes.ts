/** Comparing what passes make of a graph, alone, left out and all together, with what it meant before. */
import { expect } from 'vitest';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { interpretLoop } from '../../compiler/loop/interpret.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { verifyLoop } from '../../compiler/loop/verify.ts';
import { passes, type OptimizeOptions } from '../../compiler/optimize/index.ts';
import { numbers } from './numbers.ts';
import { draw } from './samples.ts';

type Results = ReadonlyMap<string, Tensor>;

export function interpret(graph: Graph, seed: number): Results {
  const next = numbers(seed);
  const inputs = new Map(graph.inputs.map(({ name, value }) => [name, draw(value.type, next, { range: [-1, 1] })]));
  return interpretGraph(graph, inputs, { precision: 'as-written' });
}

/** The same through fusion and the interpreter of Loop IR. */
export function interpretFused(graph: Graph, seed: number): Results {
  const next = numbers(seed);
  const buffers = new Map(
    graph.inputs.map(({ name, value }) => [name, draw(value.type, next, { range: [-1, 1] }).data.slice()]),
  );
  const { program } = fuse(graph);
  expect(verifyLoop(program), printLoop(program)).toEqual([]);
  interpretLoop(program, buffers);
  return new Map(
    graph.outputs.map(({ name, value: { type } }) => [name, { type, data: buffers.get(name) ?? new Float64Array(0) }]),
  );
}

/** Differences add up along a graph; they are judged against the largest element. */
export function expectSame(expected: Results, found: Results, tolerance: number, what: () => string): void {
  for (const [name, { data, type }] of expected) {
    const other = found.get(name);
    expect(other?.type).toEqual(type);
    const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-2);
    const off = data.findIndex((value, place) => {
      const now = other?.data[place] ?? NaN;
      const bothNaN = Number.isNaN(value) && Number.isNaN(now);
      return !(value === now || bothNaN || Math.abs(value - now) <= tolerance * largest);
    });
    if (off >= 0) expect.fail(`${name}[${off}]: ${data[off]} became ${other?.data[off]}\n${what()}`);
  }
}

export const ways: readonly { readonly name: string; readonly options: OptimizeOptions; readonly tolerance: number }[] =
  [
    { name: 'all', options: {}, tolerance: Math.max(...passes.filter(isAsked).map(({ tolerance }) => tolerance)) },
    ...passes.map(({ name, tolerance }) => ({ name: `${name} alone`, options: { only: [name] }, tolerance })),
    ...passes.map(({ name }) => ({
      name: `without ${name}`,
      options: { without: [name] },
      tolerance: Math.max(
        ...passes.filter((pass) => isAsked(pass) && pass.name !== name).map((pass) => pass.tolerance),
      ),
    })),
  ];

/** Without a precision insert-casts has nothing to do; what it rounds where it has is tested below. */
function isAsked({ name }: { readonly name: string }): boolean {
  return name !== 'insert-casts';
}
