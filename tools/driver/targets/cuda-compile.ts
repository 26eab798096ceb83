/** CUDA C++ to a cubin with nvcc; what was compiled once is kept in the user's cache, by the hash of everything it depends on. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { DeviceError, DeviceMissing } from '../../../runtime/program.ts';

/** Where nvcc is; NACRE_NVCC names one. */
export function findNvcc(): string | undefined {
  const named = process.env['NACRE_NVCC'];
  if (named !== undefined && named !== '') return existsSync(named) ? named : undefined;
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/cuda/bin', '/opt/cuda/bin'];
  return folders.map((folder) => join(folder, 'nvcc')).find((path) => existsSync(path));
}

const cacheFolder = (): string => join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'nacre', 'cuda');

/** sm_90a has what sm_90 leaves out (wgmma); other capabilities have one name. */
export const architectureOf = (major: number, minor: number): string =>
  `${major}${minor}${major === 9 && minor === 0 ? 'a' : ''}`;

const flags = (form: readonly string[]): string[] => [
  ...form,
  // A product and a sum are rounded one by one, as everywhere else; where they are not, the kernel says fmaf.
  '-fmad=false',
];

/** Machine code for one architecture. Throws DeviceError where there is no nvcc, or it refuses the text. */
export const compileCuda = (source: string, architecture: string, program: string): Promise<Uint8Array> =>
  compile(source, ['-cubin', `-gencode=arch=compute_${architecture},code=sm_${architecture}`], program);

/** Text that the driver of any GPU from compute capability 8.0 on makes machine code of. */
export const compilePtx = (source: string, program: string): Promise<Uint8Array> =>
  compile(source, ['-ptx', '-arch=compute_80'], program);

async function compile(source: string, form: readonly string[], program: string): Promise<Uint8Array> {
  const nvcc = findNvcc();
  if (nvcc === undefined)
    throw new DeviceMissing(
      'The cuda target needs nvcc of the CUDA toolkit, which was not found: install it, put it on the PATH, or set NACRE_NVCC to where it is.',
    );
  const { size, mtimeMs } = statSync(nvcc);
  const hash = createHash('sha256')
    .update(JSON.stringify([source, flags(form), nvcc, size, mtimeMs]))
    .digest('hex');
  const kept = join(cacheFolder(), `${hash}${form.includes('-ptx') ? '.ptx' : '.cubin'}`);
  if (existsSync(kept)) return readFileSync(kept);
  const folder = mkdtempSync(join(tmpdir(), 'nacre-cuda-'));
  try {
    const [text, image] = [join(folder, 'step.cu'), join(folder, 'step.cubin')];
    writeFileSync(text, source);
    await promisify(execFile)(nvcc, [...flags(form), '-o', image, text]).catch((error: unknown) => {
      const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
      throw new DeviceError(`nvcc does not take the kernels of ${program}: ${said.split('\n')[0]}`);
    });
    const made = readFileSync(image);
    keep(kept, made);
    return made;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Whole or not at all; a cache that cannot be written only costs time. */
function keep(path: string, image: Uint8Array): void {
  const partial = `${path}.${randomBytes(4).toString('hex')}`;
  try {
    mkdirSync(cacheFolder(), { recursive: true });
    writeFileSync(partial, image);
    renameSync(partial, path);
  } catch {
    rmSync(partial, { force: true });
  }
}
