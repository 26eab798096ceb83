/**
 * The same training on every target: twenty steps of small versions of four examples, the loss of each step beside the reference's.
 * WebGPU runs on SwiftShader, CUDA on the emulated driver of test/cuda.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileFor } from '../../compiler/pipeline.ts';
import { forCuda } from '../../compiler/targets/cuda/compiler.ts';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import { openCudaSession } from '../../runtime/devices/cuda.ts';
import { train } from '../../runtime/trainer.ts';
import { createPrograms } from '../../tools/driver/programs.ts';
import { openProject } from '../../tools/driver/project.ts';
import { openTarget } from '../../tools/driver/target.ts';
import type { Target } from '../../tools/driver/targets/backend.ts';
import { emulatedImage, emulatorProblem } from '../support/cuda.ts';
import { webgpuProblem } from '../support/webgpu.ts';

const root = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'nacre-targets-'));
afterAll(() => rmSync(folder, { recursive: true }));

const steps = 20;
const data = (name: string): string => join(root, '../shared/data', name);

interface Small {
  readonly folders: readonly string[];
  /** What is smaller than in the example. */
  readonly smaller: readonly (readonly [string, string])[];
}

const examples: Readonly<Record<string, Small>> = {
  digits: { folders: [], smaller: [['batch(64)', 'batch(16)']] },
  convnet: {
    folders: [data('mnist')],
    smaller: [
      ['batch(64)', 'batch(4)'],
      ['16, kernel', '4, kernel'],
      ['Conv2d{16, 32', 'Conv2d{4, 8'],
      ['7 * 7 * 32', '7 * 7 * 8'],
    ],
  },
  chars: {
    folders: [data('shakespeare')],
    smaller: [
      ['batch(32)', 'batch(2)'],
      ['length: 128', 'length: 24'],
      ['context: int = 128, dim: int = 128', 'context: int = 24, dim: int = 32'],
    ],
  },
  sequence: {
    folders: [],
    smaller: [
      ['batch(64)', 'batch(8)'],
      ['hidden: int = 64', 'hidden: int = 16'],
    ],
  },
};

/** The emulated GPU as a target, which has wgmma. */
async function openEmulated(): Promise<Target> {
  const session = await openCudaSession();
  return {
    session,
    load(graph) {
      const { source, ...program } = compileFor(forCuda(4, true), graph);
      return session.load({ ...program, image: emulatedImage(source) });
    },
  };
}

const native = (await describeCpu()).problem === undefined;
const opening: Readonly<Record<string, { readonly problem: string | undefined; open(): Promise<Target> }>> = {
  cpu: { problem: native ? undefined : 'no libLLVM', open: () => openTarget('cpu', { threads: 2 }) },
  wasm: { problem: undefined, open: () => openTarget('wasm', { threads: 2 }) },
  webgpu: { problem: webgpuProblem, open: () => openTarget('webgpu') },
  cuda: { problem: emulatorProblem, open: openEmulated },
};

let files = 0;

async function losses(name: string, target: Target, precision?: string): Promise<number[]> {
  const { folders, smaller } = examples[name];
  let text = readFileSync(join(root, `examples/${name}.model`), 'utf8');
  for (const [from, to] of smaller) {
    if (!text.includes(from)) throw new Error(`${name} has no ${from}`);
    text = text.replace(from, to);
  }
  if (precision !== undefined) text = text.replace('  optimizer =', `  precision = ${precision}\n  optimizer =`);
  // Evaluations take longer than the steps.
  text = text.replace(/^ {2}eval\([^]*?\n(?= {2}save)/m, '').replace(/^ {2}save .*\n/m, '');
  const path = join(folder, `${name}${++files}.model`);
  writeFileSync(path, text);
  try {
    const project = await openProject(path, { data: folders });
    const { block, plan, data: bound } = await project.train();
    const found: number[] = [];
    await train({
      plan,
      programs: createPrograms(block, bound, target),
      files: project.files,
      out: folder,
      steps,
      onEvent: (event) => void (event.event === 'step' && found.push(event.loss)),
    });
    return found;
  } finally {
    target.session.close();
  }
}

describe.each(Object.entries(examples))('%s', (name, { folders }) => {
  const missing = folders.filter((path) => !existsSync(path));
  let wanted: number[];
  beforeAll(async () => {
    if (missing.length === 0) wanted = await losses(name, await openTarget('reference'));
  });

  it.skipIf(missing.length > 0).for(Object.keys(opening))('on %s', async (target, { skip }) => {
    const { problem, open } = opening[target];
    skip(problem !== undefined, problem);
    const found = await losses(name, await open());
    expect(found).toHaveLength(steps);
    found.forEach((loss, step) => expect(Math.abs(loss / wanted[step] - 1), `step ${step + 1}`).toBeLessThan(1e-4));
  });
});

describe.each(['mixed(bf16)', 'mixed(f16)', 'mixed(tf32)'])('digits in %s', (precision) => {
  it.for(Object.keys(opening))('on %s', async (target, { skip }) => {
    const { problem, open } = opening[target];
    skip(problem !== undefined, problem);
    const wanted = await losses('digits', await openTarget('wasm', { threads: 1 }), precision);
    const found = await losses('digits', await open(), precision);
    found.forEach((loss, step) => expect(Math.abs(loss / wanted[step] - 1), `step ${step + 1}`).toBeLessThan(1e-2));
  });
});
