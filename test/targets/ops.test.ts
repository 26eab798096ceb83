/** Every op, on every sample of its record, and random graphs with their gradients: cpu against the reference. */
import { describe, expect, test } from 'vitest';
import type { Graph, OpName } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { elementCount } from '../../compiler/tile/interpret.ts';
import { compile } from '../../compiler/pipeline.ts';
import { capabilitiesOf } from '../../compiler/targets/llvm/features.ts';
import type { Dtype } from '../../compiler/types/dtype.ts';
import { isFloat } from '../../compiler/types/dtype.ts';
import { concrete } from '../../compiler/types/dim.ts';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import type { TypedArray } from '../../runtime/program.ts';
import { randomGraph } from '../support/random-graph.ts';
import type { Ranges } from '../support/samples.ts';
import { draw, eachSample, graphOf, numbers, opNames } from '../support/samples.ts';
import { runNative } from '../tile/native.ts';
import { together } from '../tile/programs.ts';
import { typed, untyped } from '../tile/values.ts';

const cpu = await describeCpu();
const { architecture = 'x86_64', features = '' } = cpu;

interface Proof {
  readonly says: string;
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
  u8: 0,
  bool: 0,
};

/** Compiles and runs the graphs natively, as one program, and compares every result with the reference's. */
async function prove(proofs: readonly Proof[]): Promise<void> {
  const inputs = proofs.map(({ says, graph, ranges }) => {
    const next = numbers(says.length);
    return new Map(graph.inputs.map((input): [string, Tensor] => [input.name, draw(input.value.type, next, ranges)]));
  });
  const tiles = proofs.map(
    ({ graph }) => compile(graph, capabilitiesOf({ architecture, features }, 2), { verify: true }).tile,
  );
  const given = tiles.flatMap(({ buffers }, place) =>
    buffers.flatMap(({ name }): [string, TypedArray][] => {
      const tensor = inputs[place].get(name);
      return tensor === undefined ? [] : [[`${place}.${name}`, typed(tensor.type.dtype, tensor.data)]];
    }),
  );
  const got = await runNative(together(tiles), Object.fromEntries(given), { threads: 2, guard: true });
  for (const [place, { says, graph }] of proofs.entries()) {
    const want = interpretGraph(graph, inputs[place], { precision: 'as-written' });
    for (const { name, role, value } of graph.outputs) {
      if (role !== 'result') continue;
      const { dtype, shape } = value.type;
      const result = untyped(dtype, got.get(`${place}.${name}`) ?? new Float32Array(0));
      const wanted = want.get(name)?.data ?? new Float64Array(0);
      expect(result.length).toBe(elementCount(concrete(shape)));
      const scale = isFloat(dtype)
        ? wanted.reduce((most, element) => (Number.isFinite(element) ? Math.max(most, Math.abs(element)) : most), 0)
        : 0;
      wanted.forEach((element, at) => {
        const near =
          Object.is(result[at], element) ||
          result[at] === element ||
          Math.abs(result[at] - element) <= tolerances[dtype] * (Math.abs(element) + 0.1 * scale);
        if (!near)
          throw new Error(`${says}: ${name}[${at}] is ${result[at]} on the cpu and ${element} on the reference`);
      });
    }
  }
}

describe.skipIf(cpu.problem !== undefined)(
  `cpu against reference${cpu.problem === undefined ? '' : ` (skipped: ${cpu.problem})`}`,
  () => {
    const proofs = new Map<OpName, Proof[]>(opNames.map((op) => [op, []]));
    eachSample((op, sample, place) => {
      const types = sample.inputs.map(({ dtype, shape }) => `${dtype}[${concrete(shape).join(', ')}]`).join(', ');
      proofs.get(op)?.push({ says: `${op} ${place}: ${types}`, graph: graphOf(op, sample), ranges: sample });
    });
    test.each(opNames)('%s', async (op) => {
      const native = (proofs.get(op) ?? []).filter(({ graph }) =>
        graph.inputs.every(({ value }) => value.type.dtype !== 'f64'),
      );
      expect(native.length).toBeGreaterThan(0);
      await prove(native);
    });

    test('random graphs with their gradients', async () => {
      for (let start = 1; start <= 40; start += 10) {
        await prove(
          Array.from({ length: 10 }, (_, i) => ({
            says: `random graph ${start + i}`,
            graph: randomGraph(start + i),
            ranges: {},
          })),
        );
      }
    });
  },
);
