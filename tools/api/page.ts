/** Targets of a page: what a browser has. */
import { DeviceError } from '../../runtime/program.ts';
import type { CodeBackend } from '../driver/targets/backend.ts';

const inPages: Readonly<Record<string, () => Promise<CodeBackend>>> = {
  wasm: async () => (await import('../driver/targets/wasm.ts')).wasm,
  webgpu: async () => (await import('../driver/targets/webgpu.ts')).webgpu,
};

/** Throws DeviceError. */
export function pageBackend(name: string): Promise<CodeBackend> {
  const backend = Object.hasOwn(inPages, name) ? inPages[name] : undefined;
  if (backend === undefined) throw new DeviceError(`A page has no target ${name}: take wasm or webgpu.`);
  return backend();
}
