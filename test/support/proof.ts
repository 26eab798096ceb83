/** What a target has to show: a graph's results on drawn inputs are those of the reference interpreter. */
import { expect } from 'vitest';
import type { Graph, OpName } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { ops } from '../../compiler/ops/index.ts';
import { elementCount } from '../../common/elements.ts';
import { concrete } from '../../compiler/types/dim.ts';
import { type Dtype, isFloat } from '../../compiler/types/dtype.ts';
import type { TypedArray } from '../../runtime/program.ts';
import { untyped } from '../tile/values.ts';
import { numbers } from './numbers.ts';
import { draw, eachSample, graphOf, lossGraphOf, opNames, type Ranges } from './samples.ts';

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

/** Every sample of every op that needs no f64, and its gradient where it has one, by op. */
export function samplesByOp(): ReadonlyMap<OpName, readonly Proof[]> {
  const proofs = new Map<OpName, Proof[]>(opNames.map((op) => [op, []]));
  eachSample((op, sample, place) => {
    if (sample.inputs.some(({ dtype }) => dtype === 'f64')) return;
    const types = sample.inputs.map(({ dtype, shape }) => `${dtype}[${concrete(shape).join(', ')}]`).join(', ');
    const proof = { says: `${op} ${place}: ${types}`, op, ranges: sample };
    proofs.get(op)?.push({ ...proof, graph: graphOf(op, sample) });
    if (ops[op].gradient !== undefined && sample.inputs.some(({ dtype }) => isFloat(dtype)))
      proofs.get(op)?.push({ ...proof, says: `the gradient of ${proof.says}`, graph: lossGraphOf(op, sample) });
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
  // What is computed in half precision on the way is as far apart as that, whatever the result's type.
  const floats = graph.nodes.flatMap(({ outputs }) => outputs.map(({ type }) => type.dtype)).filter(isFloat);
  floats.push('f32');
  // TF32 has the digits of f16.
  if (graph.nodes.some(({ op: name }) => name === 'tf32')) floats.push('f16');
  for (const { name, role, value } of graph.outputs) {
    // A sum in half precision is as far off as its terms are large; the gradients of it are what is asked for.
    if (role !== 'result' || name === 'loss') continue;
    const { dtype, shape } = value.type;
    const result = untyped(dtype, got(name) ?? new Float32Array(0));
    const wanted = want.get(name)?.data ?? new Float64Array(0);
    expect(result.length).toBe(elementCount(concrete(shape)));
    const scale = isFloat(dtype)
      ? wanted.reduce((most, element) => (Number.isFinite(element) ? Math.max(most, Math.abs(element)) : most), 0)
      : 0;
    const tolerance = isFloat(dtype)
      ? Math.max(...floats.map((one) => tolerances[one]), op === undefined ? 0 : (looser[op] ?? 0))
      : tolerances[dtype];
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
