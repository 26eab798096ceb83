/** What `auto` takes, and what it says of the rest. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, test } from 'vitest';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import { DeviceError } from '../../runtime/program.ts';
import type { Target } from '../../tools/driver/targets/backend.ts';
import { type Gpu, onCpu, onWasm, openBest } from '../../tools/driver/target.ts';
import { emulatorProblem } from '../support/cuda.ts';

test.each([
  [1, undefined, 'Target cpu: machine code, one thread.'],
  [
    8,
    { name: 'NVIDIA H100', webgpu: false },
    'Target cpu: machine code, 8 threads. The NVIDIA H100 here is usually faster: --target cuda.',
  ],
  [
    8,
    { name: 'NVIDIA H100', problem: 'It needs nvcc: install it.', webgpu: false },
    'Target cpu: machine code, 8 threads. The NVIDIA H100 here is usually faster: It needs nvcc: install it.',
  ],
  [
    8,
    { webgpu: true },
    'Target cpu: machine code, 8 threads. The GPU here may be faster for large models: --target webgpu.',
  ],
  [
    8,
    { webgpu: false },
    'Target cpu: machine code, 8 threads. The GPU here may be faster for large models: `npm install webgpu`, then --target webgpu.',
  ],
] as const)('%s threads, %o', (threads, gpu, said) => expect(onCpu(threads, gpu)).toBe(said));

const slower = 'Machine code is faster, for large models several times: It needs LLVM.';

test.each([
  [undefined, `Target wasm: WebAssembly. ${slower}`],
  [
    { name: 'NVIDIA H100', problem: 'It needs nvcc: install it.', webgpu: false },
    `Target wasm: WebAssembly. The NVIDIA H100 here is usually faster: It needs nvcc: install it. ${slower}`,
  ],
  [
    { webgpu: true },
    `Target wasm: WebAssembly. The GPU here may be faster for large models: --target webgpu. ${slower}`,
  ],
  [
    { webgpu: false },
    `Target wasm: WebAssembly. The GPU here may be faster for large models: \`npm install webgpu\`, then --target webgpu. ${slower}`,
  ],
] as const)('without libLLVM, %o', (gpu, said) => expect(onWasm(gpu, 'It needs LLVM.')).toBe(said));

describe('without libLLVM', () => {
  /** What it takes of these targets, and what it says. */
  async function taken(gpu: Gpu | undefined, ...there: readonly string[]): Promise<string | undefined> {
    const open = async (name: string): Promise<Target> => {
      if (!there.includes(name)) throw new DeviceError(`No ${name}.`);
      return { session: { target: name } } as Target;
    };
    const { session, notice } = await openBest(gpu, 2, open);
    expect(notice).toMatch(new RegExp(`^Target ${session.target}: `));
    return notice;
  }

  test.each([
    [{ webgpu: true }, 'Target webgpu: the GPU. Machine code may be faster for small models: No cpu.'],
    [{ name: 'NVIDIA H100', webgpu: true }, 'Target webgpu: the NVIDIA H100. CUDA is usually faster there: No cuda.'],
    [
      { webgpu: false },
      'Target wasm: WebAssembly. The GPU here may be faster for large models: `npm install webgpu`, then --target webgpu. Machine code is faster, for large models several times: No cpu.',
    ],
    [undefined, 'Target webgpu: the GPU. Machine code may be faster for small models: No cpu.'],
  ] as const)('%o', async (gpu, said) => expect(await taken(gpu, 'webgpu', 'wasm')).toBe(said));

  test('an NVIDIA GPU is used by CUDA first', async () =>
    expect(await taken({ name: 'NVIDIA H100', webgpu: true }, 'cuda', 'webgpu', 'wasm')).toBe(
      'Target cuda: the NVIDIA H100.',
    ));

  test('a GPU that WebGPU does not reach is left, and the line says why', async () => {
    const slower = 'Machine code is faster, for large models several times: No cpu.';
    expect(await taken(undefined, 'wasm')).toBe(`Target wasm: WebAssembly. ${slower}`);
    expect(await taken({ webgpu: true }, 'wasm')).toBe(
      `Target wasm: WebAssembly. The GPU here may be faster for large models: No webgpu. ${slower}`,
    );
    expect(await taken({ name: 'NVIDIA H100', webgpu: true }, 'wasm')).toBe(
      `Target wasm: WebAssembly. The NVIDIA H100 here is usually faster: No cuda. ${slower}`,
    );
  });
});

const { problem } = await describeCpu();
const root = join(import.meta.dirname, '../..');

describe.skipIf(emulatorProblem !== undefined)('where there is an NVIDIA GPU', () => {
  const nacre = (env: Readonly<Record<string, string>>, ...words: readonly string[]) =>
    spawnSync(process.execPath, [join(root, 'bin/nacre.mjs'), ...words], {
      encoding: 'utf8',
      env: { ...process.env, NACRE_LIBLLVM: '', NACRE_NVCC: '', ...env },
    });
  const runs = mkdtempSync(join(tmpdir(), 'nacre-auto-'));
  afterAll(() => rmSync(runs, { recursive: true }));
  const train = ['train', join(root, 'examples/digits.model'), '--steps', '1', '--out', runs];
  const noNvcc =
    'The emulator here is usually faster: The cuda target needs nvcc of the CUDA toolkit, but NACRE_NVCC names /nowhere/nvcc, which is no program: set it to the file nvcc itself.';
  const alone = 'Training runs here in WebAssembly;';

  it('but neither nvcc nor libLLVM, it is WebAssembly, as doctor says', () => {
    const env = { NACRE_NVCC: '/nowhere/nvcc', NACRE_LIBLLVM: '/nowhere' };
    const { status, stderr } = nacre(env, ...train);
    expect([status, stderr]).toEqual([
      0,
      expect.stringContaining(
        `Target wasm: WebAssembly. ${noNvcc} Machine code is faster, for large models several times: The cpu target needs LLVM's library,`,
      ),
    ]);
    expect(nacre(env, 'doctor').stdout).toContain(alone);
  });

  it('and an nvcc that cannot compile, it is WebAssembly, and the line has what was run', () => {
    const { status, stderr } = nacre({ NACRE_NVCC: '/bin/false', NACRE_LIBLLVM: '/nowhere' }, ...train);
    expect([status, stderr]).toEqual([
      0,
      expect.stringMatching(
        /^Target wasm: WebAssembly\. The emulator here is usually faster: nvcc does not take the kernels of wide: `\/bin\/false -cubin .*` said nothing and ended with exit status 1: /m,
      ),
    ]);
  });

  it('and any nvcc, doctor says that training runs on it', () => {
    const { stdout } = nacre({ NACRE_NVCC: process.execPath, NACRE_LIBLLVM: '/nowhere' }, 'doctor');
    expect(stdout).toContain('Training runs here on the NVIDIA GPU.\n');
    expect(stdout).not.toContain(alone);
  });

  it.skipIf(problem !== undefined)('but no nvcc, the line on the processor says so', () => {
    const { status, stderr } = nacre({ NACRE_NVCC: '/nowhere/nvcc' }, ...train);
    expect([status, stderr]).toEqual([0, expect.stringMatching(/^Target cpu: machine code, .*/m)]);
    expect(stderr).toContain(noNvcc);
  });
});
