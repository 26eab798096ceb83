/**
 * Trains a job from PyTorch's initial weights on PyTorch's inputs and compares the losses, step by step.
 * `node parity.js JOB DIR [TARGET]`, DIR as written by `torch_jobs.py JOB --dump DIR`.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openData } from '../runtime/data/dataset.ts';
import { readTensor, readWeightsHeader } from '../runtime/safetensors.ts';
import { chooseInputs, scalarsOf } from '../runtime/step.ts';
import type { TypedArray } from '../runtime/program.ts';
import { createPrograms } from '../tools/driver/programs.ts';
import { openProject } from '../tools/driver/project.ts';
import { openTarget } from '../tools/driver/target.ts';
import type { TargetName } from '../tools/driver/targets/index.ts';
import { jobFile, jobs } from './jobs.ts';

export interface Parity {
  readonly job: string;
  readonly losses: readonly number[];
  readonly torch: readonly number[];
  /** Largest relative difference. */
  readonly worst: number;
}

/** PyTorch's name of a parameter as ours. A matrix of a linear or recurrent layer lies the other way round there. */
const names: Readonly<Record<string, readonly (readonly [RegExp, string, 'transpose' | 'keep'])[]>> = {
  mlp: [
    [/^layers\.0\.weight$/, 'fc1.weight', 'transpose'],
    [/^layers\.1\.weight$/, 'fc2.weight', 'transpose'],
    [/^layers\.2\.weight$/, 'fc3.weight', 'transpose'],
    [/^layers\.0\.bias$/, 'fc1.bias', 'keep'],
    [/^layers\.1\.bias$/, 'fc2.bias', 'keep'],
    [/^layers\.2\.bias$/, 'fc3.bias', 'keep'],
  ],
  gpt: [
    [/^(tok|pos)\.weight$/, '$1.weight', 'keep'],
    [/^(.*ln\d?)\.weight$/, '$1.scale', 'keep'],
    [/^(.*ln\d?)\.bias$/, '$1.shift', 'keep'],
    [/^(blocks\.\d+\..*)\.weight$/, '$1.weight', 'transpose'],
    [/^(blocks\.\d+\..*)\.bias$/, '$1.bias', 'keep'],
  ],
  bilstm: [
    [/^embed\.weight$/, 'embed.weight', 'keep'],
    [/^head\.weight$/, 'head.weight', 'transpose'],
    [/^head\.bias$/, 'head.bias', 'keep'],
    [/^lstm\.weight_ih_l0_reverse$/, 'backward.wx', 'transpose'],
    [/^lstm\.weight_hh_l0_reverse$/, 'backward.wh', 'transpose'],
    [/^lstm\.bias_ih_l0_reverse$/, 'backward.bx', 'keep'],
    [/^lstm\.bias_hh_l0_reverse$/, 'backward.bh', 'keep'],
    [/^lstm\.weight_ih_l0$/, 'forward.wx', 'transpose'],
    [/^lstm\.weight_hh_l0$/, 'forward.wh', 'transpose'],
    [/^lstm\.bias_ih_l0$/, 'forward.bx', 'keep'],
    [/^lstm\.bias_hh_l0$/, 'forward.bh', 'keep'],
  ],
};

export async function compareWithTorch(job: string, folder: string, targetName: TargetName = 'cpu'): Promise<Parity> {
  const project = await openProject(jobFile(job), { data: [folder] });
  const { block, plan, data } = await project.train(jobs[job].train);
  const target = await openTarget(targetName);
  const programs = createPrograms(block, data, target);
  const init = await programs.init();
  await init.run(chooseInputs(init, new Map(), scalarsOf(0, 0, 0, 0)));
  const file = project.files.open('init.safetensors');
  for (const tensor of readWeightsHeader(file).tensors.values()) {
    const rule = names[job].find(([pattern]) => pattern.test(tensor.name));
    if (rule === undefined) throw new Error(`nothing takes PyTorch's ${tensor.name}`);
    const values = readTensor(file, tensor, 'f32');
    target.session.write(
      `model.${tensor.name.replace(rule[0], rule[1])}`,
      rule[2] === 'keep' ? values : transposed(values, tensor.shape),
    );
  }
  file.close();
  const losses: number[] = [];
  const dataset = await openData(plan.data, project.files, { prefetch: false });
  const torch: number[] = JSON.parse(readFileSync(resolve(folder, 'losses.json'), 'utf8'));
  for await (const { fields, size } of dataset.batches(0)) {
    const program = await programs.step(size, 'only');
    const results = await program.run(chooseInputs(program, fields, scalarsOf(0, losses.length + 1, 0, 0)));
    losses.push((results.get('loss.sum')?.[0] ?? NaN) / (results.get('loss.count')?.[0] ?? NaN));
  }
  await dataset.close();
  target.session.close();
  const worst = Math.max(...losses.map((loss, at) => Math.abs(loss - torch[at]) / Math.abs(torch[at])));
  return { job, losses, torch, worst: losses.length === torch.length ? worst : NaN };
}

function transposed(values: TypedArray, [rows, columns]: readonly number[]): Float32Array {
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) result[column * rows + row] = values[row * columns + column];
  return result;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [job, folder, target] = process.argv.slice(2);
  console.log(
    JSON.stringify(await compareWithTorch(job, folder, target === 'reference' ? 'reference' : 'cpu'), undefined, 1),
  );
}
