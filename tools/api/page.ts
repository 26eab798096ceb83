/** What the programming interface needs of a page: the targets that a browser has, and files that are fetched. */
import { DeviceError } from '../../runtime/program.ts';
import type { CodeBackend } from '../driver/targets/backend.ts';
import type { CodeTarget } from '../driver/targets/index.ts';
import { addressOf } from '../trainer/web-files.ts';
import { oneOf, type Platform } from './platform.ts';

/** Those of the list of targets that have `inPage`: a page loads this list, and the other would lead it to native code. */
export const pageTargets: Readonly<Partial<Record<CodeTarget, () => Promise<CodeBackend>>>> = {
  webgpu: async () => (await import('../driver/targets/webgpu.ts')).webgpu,
  wasm: async () => (await import('../driver/targets/wasm.ts')).wasm,
};

function backendOf(name: string): Promise<CodeBackend> {
  const found = Object.entries(pageTargets).find(([target]) => target === name);
  if (found === undefined)
    throw new DeviceError(`A page has no target ${name}: take ${oneOf(Object.keys(pageTargets))}.`);
  return found[1]();
}

/** `auto` takes the GPU where there is one that opens and does not compute in software. */
export const openTarget: Platform['openTarget'] = async (name, threads = navigator.hardwareConcurrency) => {
  const open = async (target: string): ReturnType<typeof openTarget> =>
    (await backendOf(target)).open({ threads, without: [], wide: false });
  if (name !== 'auto') return open(name);
  const { openAdapter } = await import('../../runtime/devices/webgpu-adapter.ts');
  try {
    if (!(await openAdapter()).description.software) return await open('webgpu');
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
  }
  return open('wasm');
};

export const openBuilt: Platform['openBuilt'] = async (target, threads = navigator.hardwareConcurrency) =>
  (await backendOf(target)).openBuilt(threads);

export const readerOf: Platform['readerOf'] = (folder) => async (name) => {
  try {
    const answer = await fetch(new URL(addressOf(name), new URL(String(folder).replace(/\/?$/, '/'), location.href)));
    if (answer.ok) return new Uint8Array(await answer.arrayBuffer());
  } catch {
    // An address that is none, or a server that is not there.
  }
  throw new DeviceError(`There is no ${name} in ${folder}: is that a folder that nacre build wrote?`);
};
