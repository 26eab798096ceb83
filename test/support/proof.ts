/** What a target has to show: a graph's results on drawn inputs are those of the reference interpreter. */
import { expect } from 'vitest';
import type { Graph, OpName } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { elementCount } from '../../compiler/tile/interpret.ts';
import { concrete } from '../../compiler/types/dim.ts';
import { type Dtype, isFloat } from '../../compiler/types/dtype.ts';
import type { TypedArray } from '../../runtime/program.ts';
import { untyped } from '../tile/values.ts';
import { draw, eachSample, graphOf, numbers, opNames, type Ranges } from './samples.ts';

export interface Proof {
  readonly says: string;
  readonly op?: OpName;
  readonly graph: Graph;
  readonly ranges: Ranges;
}

/** How far results may be apart: relative to their size, with some room where terms cancel. */
const tolerances: Record<Dtype, number> = {
  f32: 2e-5,
  f16: 4e-3,
  bf16: 3e-2,
  f64: 1e-12,
  i32: 0,
  u32: 0,
  i8: 0,
  u8: 0,
  bool: 0,
};

/** Every sample of every op that needs no f64, by op. */
export function samplesByOp(): ReadonlyMap<OpName, readonly Proof[]> {
  const proofs = new Map<OpName, Proof[]>(opNames.map((op) => [op, []]));
  eachSample((op, sample, place) => {
    if (sample.inputs.some(({ dtype }) => dtype === 'f64')) return;
    const types = sample.inputs.map(({ dtype, shape }) => `${dtype}[${concrete(shape).join(', ')}]`).join(', ');
    proofs.get(op)?.push({ says: `${op} ${place}: ${types}`, op, graph: graphOf(op, sample), ranges: sample });
  });
  return proofs;
}

export function inputsOf({ says, graph, ranges }: Proof): ReadonlyMap<string, Tensor> {
  const next = numbers(says.length);
  return new Map(graph.inputs.map((input): [string, Tensor] => [input.name, draw(input.value.type, next, ranges)]));
}

/** Fails where a result is another than the reference's. `looser`: ops for which the target promises less. */
export function expectNear(
  { says, op, graph }: Proof,
  inputs: ReadonlyMap<string, Tensor>,
  got: (name: string) => TypedArray | undefined,
  target: string,
  looser: Partial<Record<OpName, number>> = {},
): void {
  const want = interpretGraph(graph, inputs, { precision: 'as-written' });
  for (const { name, role, value } of graph.outputs) {
    if (role !== 'result') continue;
    const { dtype, shape } = value.type;
    const result = untyped(dtype, got(name) ?? new Float32Array(0));
    const wanted = want.get(name)?.data ?? new Float64Array(0);
    expect(result.length).toBe(elementCount(concrete(shape)));
    const scale = isFloat(dtype)
      ? wanted.reduce((most, element) => (Number.isFinite(element) ? Math.max(most, Math.abs(element)) : most), 0)
      : 0;
    const tolerance = Math.max(tolerances[dtype], op === undefined ? 0 : (looser[op] ?? 0));
    wanted.forEach((element, at) => {
      const near =
        Object.is(result[at], element) ||
        result[at] === element ||
        Math.abs(result[at] - element) <= tolerance * (Math.abs(element) + 0.1 * scale);
      if (!near)
        throw new Error(`${says}: ${name}[${at}] is ${result[at]} on the ${target} and ${element} on the reference`);
    });
  }
}
