/** nvcc takes the kernels of every example and of the benchmark's jobs and products, for the A100 (sm_80) and the H100 (sm_90a). */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { jobs, openJob } from '../../bench/jobs.ts';
import { productIn } from '../../bench/kernels.ts';
import { compileFor } from '../../compiler/pipeline.ts';
import { forCuda } from '../../compiler/targets/cuda/compiler.ts';
import type { Graph, Precision } from '../../compiler/graph/graph.ts';
import { matrixDtypes } from '../../compiler/targets/target.ts';
import { findNvcc } from '../../tools/driver/targets/cuda-compile.ts';
import { graphOfTrain } from '../../tools/driver/ir.ts';
import { mainKind } from '../../tools/driver/program-kind.ts';
import { openProject, type RunnableTrain } from '../../tools/driver/project.ts';

const nvcc = findNvcc() ?? '';
const root = resolve(import.meta.dirname, '../..');
const shared = join(root, '../shared/data');
const folders = existsSync(shared)
  ? readdirSync(shared).flatMap((name) => (statSync(join(shared, name)).isDirectory() ? [join(shared, name)] : []))
  : [];
const folder = mkdtempSync(join(tmpdir(), 'nacre-nvcc-'));
afterAll(() => rmSync(folder, { recursive: true }));

function compiles(graph: Graph, compiler = forCuda(), versions: readonly string[] = ['80', '90a']): string {
  const { source, kernels, name } = compileFor(compiler, graph);
  expect(kernels.length).toBeGreaterThan(0);
  const text = join(folder, `${name}.cu`);
  writeFileSync(text, source);
  const architectures = versions.map((version) => `-gencode=arch=compute_${version},code=sm_${version}`);
  const options = ['-fatbin', ...architectures, '-fmad=false', '-Werror', 'all-warnings', '-o', join(folder, 'out')];
  execFileSync(nvcc, [...options, text], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  return source;
}

function compilesTrain(train: RunnableTrain): void {
  for (const kind of ['init', mainKind(train.plan)] as const) compiles(graphOfTrain(train, kind));
}

describe.skipIf(nvcc === '')(`nvcc${nvcc === '' ? ' (skipped: there is none)' : ''}`, () => {
  const examples = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.model'));
  it.for(examples)('takes %s', async (name, { skip }) => {
    const project = await openProject(join(root, 'examples', name), { data: folders });
    const trains: RunnableTrain[] = [];
    for (const block of project.trains) {
      const train = await project.train(block).catch((error: unknown) => {
        // Data, or the weights of a run before, that are not on this machine.
        if (error instanceof Error && /There is no file|not in/.test(error.message)) return undefined;
        throw error;
      });
      if (train !== undefined) trains.push(train);
    }
    skip(trains.length === 0 && project.trains.length > 0, 'there are no data for it');
    trains.forEach(compilesTrain);
  });

  it.each(Object.keys(jobs))('takes the job %s', async (name) => compilesTrain(await openJob(name)));

  it.each(matrixDtypes)('takes large products of %s', (dtype) => void compiles(productIn(dtype, 4096)));

  // The H100 alone has them.
  it.each(matrixDtypes)('takes large products of %s by 128 threads', (dtype) =>
    expect(compiles(productIn(dtype, 4096), forCuda(132, true), ['90a'])).toContain(`.f32.${dtype}.${dtype} `),
  );

  it.each(
    ['gpt', 'resnet'].flatMap((name) => (['bf16', 'tf32'] as const).map((products) => [name, products] as const)),
  )('takes the job %s with products of %s by 128 threads', async (name, products) => {
    const graph = graphOfTrain(await openJob(name), 'step');
    const precision: Precision = { products, storage: products === 'tf32' ? 'f32' : products, except: [] };
    expect(compiles({ ...graph, precision }, forCuda(132, true), ['90a'])).toContain('wgmma.mma_async');
  });
});
