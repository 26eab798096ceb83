/** Finding a GPU: the browser's, or in Node the one that the package `webgpu` (Dawn) reaches. */
import { inBrowser } from '../browser.ts';
import { DeviceMissing, PackageMissing } from '../program.ts';

/** What a machine has for the webgpu target. */
export interface WebGpuDescription {
  readonly name: string;
  /** It computes on the processor: right, but slow. */
  readonly software: boolean;
  /** Bytes that one binding holds at most. */
  readonly largestBinding: number;
}

export interface OpenedAdapter {
  readonly adapter: GPUAdapter;
  readonly description: WebGpuDescription;
}

let entry: Promise<GPU> | undefined;

/** Kept for as long as the process lives: Dawn's devices end with it. */
async function findGpu(): Promise<GPU> {
  const browser: unknown = Reflect.get(globalThis, 'navigator');
  if (typeof browser === 'object' && browser !== null && 'gpu' in browser) return browser.gpu as GPU;
  if (inBrowser)
    throw new DeviceMissing(
      'This browser has no WebGPU, or not for this page: it takes a recent Chrome, Edge, Safari or Firefox, and a page over https or from localhost. What is built for wasm runs in every browser.',
    );
  // SwiftShader looks for a Wayland display, and where there is none says `error:` on its own.
  process.env['XDG_RUNTIME_DIR'] ??= '/nowhere';
  let dawn: typeof import('webgpu');
  try {
    dawn = await import('webgpu');
  } catch {
    throw new PackageMissing('webgpu', 'webgpu');
  }
  Object.assign(globalThis, dawn.globals);
  return dawn.create([]);
}

/** Throws DeviceError where there is no GPU to be had, with what to do. */
export async function openAdapter(): Promise<OpenedAdapter> {
  entry ??= findGpu();
  const gpu = await entry.catch((error: unknown) => {
    entry = undefined;
    throw error;
  });
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null && inBrowser)
    throw new DeviceMissing(
      'This browser finds no GPU for WebGPU (chrome://gpu says why, in Chrome and Edge). What is built for wasm runs in every browser.',
    );
  if (adapter === null)
    throw new DeviceMissing(
      'The webgpu target found no GPU: Dawn needs a Vulkan driver (Linux: libvulkan1 and the one of the GPU), Metal or Direct3D 12; it computes in software where VK_ICD_FILENAMES names the vk_swiftshader_icd.json of Debian’s chromium-common.',
    );
  const { vendor, architecture, description, device } = adapter.info;
  return {
    adapter,
    description: {
      name: [...new Set([vendor, architecture, device, description])].filter((part) => part !== '').join(' '),
      software: /swiftshader|llvmpipe|lavapipe|software/i.test(`${architecture} ${description}`),
      largestBinding: Math.min(adapter.limits.maxStorageBufferBindingSize, adapter.limits.maxBufferSize),
    },
  };
}
