/** Runs a graph through the Tensor IR interpreter and through fusion and the Loop IR interpreter, on the same inputs. */
import { expect } from 'vitest';
import { fuse, type FuseOptions } from '../../compiler/fuse/fuse.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { interpretLoop } from '../../compiler/loop/interpret.ts';
import type { LoopProgram, Step } from '../../compiler/loop/loop.ts';
import { parseLoop } from '../../compiler/loop/parse.ts';
import { verifyLoop } from '../../compiler/loop/verify.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { elements } from '../../compiler/ops/numeric.ts';
import { isFloat } from '../../compiler/types/dtype.ts';
import { numbers } from '../support/numbers.ts';

/** A deterministic number in -1 … 1. */
export function noise(seed: number): () => number {
  const next = numbers(seed);
  return () => (2 * next() - 1) * 0.99;
}

export function inputsFor(
  graph: Graph,
  seed = 1,
  integers: Readonly<Record<string, number>> = {},
): Map<string, Tensor> {
  const next = noise(seed);
  return new Map(
    graph.inputs.map(({ name, role, value }) => {
      const data = new Float64Array(elements(value.type));
      for (let i = 0; i < data.length; i++) {
        const x = next();
        if (isFloat(value.type.dtype)) data[i] = Math.fround(role === 'state' && name.endsWith('.v') ? x * x : x);
        else if (value.type.dtype === 'bool') data[i] = x > 0 ? 1 : 0;
        else data[i] = Math.floor(((x + 1) / 2) * (integers[name] ?? 5));
      }
      return [name, { type: value.type, data }];
    }),
  );
}

/** Checks that the fused program computes what the graph does, and that its text reads back; returns the program. */
export function expectSame(
  graph: Graph,
  inputs: ReadonlyMap<string, Tensor>,
  tolerance = 1e-4,
  options: FuseOptions = {},
): LoopProgram {
  const wanted = interpretGraph(graph, inputs, { precision: 'as-written' });
  const { program } = fuse(graph, options);
  const text = printLoop(program);
  expect(verifyLoop(program)).toEqual([]);
  const again = parseLoop(text);
  expect(printLoop(again)).toBe(text);
  for (const candidate of [program, again]) {
    const buffers = new Map([...inputs].map(([name, { data }]) => [name, data.slice()]));
    const { outOfRange } = interpretLoop(candidate, buffers);
    expect(outOfRange).toBe(false);
    for (const { name, data } of [...wanted].map(([name, { data }]) => ({ name, data }))) {
      const found = buffers.get(name) ?? new Float64Array(0);
      expect(found.length, name).toBe(data.length);
      data.forEach((value, at) => {
        const difference = Math.abs(found[at] - value);
        if (!(difference <= tolerance * (1 + Math.abs(value))) && !Object.is(found[at], value))
          throw new Error(`${name}[${at}] is ${found[at]}, expected ${value}\n${text}`);
      });
    }
  }
  return program;
}

export const countKernels = (steps: readonly Step[]): number =>
  steps.reduce((count, step) => count + (step.kind === 'kernel' ? 1 : countKernels(step.body)), 0);
