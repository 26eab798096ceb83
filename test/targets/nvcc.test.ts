/** nvcc takes every program of the examples and of the benchmark's jobs, and its products, for the A100 (sm_80) and the H100 (sm_90a). */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { jobs, openJob } from '../../bench/jobs.ts';
import { productIn } from '../../bench/kernels.ts';
import { forCuda } from '../../compiler/targets/cuda/compiler.ts';
import type { Graph, Precision } from '../../compiler/graph/graph.ts';
import { matrixDtypes } from '../../compiler/targets/target.ts';
import { everyProgram } from '../../tools/driver/build.ts';
import { asTrained } from '../../tools/driver/compact.ts';
import { graphOfTrain } from '../../tools/driver/ir.ts';
import { openProject, type RunnableTrain } from '../../tools/driver/project.ts';
import { compileOn } from '../../tools/driver/targets/backend.ts';
import { findNvcc } from '../../tools/driver/targets/cuda-compile.ts';
import { describeExample } from '../support/examples.ts';

const nvcc = findNvcc() ?? '';
const examples = resolve(import.meta.dirname, '../../examples');
const folder = mkdtempSync(join(tmpdir(), 'nacre-nvcc-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Kernels that nvcc has taken, with what it was asked for: many programs have the same ones. */
const taken = new Set<string>();

interface Program {
  readonly name: string;
  readonly source: string;
  readonly kernels: readonly unknown[];
}

/** What is new of programs as one text; each is a namespace, with the helpers that it brings and no others. */
function newIn(programs: readonly Program[], versions: readonly string[]) {
  const added = new Set<string>();
  const namespaces = programs.map(({ name, source, kernels }, at) => {
    const [helpers, ...texts] = source.split(/\n\n(?=\/\/ \d+ blocks of )/);
    expect(texts.length, name).toBe(kernels.length);
    const left = texts.flatMap((text) => {
      const key = [...versions, text.replace(/ k_\w+\(/, ' (')].join();
      if (taken.has(key) || added.has(key)) return [];
      added.add(key);
      return [text.replace(' k_', ` k${added.size}_`)];
    });
    return left.length === 0 ? '' : `namespace program_${at} {\n${[helpers, ...left].join('\n\n')}\n}\n`;
  });
  return { text: namespaces.join(''), added };
}

function compiles(graphs: readonly Graph[], compiler = forCuda(), versions: readonly string[] = ['80', '90a']): string {
  const programs = graphs.map((graph) => compileOn('cuda', compiler, graph));
  programs.forEach(({ name, kernels }) => expect(kernels.length, name).toBeGreaterThan(0));
  const { text, added } = newIn(programs, versions);
  if (text !== '') {
    const path = join(folder, 'programs.cu');
    writeFileSync(path, text);
    const architectures = versions.map((version) => `-gencode=arch=compute_${version},code=sm_${version}`);
    const options = ['-fatbin', '--threads=2', '-fmad=false', '-Werror', 'all-warnings', '-o', join(folder, 'out')];
    execFileSync(nvcc, [...options, ...architectures, path], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    for (const kernel of added) taken.add(kernel);
  }
  return programs.map(({ source }) => source).join('\n');
}

/** Every program that `nacre build` would compile. */
async function compilesTrains(trains: readonly RunnableTrain[]): Promise<void> {
  const graphs: Graph[] = [];
  for (const train of trains) await everyProgram(train, async (graph) => void graphs.push(graph));
  compiles(graphs);
}

async function compilesFile(path: string): Promise<void> {
  const project = await openProject(path, { describe: (plan) => describeExample(plan) });
  expect(project.trains.length).toBeGreaterThan(0);
  await compilesTrains(await Promise.all(project.trains.map(async (block) => asTrained(await project.train(block)))));
}

describe.skipIf(nvcc === '')(`nvcc${nvcc === '' ? ' (skipped: there is none)' : ''}`, () => {
  const names = readdirSync(examples).filter((name) => name.endsWith('.model'));
  it.each(names)('takes %s', (name) => compilesFile(join(examples, name)));

  it('takes steps that accumulate', async () => {
    const path = join(folder, 'accumulate.model');
    const text = readFileSync(join(examples, 'rings.model'), 'utf8');
    writeFileSync(path, text.replace('  optimizer =', '  accumulate 2\n  optimizer ='));
    await compilesFile(path);
  });

  it.each(Object.keys(jobs))('takes the job %s', async (name) => compilesTrains([await openJob(name)]));

  it.each(matrixDtypes)('takes large products of %s', (dtype) => void compiles([productIn(dtype, 4096)]));

  // The H100 alone has them.
  it.each(matrixDtypes)('takes large products of %s by 128 threads', (dtype) =>
    expect(compiles([productIn(dtype, 4096)], forCuda(132, true), ['90a'])).toContain(`.f32.${dtype}.${dtype} `),
  );

  it.each(
    ['gpt', 'resnet'].flatMap((name) => (['bf16', 'tf32'] as const).map((products) => [name, products] as const)),
  )('takes the job %s with products of %s by 128 threads', async (name, products) => {
    const graph = graphOfTrain(await openJob(name), 'step');
    const precision: Precision = { products, storage: products === 'tf32' ? 'f32' : products, except: [] };
    expect(compiles([{ ...graph, precision }], forCuda(132, true), ['90a'])).toContain('wgmma.mma_async');
  });
});
