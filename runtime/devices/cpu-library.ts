/**
 * Finding the native libraries the CPU device uses. Nothing here throws at import: a missing library is a sentence in
 * the answer, so that a machine without one loses a feature and not the program.
 */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { DeviceError, PackageMissing } from '../program.ts';

export interface Library {
  func<Native>(definition: string): Native;
}

/** What is used of the package koffi, whose own types are absent where it is. */
export interface Koffi {
  load(path: string | null, options?: { readonly global?: boolean }): Library;
  proto(result: string, parameters: string[]): unknown;
  call(address: bigint, type: unknown, ...values: readonly unknown[]): unknown;
  address(value: unknown): bigint;
  decode(pointer: unknown, type: string, length: number): unknown;
  config(): object;
  config(settings: object): object;
}

let loaded: Koffi | undefined;

/** In words that tsc does not look up: a checkout is built without the package, too. */
const koffiPackage: string = 'koffi';

/** The foreign-function package; throws DeviceError where it is not installed. */
export async function loadKoffi(target: 'cpu' | 'cuda'): Promise<Koffi> {
  if (loaded !== undefined) return loaded;
  try {
    const module: Koffi & { readonly default?: Koffi } = await import(/* @vite-ignore */ koffiPackage);
    loaded = module.default ?? module;
  } catch {
    throw new PackageMissing(target, koffiPackage);
  }
  // Native calls run on stacks of koffi's making; LLVM recurses deeper than its defaults allow.
  try {
    loaded.config({ ...loaded.config(), sync_stack_size: nativeStack, async_stack_size: nativeStack });
  } catch {
    loaded = undefined;
    throw new DeviceError(
      `The ${target} target needs more room for native calls than ${koffiPackage} has in this process, where a library was loaded with it before: open the model first.`,
    );
  }
  return loaded;
}

/** Of dlopen: symbols are found at once. */
const now = 2;

/**
 * A library that has threads of its own. It stays for as long as the process does: at its end koffi lets go of all it loaded, and a
 * thread that then returned from its sleep would find no code there.
 */
export function loadForGood(koffi: Koffi, path: string, options: { readonly global?: boolean } = {}): Library {
  const library = koffi.load(path, options);
  const open = koffi
    .load(null)
    .func<(path: string, flags: number) => unknown>('void *dlopen(const char *path, int flags)');
  open(path, now);
  return library;
}

/** Bytes; the most koffi grants. */
const nativeStack = 16 * 2 ** 20;

/** Majors whose C API and text form the code was written for, best first. */
const llvmVersions = [19, 18, 17, 16, 15, 14];

const libraryFolders = [
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/usr/lib64',
  '/usr/lib',
  '/usr/local/lib',
  '/opt/homebrew/lib',
];

export interface FoundLlvm {
  readonly path: string;
  readonly version: number;
}

export const llvmHint =
  'install it (Debian and Ubuntu: `apt install libllvm14`; Fedora: `dnf install llvm-libs`; macOS: `brew install llvm@19`) or set NACRE_LIBLLVM to the path of libLLVM 14 to 19';

/** Where libLLVM is; NACRE_LIBLLVM names one and rules out the others. */
export function findLlvm(): FoundLlvm | undefined {
  const named = process.env['NACRE_LIBLLVM'];
  if (named !== undefined && named !== '') {
    if (!existsSync(named)) return undefined;
    const version = versionIn(named) ?? versionIn(realpathSync(named));
    return version === undefined ? undefined : { path: named, version };
  }
  for (const version of llvmVersions) {
    const folders = [
      ...libraryFolders,
      `/usr/lib/llvm-${version}/lib`,
      `/usr/lib/llvm${version}/lib`,
      `/usr/lib64/llvm${version}/lib`,
      `/opt/homebrew/opt/llvm@${version}/lib`,
      `/usr/local/opt/llvm@${version}/lib`,
    ];
    for (const folder of folders) {
      const name = entries(folder).find((entry) => isLlvm(entry, version));
      if (name !== undefined) return { path: join(folder, name), version };
    }
  }
  return undefined;
}

/** libLLVM-14.so, libLLVM-14.so.1, libLLVM.so.18.1, libLLVM-17.dylib; a bare libLLVM.dylib in a folder of that version. */
function isLlvm(name: string, version: number): boolean {
  return new RegExp(
    `^libLLVM(-${version}(\\.\\d+)*\\.so(\\.\\d+)*|\\.so\\.${version}(\\.\\d+)*|-${version}\\.dylib|\\.dylib\\.${version})$`,
  ).test(name);
}

/** From the file's name or its folder's; a version nobody tried is refused by being unknown. */
function versionIn(path: string): number | undefined {
  const match = /libLLVM(?:-|\.so\.|\.dylib\.)(\d+)/.exec(path) ?? /llvm[-@]?(\d+)/i.exec(path);
  const version = Number(match?.[1]);
  return llvmVersions.includes(version) ? version : undefined;
}

const entries = (folder: string): readonly string[] => {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
};

/** The OpenMP runtime whose thread team runs the steps: GNU's, else LLVM's. */
export function findOpenMp(): { readonly path: string; readonly kind: 'gomp' | 'omp' } | undefined {
  const folders = [
    ...libraryFolders,
    ...llvmVersions.map((version) => `/usr/lib/llvm-${version}/lib`),
    '/opt/homebrew/opt/libomp/lib',
    '/usr/local/opt/libomp/lib',
  ];
  const candidates = [
    { kind: 'gomp', pattern: /^libgomp\.so\.1$/ },
    { kind: 'omp', pattern: /^libomp\.(so\.5|so|dylib)$/ },
  ] as const;
  for (const { kind, pattern } of candidates) {
    for (const folder of folders) {
      const name = entries(folder).find((entry) => pattern.test(entry));
      if (name !== undefined) return { path: join(folder, name), kind };
    }
  }
  return undefined;
}

/** Bytes of the first and second data cache of one core, as Linux tells; elsewhere what such processors usually have. */
export function dataCaches(): { readonly l1: number; readonly l2: number } {
  const folder = '/sys/devices/system/cpu/cpu0/cache';
  const sizes = { l1: 32 * 1024, l2: 1024 * 1024 };
  for (const entry of entries(folder)) {
    const read = (file: string): string => {
      try {
        return readFileSync(join(folder, entry, file), 'utf8').trim();
      } catch {
        return '';
      }
    };
    const [, count, unit] = /^(\d+)([KM])$/.exec(read('size')) ?? [];
    if (read('type') === 'Instruction' || count === undefined) continue;
    const bytes = Number(count) * (unit === 'M' ? 2 ** 20 : 2 ** 10);
    if (read('level') === '1') sizes.l1 = bytes;
    if (read('level') === '2') sizes.l2 = bytes;
  }
  return sizes;
}
