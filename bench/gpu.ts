/**
 * `npm run bench:gpu`: everything that only an NVIDIA GPU can show, with one command on a machine that has one (its driver, nvcc,
 * compute-sanitizer, and for the peers PyTorch): the losses of twenty steps beside the processor's, in f32 and in mixed precision; the
 * kernels under compute-sanitizer; a product of 4096³ in every type of the tensor cores, with wgmma and without, beside cuBLAS; the jobs
 * of bench/jobs, in steps that are waited for one by one and steps that queue; the job gpt2 beside torch.compile; WebGPU through Vulkan.
 * Prints one JSON line for each, and ends with 1 where a loss is too far off, a kernel is not clean, or a part of ours did not run.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { matrixDtypes } from '../compiler/targets/target.ts';
import { describeCpu } from '../runtime/devices/cpu.ts';
import { describeCuda } from '../runtime/devices/cuda.ts';
import { train } from '../runtime/trainer.ts';
import { createPrograms } from '../tools/driver/programs.ts';
import { openProject, packageRoot } from '../tools/driver/project.ts';
import type { TargetName } from '../tools/driver/targets/index.ts';
import { openTarget } from '../tools/driver/target.ts';
import { compareLosses, lastJson, type Losses, precisions, sanitized } from './gpu-checks.ts';

/** Folders of the data that each example reads. */
const dataOf: Readonly<Record<string, readonly string[]>> = {
  digits: [],
  convnet: ['mnist'],
  chars: ['shakespeare'],
  sequence: [],
};

const { values: flags } = parseArgs({
  options: {
    data: { type: 'string', default: '../shared/data' },
    peers: { type: 'string', default: '../shared/peers' },
    out: { type: 'string', default: 'runs' },
    /** One part alone: `losses`, what compute-sanitizer is run on, or `webgpu`. */
    only: { type: 'string' },
    /** Fewer losses, to try out this script. */
    examples: { type: 'string', default: Object.keys(dataOf).join() },
    precisions: { type: 'string', default: Object.keys(precisions).join() },
    steps: { type: 'string', default: '20' },
  },
});
const chosen = {
  examples: flags.examples.split(','),
  precisions: flags.precisions.split(','),
  steps: Number(flags.steps),
};

const say = (part: string, result: object): void => console.log(JSON.stringify({ part, ...result }));
const here = fileURLToPath(import.meta.url);

/** What is wrong, in the end. */
const problems: string[] = [];

const lossesOn =
  (on: TargetName): Losses =>
  async (example, precision) => {
    if (dataOf[example] === undefined || !(precision in precisions))
      throw new Error(`There is no example ${example}, or no precision ${precision}.`);
    const project = await openProject(`${packageRoot}/examples/${example}.model`, {
      data: dataOf[example].map((folder) => `${flags.data}/${folder}`),
    });
    const { block, plan, data } = await project.train();
    const target = await openTarget(on);
    const found: number[] = [];
    try {
      await train({
        plan: { ...plan, evaluations: [], saves: [] },
        programs: createPrograms({ ...block, precision: precisions[precision] }, data, target),
        files: project.files,
        out: flags.out,
        steps: chosen.steps,
        onEvent: (event) => void (event.event === 'step' && found.push(event.loss)),
      });
    } finally {
      target.session.close();
    }
    return found;
  };

/** Never the GPU itself, which `auto` may be. */
const processor: TargetName = (await describeCpu()).problem === undefined ? 'cpu' : 'wasm';
const known = new Map<string, Promise<readonly number[]>>();
const wanted: Losses = (example, precision) => {
  const key = `${example} ${precision}`;
  const losses = known.get(key) ?? lossesOn(processor)(example, precision);
  known.set(key, losses);
  return losses;
};

async function losses(on: TargetName): Promise<void> {
  const part = `losses on ${on}`;
  const result = await compareLosses({
    ...chosen,
    found: lossesOn(on),
    wanted,
    say: (line) => say(part, { ...line, beside: processor }),
  });
  problems.push(...result.problems.map((problem) => `${part}, ${problem}`));
  // compute-sanitizer's line reads how many there were.
  say(`${part}, in all`, { compared: result.compared, wrong: result.problems.length });
}

