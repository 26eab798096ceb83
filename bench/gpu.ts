/**
 * `npm run bench:gpu`: everything that only an NVIDIA GPU can show, with one command on a machine that has one (its driver, nvcc, and
 * for the peers PyTorch): the losses of twenty steps beside the processor's, in f32 and in mixed precision; the kernels under
 * compute-sanitizer; a product of 4096³ in every type of the tensor cores, with wgmma and without, beside cuBLAS; steps that are waited
 * for one by one and steps that queue; the job gpt2 beside torch.compile; WebGPU through Vulkan. Prints one JSON line for each.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Precision } from '../compiler/graph/graph.ts';
import { matrixDtypes } from '../compiler/targets/target.ts';
import { describeCuda } from '../runtime/devices/cuda.ts';
import { train } from '../runtime/trainer.ts';
import { createPrograms } from '../tools/driver/programs.ts';
import { openProject, packageRoot } from '../tools/driver/project.ts';
import type { TargetName } from '../tools/driver/targets/index.ts';
import { openTarget } from '../tools/driver/target.ts';

const { values: flags } = parseArgs({
  options: {
    data: { type: 'string', default: '../shared/data' },
    peers: { type: 'string', default: '../shared/peers' },
    out: { type: 'string', default: 'runs' },
    /** One part alone: `losses`, what compute-sanitizer is run on, or `webgpu`. */
    only: { type: 'string' },
  },
});

const say = (part: string, result: object): void => console.log(JSON.stringify({ part, ...result }));
const here = fileURLToPath(import.meta.url);

const examples = [
  ['digits', []],
  ['convnet', ['mnist']],
  ['chars', ['shakespeare']],
  ['sequence', []],
] as const;

/** As the examples are written, and through tensor cores; f16 in halves where WebGPU has them. */
const precisions: Readonly<Record<string, Precision | undefined>> = {
  f32: undefined,
  'mixed(tf32)': { products: 'tf32', storage: 'f32', except: [] },
  'mixed(bf16)': { products: 'bf16', storage: 'bf16', except: [] },
  'mixed(f16)': { products: 'f16', storage: 'f16', except: [] },
};

async function losses(
  name: string,
  folders: readonly string[],
  on: TargetName,
  precision: Precision | undefined,
): Promise<number[]> {
  const project = await openProject(`${packageRoot}/examples/${name}.model`, {
    data: folders.map((folder) => `${flags.data}/${folder}`),
  });
  const { block, plan, data } = await project.train();
  const target = await openTarget(on);
  const found: number[] = [];
  try {
    await train({
      plan: { ...plan, evaluations: [], saves: [] },
      programs: createPrograms({ ...block, precision }, data, target),
      files: project.files,
      out: flags.out,
      steps: 20,
      onEvent: (event) => void (event.event === 'step' && found.push(event.loss)),
    });
  } finally {
    target.session.close();
  }
  return found;
}

const farthest = (found: readonly number[], wanted: readonly number[]): number =>
  Math.max(...found.map((loss, step) => Math.abs(loss / wanted[step] - 1)));

async function compareLosses(on: TargetName): Promise<void> {
  for (const [name, folders] of examples) {
    for (const [says, precision] of Object.entries(precisions)) {
      const what = { example: name, precision: says };
      try {
        const wanted = await losses(name, folders, 'auto', precision);
        const found = await losses(name, folders, on, precision);
        say(`losses on ${on}`, { ...what, steps: found.length, largest_difference: farthest(found, wanted) });
      } catch (error) {
        say(`losses on ${on}`, { ...what, problem: error instanceof Error ? error.message : String(error) });
      }
    }
  }
}

/** Another program's last line of output, which is JSON. */
function peer(part: string, command: string, words: readonly string[]): void {
  const { status, stdout, stderr, error } = spawnSync(command, words, { encoding: 'utf8', maxBuffer: 2 ** 28 });
  const line = stdout?.trim().split('\n').at(-1) ?? '';
  if (status === 0 && line.startsWith('{')) say(part, JSON.parse(line));
  else say(part, { problem: error?.message ?? stderr.trim().split('\n').at(-1) });
}

const measure = (part: string, ...words: readonly string[]): void =>
  peer(part, process.execPath, [fileURLToPath(new URL('./measure.js', import.meta.url)), ...words]);

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
  await compareLosses('cuda');
  const checked = spawnSync(
    'compute-sanitizer',
    ['--error-exitcode', '9', process.execPath, here, '--only', 'losses'],
    {
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    },
  );
  say('compute-sanitizer', {
    clean: checked.status === 0,
    ...(checked.status !== 0 && { problem: checked.error?.message ?? checked.stdout.trim().split('\n').at(-1) }),
  });
  measure('matmul-4096', 'matmul-4096', '1', 'cuda');
  const { notice, session } = await openTarget('cuda');
  session.close();
  say('wgmma', { notice: notice ?? 'as it should be, or not on this GPU' });
  for (const dtype of matrixDtypes)
    for (const form of ['', '-mma'])
      if (form === '' || dtype !== 'tf32')
        measure(`matmul-4096 of ${dtype}${form}`, `matmul-4096-${dtype}${form}`, '1', 'cuda');
  peer('matmul-4096 in PyTorch', 'python3', ['-c', torchProduct]);
  // Short steps show what waiting for each costs.
  measure('mlp', 'mlp', '1', 'cuda');
  measure('gpt2', 'gpt2', '1', 'cuda');
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
  await compareLosses('webgpu');
}

if (flags.only === 'losses') await compareLosses('cuda');
else if (flags.only === 'webgpu') await compareLosses('webgpu');
else
  await all().catch((error: unknown) => {
    console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  });
