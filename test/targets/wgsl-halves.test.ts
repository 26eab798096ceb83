/**
 * f16 in two bytes, on adapters with shader-f16. SwiftShader has none: there Dawn's own validation, on a device that computes
 * nothing, says whether the modules are right; where the adapter has it (VK_ICD_FILENAMES naming a newer lavapipe), they run.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { jobs, openJob } from '../../bench/jobs.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { compile } from '../../compiler/pipeline.ts';
import { capabilitiesOf } from '../../compiler/targets/wgsl/features.ts';
import { emitWgsl } from '../../compiler/targets/wgsl/step.ts';
import { parseTile } from '../../compiler/tile/parse.ts';
import { printTile } from '../../compiler/tile/text.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import { openWebGpuSession, type WebGpuSession } from '../../runtime/devices/webgpu.ts';
import type { TypedArray } from '../../runtime/program.ts';
import { chooseInputs, scalarsOf } from '../../runtime/step.ts';
import { graphOfTrain } from '../../tools/driver/ir.ts';
import { compileFor, webgpuProblem, webgpuProgram } from '../support/webgpu.ts';

const inHalf = (graph: Graph): Graph => ({ ...graph, precision: { products: 'f16', storage: 'f16', except: [] } });
const stepOf = async (name: string): Promise<Graph> => inHalf(graphOfTrain(await openJob(name), 'step'));
const tileOf = (graph: Graph, halves: boolean): TileProgram =>
  compile(graph, capabilitiesOf(undefined, { subgroupThreads: 1, halves }), { verify: true }).tile;

/** Kept for as long as its device is used, which ends with it. */
let gpu: GPU | undefined;

/** A device that checks everything and does nothing. */
async function checkingDevice(): Promise<GPUDevice | undefined> {
  const dawn = await import('webgpu').catch(() => undefined);
  if (dawn === undefined) return undefined;
  Object.assign(globalThis, dawn.globals);
  gpu = dawn.create(['backend=null']);
  const adapter = await gpu.requestAdapter();
  return adapter?.features.has('shader-f16') === true
    ? adapter.requestDevice({ requiredFeatures: ['shader-f16'] })
    : undefined;
}
const checking = await checkingDevice();

describe('in mixed(f16), f16 apart,', () => {
  test.each(['mlp', 'gpt-small', 'resnet'])('%s takes less memory', async (name) => {
    const graph = await stepOf(name);
    const [words, apart] = [tileOf(graph, false), tileOf(graph, true)];
    expect(words.halves).toBeUndefined();
    expect(apart.halves).toBeGreaterThan(0);
    expect(apart.arena + (apart.halves ?? 0)).toBeLessThan(0.85 * words.arena);
    expect(parseTile(printTile(apart)).halves).toBe(apart.halves);
  });

  test.skipIf(checking === undefined).each(['mlp', 'gpt-small', 'resnet', 'bilstm'])(
    "the kernels of %s are taken by Dawn's compiler",
    async (name) => {
      const { kernels } = emitWgsl(tileOf(await stepOf(name), true));
      expect(kernels.some(({ code }) => code.includes('halves: array<f16>'))).toBe(true);
      for (const { name: kernel, code } of kernels) {
        const module = checking?.createShaderModule({ code });
        const problems = await module?.getCompilationInfo();
        expect(problems?.messages.map(({ message }) => `${kernel}: ${message}`)).toEqual([]);
      }
    },
  );
});

const session = webgpuProblem === undefined ? await openWebGpuSession() : undefined;
afterAll(() => session?.close());

describe.skipIf(session?.halves !== true)('on an adapter with f16', () => {
  let other: WebGpuSession;
  beforeAll(async () => void (other = await openWebGpuSession()));
  afterAll(() => other.close());

  test('a step in mixed(f16) has the same bits as with every element a word', async () => {
    const job = await openJob('mlp');
    const [init, step] = [graphOfTrain(job, 'init'), await stepOf('mlp')];
    const input = Float32Array.from({ length: 64 * 784 }, (_, at) => (at * 0.618) % 1);
    const target = Int32Array.from({ length: 64 }, (_, at) => at % 10);
    const fields = new Map<string, TypedArray>([
      ['input', input],
      ['target', target],
    ]);
    expect(job.plan.batch).toBe(64);
    expect(jobs['mlp'].fields.map(({ name }) => name)).toEqual([...fields.keys()]);
    const run = async (on: WebGpuSession, halves: boolean): Promise<unknown> => {
      const load = (graph: Graph) => on.load(webgpuProgram(compileFor(on, graph, { halves })));
      const [first, each] = [await load(init), await load(step)];
      await first.run(chooseInputs(first, new Map(), scalarsOf(0, 0, 0, 0)));
      const losses: unknown[] = [];
      for (let at = 1; at <= 5; at++)
        losses.push([...(await each.run(chooseInputs(each, fields, scalarsOf(0, at, 0, 0))))]);
      return [losses, await on.read(job.plan.parameters[0].name)];
    };
    if (session === undefined) throw new Error('no session');
    expect(await run(session, true)).toEqual(await run(other, false));
  });
});
