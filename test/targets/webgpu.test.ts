/** Every op, on every sample of its record, and random graphs with their gradients: WebGPU against the reference. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { openWebGpuSession, type WebGpuSession } from '../../runtime/devices/webgpu.ts';
import type { TypedArray } from '../../runtime/program.ts';
import { nacre } from '../support/nacre.ts';
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

    test('a run is one submit, whatever it launches', async () => {
      const build = createBuilder('chain');
      let x = build.input('x', 'batch', { dtype: 'f32', shape: [64, 64] });
      for (let link = 0; link < 3; link++) x = build.matmul(x, x);
      build.output('y', 'result', x);
      const executable = await session.load(webgpuProgram(compileFor(session, build.finish())));
      expect(executable.dispatches).toBe(3);
      const submit = vi.spyOn(GPUQueue.prototype, 'submit');
      await executable.run(new Map([['x', new Float32Array(64 * 64)]]));
      expect(submit).toHaveBeenCalledTimes(1);
      submit.mockRestore();
    });

    test('reductions of long rows are the same bits in subgroups and through workgroup memory', async () => {
      expect(session.subgroupThreads).toBeGreaterThan(1);
      const build = createBuilder('rows');
      const x = build.input('x', 'batch', { dtype: 'f32', shape: [7, 1000] });
      build.output('sum', 'result', build.reduce('sum', x, [1]));
      build.output('top', 'result', build.reduce('max', build.unary('abs', x), [1]));
      build.output('where', 'result', build.argreduce('max', build.unary('sin', x), 1));
      const graph = build.finish();
      const given = new Map([['x', Float32Array.from({ length: 7000 }, (_, at) => ((at * 7919) % 1013) / 97 - 5)]]);
      const results = [true, false].map(async (subgroups) => {
        const program = webgpuProgram(compileFor(session, graph, subgroups ? {} : { subgroupThreads: 1 }));
        const code = program.kernels.map((kernel) => kernel.code).join('');
        expect(code.includes('enable subgroups;')).toBe(subgroups);
        // A team of a subgroup needs no memory; a larger one halves itself until it is one.
        const barriers = code.split('workgroupBarrier()').length;
        return { barriers, found: await (await session.load(program)).run(given) };
      });
      const [inSubgroups, inMemory] = await Promise.all(results);
      expect(inSubgroups.barriers).toBeLessThan(inMemory.barriers);
      expect([...inSubgroups.found]).toEqual([...inMemory.found]);
    });

    test('a run whose GPU is lost goes on from its last checkpoint', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'nacre-lost-'));
      const request = GPUAdapter.prototype.requestDevice;
      const devices: GPUDevice[] = [];
      GPUAdapter.prototype.requestDevice = async function (...words) {
        const device = await request.apply(this, words);
        devices.push(device);
        return device;
      };
      try {
        const rings = join(import.meta.dirname, '../../examples/rings.model');
        const text = readFileSync(rings, 'utf8').replace('save best accuracy', 'save every 20');
        const file = join(folder, 'rings.model');
        writeFileSync(file, text);
        const words = ['train', file, '--steps', '80', '--out', folder, '--json'];
        const training = nacre(...words, '--target', 'webgpu');
        while (!existsSync(join(folder, 'rings-1/checkpoints/000000020.json')))
          await new Promise((rest) => setTimeout(rest, 20));
        devices[0].destroy();
        const { code, out, err } = await training;
        expect([code, err]).toEqual([
          0,
          expect.stringMatching(/The GPU was lost.* going on from the last checkpoint of .*rings-1/),
        ]);
        expect(devices).toHaveLength(2);
        const events = out
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line));
        const last = events.findLast(({ event }) => event === 'step');
        const whole = await nacre(...words, '--target', 'wasm');
        const wanted = whole.out
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line))
          .findLast(({ event }) => event === 'step');
        expect(last.step).toBe(80);
        expect(last.loss).toBeCloseTo(wanted.loss, 4);
      } finally {
        GPUAdapter.prototype.requestDevice = request;
        rmSync(folder, { recursive: true });
      }
    });

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
