/** Every op, on every sample of its record, and random graphs with their gradients: WebGPU against the reference. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openWebGpuSession, type WebGpuSession } from '../../runtime/devices/webgpu.ts';
import type { TypedArray } from '../../runtime/program.ts';
import { expectNear, inputsOf, type Proof, samplesByOp } from '../support/proof.ts';
import { randomGraph } from '../support/random-graph.ts';
import { opNames } from '../support/samples.ts';
import { compileFor, webgpuProblem, webgpuProgram } from '../support/webgpu.ts';
import { together } from '../tile/programs.ts';
import { typed } from '../tile/values.ts';

describe.skipIf(webgpuProblem !== undefined)(
  `webgpu against reference${webgpuProblem === undefined ? '' : ` (skipped: ${webgpuProblem})`}`,
  () => {
    let session: WebGpuSession;
    beforeAll(async () => void (session = await openWebGpuSession()));
    afterAll(() => session.close());

    /** Compiles and runs the graphs as one program, and compares every result with the reference's. */
    async function prove(proofs: readonly Proof[]): Promise<void> {
      const inputs = proofs.map(inputsOf);
      const tiles = proofs.map(({ graph }) => compileFor(session, graph));
      const given = tiles.flatMap(({ buffers }, place) =>
        buffers.flatMap(({ name }): [string, TypedArray][] => {
          const tensor = inputs[place].get(name);
          return tensor === undefined ? [] : [[`${place}.${name}`, typed(tensor.type.dtype, tensor.data)]];
        }),
      );
      const executable = await session.load(webgpuProgram(together(tiles, 4)));
      for (const [name, data] of given) if (session.fields.has(name)) session.write(name, data);
      const got = await executable.run(new Map(given));
      proofs.forEach((proof, place) =>
        expectNear(proof, inputs[place], (name) => got.get(`${place}.${name}`), 'webgpu', { pow: 1e-4 }),
      );
    }

    const proofs = samplesByOp();
    test.each(opNames)('%s', async (op) => {
      const possible = (proofs.get(op) ?? []).filter(({ graph }) =>
        graph.nodes.every(({ outputs }) => outputs.every(({ type }) => type.dtype !== 'f64')),
      );
      expect(possible.length).toBeGreaterThan(0);
      await prove(possible);
    });

    test('random graphs with their gradients', async () => {
      await prove(
        Array.from({ length: 10 }, (_, i) => ({
          says: `random graph ${i + 1}`,
          graph: randomGraph(i + 1),
          ranges: {},
        })),
      );
    });
  },
);
