/** Opening what a trainer runs on, by name, and what `auto` takes. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { DeviceError } from '../../runtime/program.ts';
import { versionOf } from './packages.ts';
import type { Target, TargetOptions } from './targets/backend.ts';
import { targets, type TargetName } from './targets/index.ts';

/** Opens a target; all threads there are by default. Throws DeviceError. */
export async function openTarget(
  name: TargetName,
  {
    threads = availableParallelism(),
    without = [],
    wide = process.env['NACRE_WGMMA'] !== 'off',
  }: Partial<TargetOptions> = {},
): Promise<Target> {
  const options = { threads, without, wide };
  if (name === 'auto') return openBest(options);
  return (await targets[name].backend()).open(options);
}

/** Machine code where libLLVM is found, which names an NVIDIA GPU; else that GPU; else WebAssembly, which is everywhere. */
async function openBest(options: TargetOptions): Promise<Target> {
  try {
    return { ...(await openTarget('cpu', options)), notice: onCpu(options.threads, await gpuHere()) };
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    const gpu = await nvidiaGpu();
    if (gpu !== undefined) return { ...(await openTarget('cuda', options)), notice: `Target cuda: the ${gpu}.` };
    const notice = `Target wasm: WebAssembly. Machine code is faster, for large models several times: ${error.message}`;
    return { ...(await openTarget('wasm', options)), notice };
  }
}

async function nvidiaGpu(): Promise<string | undefined> {
  const { describeCuda } = await import('../../runtime/devices/cuda.ts');
  return describeCuda().then(
    ({ name }) => name,
    () => undefined,
  );
}

/** What `auto` says where it takes the processor. `webgpu`: is that package here? */
export function onCpu(threads: number, gpu: { readonly name?: string; readonly webgpu: boolean } | undefined): string {
  const took = `Target cpu: machine code, ${threads === 1 ? 'one thread' : `${threads} threads`}.`;
  if (gpu === undefined) return took;
  if (gpu.name !== undefined) return `${took} The ${gpu.name} here is usually faster: --target cuda.`;
  return `${took} The GPU here may be faster for large models: ${gpu.webgpu ? '' : '`npm install webgpu`, then '}--target webgpu.`;
}

/** What there is, as far as can be told without loading Dawn, which takes longer than many a first epoch. */
async function gpuHere(): Promise<Parameters<typeof onCpu>[1]> {
  const name = await nvidiaGpu();
  const there = name !== undefined || process.platform === 'darwin' || existsSync('/dev/dri/renderD128');
  return there ? { ...(name !== undefined && { name }), webgpu: versionOf('webgpu') !== undefined } : undefined;
}
