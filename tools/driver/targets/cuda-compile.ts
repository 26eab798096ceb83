/** CUDA C++ to a cubin with nvcc; what was compiled once is kept in the user's cache, by the hash of everything it depends on. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { explainDiskError } from '../../../runtime/files.ts';
import { DeviceError, DeviceMissing } from '../../../runtime/program.ts';

/** Where nvcc is; NACRE_NVCC names one. */
export function findNvcc(): string | undefined {
  const named = process.env['NACRE_NVCC'];
  if (named !== undefined && named !== '') return isProgram(named) ? named : undefined;
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/cuda/bin', '/opt/cuda/bin'];
  return folders.map((folder) => join(folder, 'nvcc')).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Where nvcc is. Throws DeviceMissing where there is none. */
export function needNvcc(): string {
  const nvcc = findNvcc();
  if (nvcc !== undefined) return nvcc;
  const named = process.env['NACRE_NVCC'] ?? '';
  throw new DeviceMissing(
    named === ''
      ? 'The cuda target needs nvcc of the CUDA toolkit, which was not found: install it, put it on the PATH, or set NACRE_NVCC to where it is.'
      : `The cuda target needs nvcc of the CUDA toolkit, but NACRE_NVCC names ${named}, which is no program: set it to the file nvcc itself.`,
  );
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
  const nvcc = needNvcc();
  const { size, mtimeMs } = statSync(nvcc);
  const hash = createHash('sha256')
    .update(JSON.stringify([source, flags(form), nvcc, size, mtimeMs]))
    .digest('hex');
  const kept = join(cacheFolder(), `${hash}${form.includes('-ptx') ? '.ptx' : '.cubin'}`);
  if (existsSync(kept)) return readFileSync(kept);
  const onDisk = <Made>(make: () => Made): Made => {
    try {
      return make();
    } catch (error) {
      throw explainDiskError(error, `write the kernels of ${program} below ${tmpdir()}`);
    }
  };
  const folder = onDisk(() => mkdtempSync(join(tmpdir(), 'nacre-cuda-')));
  try {
    const [text, image] = [join(folder, 'step.cu'), join(folder, 'step.cubin')];
    onDisk(() => writeFileSync(text, source));
    const words = [...flags(form), '-o', image, text];
    await promisify(execFile)(nvcc, words).catch((error: unknown) => {
      throw new DeviceError(`nvcc does not take the kernels of ${program}: ${reason(error, nvcc, words)}`);
    });
    if (!existsSync(image))
      throw new DeviceError(
        `nvcc made nothing of the kernels of ${program}, and ended as if all were well: is ${nvcc} nvcc of the CUDA toolkit?`,
      );
    const made = readFileSync(image);
    keep(kept, made);
    return made;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The first line that was said; of what said nothing, what was run and how it ended. */
function reason(error: unknown, nvcc: string, words: readonly string[]): string {
  const { code, signal, stderr } = error as { code?: number | string; signal?: string | null; stderr?: string };
  const said = (stderr ?? '').trim().split('\n')[0];
  if (said !== '') return said;
  const ran = `\`${[nvcc, ...words].join(' ')}\``;
  if (typeof code === 'string') return `${ran} could not be run (${code}): is ${nvcc} nvcc of the CUDA toolkit?`;
  const ended = typeof code === 'number' ? `exit status ${code}` : `the signal ${signal}`;
  return `${ran} said nothing and ended with ${ended}: is ${nvcc} nvcc of the CUDA toolkit?`;
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
