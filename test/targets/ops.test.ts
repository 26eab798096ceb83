/** Every op, on every sample of its record, and random graphs with their gradients: cpu against the reference. */
import { describe, expect, test } from 'vitest';
import { compile } from '../../compiler/pipeline.ts';
import { capabilitiesOf } from '../../compiler/targets/llvm/features.ts';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import type { TypedArray } from '../../runtime/program.ts';
import { expectNear, inputsOf, type Proof, samplesByOp } from '../support/proof.ts';
import { randomGraph } from '../support/random-graph.ts';
import { opNames } from '../support/samples.ts';
import { runNative } from '../tile/native.ts';
import { together } from '../tile/programs.ts';
import { typed } from '../tile/values.ts';

const cpu = await describeCpu();
const { architecture = 'x86_64', features = '' } = cpu;

/** Compiles and runs the graphs natively, as one program, and compares every result with the reference's. */
async function prove(proofs: readonly Proof[], apart: boolean): Promise<void> {
  const inputs = proofs.map(inputsOf);
  const tiles = proofs.map(
    ({ graph }) => compile(graph, capabilitiesOf({ architecture, features }, 2), { verify: true }).tile,
  );
  const given = tiles.flatMap(({ buffers }, place) =>
    buffers.flatMap(({ name }): [string, TypedArray][] => {
      const tensor = inputs[place].get(name);
      return tensor === undefined ? [] : [[`${place}.${name}`, typed(tensor.type.dtype, tensor.data)]];
    }),
  );
  const got = await runNative(together(tiles), Object.fromEntries(given), { threads: 2, guard: true, apart });
  proofs.forEach((proof, place) => expectNear(proof, inputs[place], (name) => got.get(`${place}.${name}`), 'cpu'));
}

describe.skipIf(cpu.problem !== undefined).each([false, true])(
  `cpu against reference, temporaries apart: %s${cpu.problem === undefined ? '' : ` (skipped: ${cpu.problem})`}`,
  (apart) => {
    const proofs = samplesByOp();
    test.each(opNames)('%s', async (op) => {
      const native = proofs.get(op) ?? [];
      expect(native.length).toBeGreaterThan(0);
      await prove(native, apart);
    });

    test('random graphs with their gradients', async () => {
      for (let start = 1; start <= 40; start += 10) {
        await prove(
          Array.from({ length: 10 }, (_, i) => ({
            says: `random graph ${start + i}`,
            graph: randomGraph(start + i),
            ranges: {},
          })),
          apart,
        );
      }
    });
  },
);