const minutes = (count: number): number => count * 60_000;

/** Another program's last line of output, which is JSON; ended where it takes too long. */
function peer(part: string, command: string, words: readonly string[]): string | undefined {
  const options = { encoding: 'utf8', maxBuffer: 2 ** 28, timeout: minutes(5) } as const;
  const { status, stdout, stderr, error } = spawnSync(command, words, options);
  const found = lastJson(stdout ?? '');
  if (status === 0 && found !== undefined) {
    say(part, found);
    return undefined;
  }
  const problem = error?.message ?? stderr.trim().split('\n').at(-1) ?? `it ended with ${status}`;
  say(part, { problem });
  return problem;
}

function measure(part: string, ...words: readonly string[]): void {
  const script = fileURLToPath(new URL('./measure.js', import.meta.url));
  const problem = peer(part, process.execPath, [script, ...words]);
  if (problem !== undefined) problems.push(`${part}: ${problem}`);
}

function sanitize(): void {
  const words = Object.entries(flags).flatMap(([name, value]) => (name === 'only' ? [] : [`--${name}`, String(value)]));
  const ended = spawnSync(
    'compute-sanitizer',
    ['--error-exitcode', '9', process.execPath, here, ...words, '--only', 'losses'],
    { encoding: 'utf8', maxBuffer: 2 ** 28, timeout: minutes(60) },
  );
  const result = sanitized(ended, chosen.examples.length * chosen.precisions.length);
  say('compute-sanitizer', result);
  if (result.problem !== undefined) problems.push(`compute-sanitizer: ${result.problem}`);
}

const torchProduct = `
import json, torch
found = []
for name, kind in (("f32", torch.float32), ("tf32", torch.float32), ("f16", torch.float16), ("bf16", torch.bfloat16)):
    torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    a = torch.randn(4096, 4096, device="cuda", dtype=kind)
    for _ in range(3): a @ a
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(20): a @ a
    end.record(); torch.cuda.synchronize()
    ms = start.elapsed_time(end) / 20
    found.append({"dtype": name, "ms": ms, "tflops": 2 * 4096**3 / ms / 1e9})
print(json.dumps({"products": found}))
`;

async function all(): Promise<void> {
  say('device', await describeCuda());
  await losses('cuda');
  sanitize();
  measure('matmul-4096', 'matmul-4096', '1', 'cuda');
  const { notice, session } = await openTarget('cuda');
  session.close();
  say('wgmma', { notice: notice ?? 'as it should be, or not on this GPU' });
  if (notice !== undefined) problems.push(`wgmma: ${notice}`);
  for (const dtype of matrixDtypes)
    for (const form of ['', '-mma'])
      measure(`matmul-4096 of ${dtype}${form}`, `matmul-4096-${dtype}${form}`, '1', 'cuda');
  peer('matmul-4096 in PyTorch', 'python3', ['-c', torchProduct]);
  // Short steps show what waiting for each costs.
  for (const job of ['mlp', 'gpt-small', 'gpt', 'resnet', 'bilstm', 'gpt2']) measure(job, job, '1', 'cuda');
  const torchJob = [
    `${flags.peers}/torch_jobs.py`,
    'gpt2',
    '--device',
    'cuda',
    '--precision',
    'bf16',
    '--mode',
    'compile',
  ];
  peer('gpt2 in PyTorch', 'python3', torchJob);
  await losses('webgpu');
}

try {
  if (flags.only === 'losses') await losses('cuda');
  else if (flags.only === 'webgpu') await losses('webgpu');
  else if (flags.only === undefined) await all();
  else throw new Error(`There is no part ${flags.only}: --only takes losses or webgpu.`);
} catch (error) {
  problems.push(error instanceof Error ? error.message : String(error));
}
for (const problem of problems) console.error(`error: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
