/** Opening what a trainer runs on, by name, and what `auto` takes. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { DeviceError } from '../../runtime/program.ts';
import { versionOf } from './packages.ts';
import type { Target, TargetOptions } from './targets/backend.ts';
import { needNvcc } from './targets/cuda-compile.ts';
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

/** Machine code where libLLVM is found; else an NVIDIA GPU; else WebAssembly, which is everywhere. Says which GPU it leaves. */
async function openBest(options: TargetOptions): Promise<Target> {
  const gpu = await gpuHere();
  const cpu = await openedOr(() => openTarget('cpu', options));
  if (!(cpu instanceof DeviceError)) return { ...cpu, notice: onCpu(options.threads, gpu) };
  if (gpu?.name === undefined) return { ...(await openTarget('wasm', options)), notice: onWasm(gpu, cpu.message) };
  const cuda = await openedOr(() => openTarget('cuda', options));
  // Its own notice is of something wrong.
  if (!(cuda instanceof DeviceError)) return { notice: `Target cuda: the ${gpu.name}.`, ...cuda };
  return {
    ...(await openTarget('wasm', options)),
    notice: onWasm({ ...gpu, problem: cuda.message }, cpu.message),
  };
}

/** What was opened, or why this machine cannot. */
async function openedOr<Opened>(open: () => Promise<Opened>): Promise<Opened | DeviceError> {
  try {
    return await open();
  } catch (error) {
    if (error instanceof DeviceError) return error;
    throw error;
  }
}

/** A GPU of this machine. */
interface Gpu {
  /** Of one by NVIDIA, whose driver is there. */
  readonly name?: string;
  /** Why the cuda target cannot be had nevertheless, and what to do. */
  readonly problem?: string;
  /** Is that package here? */
  readonly webgpu: boolean;
}

/** What `auto` says where it takes the processor. */
export const onCpu = (threads: number, gpu: Gpu | undefined): string =>
  `Target cpu: machine code, ${threads === 1 ? 'one thread' : `${threads} threads`}.${leftOut(gpu)}`;

/** What it says where it takes WebAssembly. `problem`: why not machine code, and what to do. */
export const onWasm = (gpu: Gpu | undefined, problem: string): string =>
  `Target wasm: WebAssembly.${leftOut(gpu)} Machine code is faster, for large models several times: ${problem}`;

function leftOut(gpu: Gpu | undefined): string {
  if (gpu === undefined) return '';
  if (gpu.name !== undefined) return ` The ${gpu.name} here is usually faster: ${gpu.problem ?? '--target cuda.'}`;
  return ` The GPU here may be faster for large models: ${gpu.webgpu ? '' : '`npm install webgpu`, then '}--target webgpu.`;
}

/** What there is, as far as can be told without loading Dawn, which takes longer than many a first epoch. */
async function gpuHere(): Promise<Gpu | undefined> {
  const webgpu = versionOf('webgpu') !== undefined;
  const { describeCuda } = await import('../../runtime/devices/cuda.ts');
  const nvidia = await openedOr(describeCuda);
  if (nvidia instanceof DeviceError)
    return process.platform === 'darwin' || existsSync('/dev/dri/renderD128') ? { webgpu } : undefined;
  const nvcc = await openedOr(async () => needNvcc());
  return { name: nvidia.name, ...(nvcc instanceof DeviceError && { problem: nvcc.message }), webgpu };
}
