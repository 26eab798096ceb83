/** What the programming interface needs of a page: the targets that a browser has, and files that are fetched. */
import { DeviceError } from '../../runtime/program.ts';
import type { CodeBackend } from '../driver/targets/backend.ts';
import type { Platform } from './platform.ts';

const inPages: Readonly<Record<string, () => Promise<CodeBackend>>> = {
  wasm: async () => (await import('../driver/targets/wasm.ts')).wasm,
  webgpu: async () => (await import('../driver/targets/webgpu.ts')).webgpu,
};

function backendOf(name: string): Promise<CodeBackend> {
  const backend = Object.hasOwn(inPages, name) ? inPages[name] : undefined;
  if (backend === undefined) throw new DeviceError(`A page has no target ${name}: take wasm or webgpu.`);
  return backend();
}

export const openTarget: Platform['openTarget'] = async (name, threads = navigator.hardwareConcurrency) =>
  (await backendOf(name === 'auto' ? 'wasm' : name)).open({ threads, without: [], wide: false });

export const openBuilt: Platform['openBuilt'] = async (target, threads = navigator.hardwareConcurrency) =>
  (await backendOf(target)).openBuilt(threads);

export const readerOf: Platform['readerOf'] = (folder) => async (name) => {
  try {
    const answer = await fetch(new URL(name, new URL(String(folder).replace(/\/?$/, '/'), location.href)));
    if (answer.ok) return new Uint8Array(await answer.arrayBuffer());
  } catch {
    // An address that is none, or a server that is not there.
  }
  throw new DeviceError(`There is no ${name} in ${folder}: is that a folder that nacre build wrote?`);
};
