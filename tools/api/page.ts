/** Targets of a page: what a browser has. */
import { compileFor, forWasm, forWebGpu } from '../../compiler/devices.ts';
import { DeviceError } from '../../runtime/program.ts';
import type { Target } from '../driver/target.ts';
import type { TargetName } from '../driver/target-name.ts';

export async function openPageTarget(name: TargetName, threads: number): Promise<Target> {
  if (name === 'webgpu') {
    const { openWebGpuSession } = await import('../../runtime/devices/webgpu.ts');
    const session = await openWebGpuSession();
    return { session, load: (graph) => session.load(compileFor(forWebGpu(session), graph)) };
  }
  if (name === 'wasm' || name === 'auto') {
    const { openWasmSession } = await import('../../runtime/devices/wasm.ts');
    const { hasRelaxedSimd } = await import('../../runtime/devices/wasm-features.ts');
    const session = await openWasmSession({ threads });
    const compiler = forWasm(session.threads, hasRelaxedSimd());
    return { session, load: (graph) => session.load(compileFor(compiler, graph)) };
  }
  throw new DeviceError(`A page has no target ${name}: take wasm or webgpu.`);
}
