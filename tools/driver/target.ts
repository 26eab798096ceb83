/** Opening what a trainer runs on, by name, and what `auto` takes. */
import { availableParallelism } from 'node:os';
import { DeviceError } from '../../runtime/program.ts';
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
    return { ...(await openTarget('cpu', options)), notice: await onCpu(options.threads) };
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    const gpu = await nvidiaGpu();
    if (gpu !== undefined) return { ...(await openTarget('cuda', options)), notice: `Target cuda: the ${gpu}.` };
    const notice = `Target wasm: WebAssembly. Machine code is several times as fast: ${error.message}`;
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

/** What `auto` says where it takes the processor. */
async function onCpu(threads: number): Promise<string> {
  const took = `Target cpu: machine code, ${threads === 1 ? 'one thread' : `${threads} threads`}.`;
  const gpu = await nvidiaGpu();
  return gpu === undefined ? took : `${took} The ${gpu} here is usually faster: --target cuda.`;
}
