/** The wasm target. Every op, on every sample of its record, and random graphs with their gradients, against the reference. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compile } from '../../compiler/pipeline.ts';
import { capabilitiesOf } from '../../compiler/targets/wasm/features.ts';
import { openWasmSession, type WasmSession } from '../../runtime/devices/wasm.ts';
import type { TypedArray } from '../../runtime/program.ts';
import { expectNear, inputsOf, type Proof, samplesByOp } from '../support/proof.ts';
import { randomGraph } from '../support/random-graph.ts';
import { opNames } from '../support/samples.ts';
import { wasmProgram } from '../support/wasm.ts';
import { together } from '../tile/programs.ts';
import { typed } from '../tile/values.ts';

describe.each([
  { threads: 1, apart: false },
  { threads: 2, apart: false },
  { threads: 2, apart: true },
])('wasm against reference, threads: $threads, temporaries apart: $apart', ({ threads, apart }) => {
  let session: WasmSession;
  beforeAll(async () => void (session = await openWasmSession({ threads, guard: true, apart })));
  afterAll(() => session.close());

  /** Compiles and runs the graphs as one program, and compares every result with the reference's. */
  async function prove(proofs: readonly Proof[]): Promise<void> {
    const inputs = proofs.map(inputsOf);
    const tiles = proofs.map(({ graph }) => compile(graph, capabilitiesOf(threads), { verify: true }).tile);
    const given = tiles.flatMap(({ buffers }, place) =>
      buffers.flatMap(({ name }): [string, TypedArray][] => {
        const tensor = inputs[place].get(name);
        return tensor === undefined ? [] : [[`${place}.${name}`, typed(tensor.type.dtype, tensor.data)]];
      }),
    );
    const executable = await session.load(wasmProgram(together(tiles)));
    for (const [name, data] of given) if (session.fields.has(name)) session.write(name, data);
    const got = await executable.run(new Map(given));
    proofs.forEach((proof, place) => expectNear(proof, inputs[place], (name) => got.get(`${place}.${name}`), 'wasm'));
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
      Array.from({ length: 40 }, (_, i) => ({ says: `random graph ${i + 1}`, graph: randomGraph(i + 1), ranges: {} })),
    );
  });
});
