/** Opening what a trainer runs on, by name, and what `auto` takes. */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { DeviceError } from '../../runtime/program.ts';
import { versionOf } from './packages.ts';
import type { Target, TargetOptions } from './targets/backend.ts';
import { needNvcc } from './targets/cuda-compile.ts';
import { type CodeTarget, targets, type TargetName } from './targets/index.ts';

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
  if (name === 'auto')
    return openBest(await gpuHere(), options.threads, async (one) => {
      if (one === 'webgpu') await needHardware();
      return openTarget(one, options);
    });
  return (await targets[name].backend()).open(options);
}

/**
 * Machine code where libLLVM is found; else a GPU, through CUDA or else WebGPU; else WebAssembly, which is everywhere. Says what would be
 * faster. A GPU that cannot be seen without Dawn is tried too, but said nothing of where it fails. `open` throws DeviceError where
 * this machine cannot.
 */
export async function openBest(
  gpu: Gpu | undefined,
  threads: number,
  open: (name: CodeTarget) => Promise<Target>,
): Promise<Target> {
  const cpu = await openedOr(() => open('cpu'));
  if (!(cpu instanceof DeviceError)) return { ...cpu, notice: onCpu(threads, gpu) };
  let left = gpu;
  if (gpu?.name !== undefined) {
    const cuda = await openedOr(() => open('cuda'));
    // Its own notice is of something wrong.
    if (!(cuda instanceof DeviceError)) return { notice: `Target cuda: the ${gpu.name}.`, ...cuda };
    left = { ...gpu, problem: cuda.message };
  }
  if (gpu?.webgpu !== false) {
    const webgpu = await openedOr(() => open('webgpu'));
    if (!(webgpu instanceof DeviceError)) return { ...webgpu, notice: onWebGpu(left, cpu.message) };
    left &&= { problem: webgpu.message, ...left };
  }
  return { ...(await open('wasm')), notice: onWasm(left, cpu.message) };
}

/** WebGPU in software is slower than WebAssembly: `auto` does not take it. */
async function needHardware(): Promise<void> {
  const { openAdapter } = await import('../../runtime/devices/webgpu-adapter.ts');
  const { name, software } = (await openAdapter()).description;
  if (software) throw new DeviceError(`WebGPU reaches only ${name}, in software: install the GPU's own Vulkan driver.`);
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
export interface Gpu {
  /** Of one by NVIDIA, whose driver is there. */
  readonly name?: string;
  /** Why it cannot be had nevertheless (of one by NVIDIA: through CUDA), and what to do. */
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

/** What it says where it takes any GPU. `problem`: why not machine code, and what to do. */
const onWebGpu = (gpu: Gpu | undefined, problem: string): string =>
  gpu?.name === undefined
    ? `Target webgpu: the GPU. Machine code may be faster for small models: ${problem}`
    : `Target webgpu: the ${gpu.name}. CUDA is usually faster there: ${gpu.problem}`;

function leftOut(gpu: Gpu | undefined): string {
  if (gpu === undefined) return '';
  if (gpu.name !== undefined) return ` The ${gpu.name} here is usually faster: ${gpu.problem ?? '--target cuda.'}`;
  const how = `${gpu.webgpu ? '' : '`npm install webgpu`, then '}--target webgpu.`;
  return ` The GPU here may be faster for large models: ${gpu.problem ?? how}`;
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
