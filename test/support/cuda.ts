/** The cuda target in tests: on an emulated driver (test/cuda/), which runs the same CUDA text on the processor. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { emitCuda } from '../../compiler/targets/cuda/step.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import type { CudaProgram } from '../../runtime/devices/cuda.ts';

const sources = resolve(import.meta.dirname, '../cuda');
const folder = mkdtempSync(join(tmpdir(), 'nacre-emulator-'));

const compiled = (from: string, to: string): void => {
  const partial = `${to}.partial`;
  const options = ['-O1', '-fno-math-errno', '-ffp-contract=off', '-w', '-shared', '-fPIC', '-o', partial];
  execFileSync('g++', [...options, ...from.split(' ')], { stdio: ['ignore', 'ignore', 'pipe'] });
  renameSync(partial, to);
};

/** Why emulated tests cannot run here; undefined where they can. */
export const emulatorProblem: string | undefined = (() => {
  try {
    const library = join(folder, 'libcuda.so');
    compiled(join(sources, 'emulator.cpp'), library);
    process.env['NACRE_LIBCUDA'] = library;
    return process.platform === 'linux' ? undefined : 'the emulated driver is for Linux';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
})();

/** A product by 128 threads, as wide-matrix.ts writes it: the instructions one by one, between their fence and their wait. */
function emulatedWide(statement: string): string {
  for (const needed of ['wgmma.fence.sync', 'wgmma.commit_group.sync', 'wgmma.wait_group.sync.aligned 0'])
    if (!statement.includes(needed)) throw new Error(`a product by 128 threads without ${needed}`);
  const sums = [...statement.matchAll(/"\+f"\((\w+)\)/g)].map(([, name]) => `&${name}`);
  const described = [...statement.matchAll(/"l"\((.*)\)(?:,$|$)/gm)].map(([, operand]) => operand);
  const pattern =
    /wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k(?:16\.f32\.(b?f16)\.\2|8\.f32\.tf32\.tf32) \{([^}]*)\}, %(\d+), %(\d+), adds, 1, 1(, [01], [01])?;/g;
  const steps = [...statement.matchAll(pattern)].map(([, columns, half, own, left, right, turned = '']) => {
    if (own.split(', ').length !== sums.length || sums.length !== Number(columns) / 2) throw new Error('other sums');
    const [a, b] = [left, right].map((place) => described[Number(place) - sums.length]);
    // Whether matrices lie turned is said, and may be, of halves alone.
    if ((half === undefined) !== (turned === '')) throw new Error(`no such instruction: ${statement}`);
    const emulated = half === undefined ? 'emulator_wgmma_tf32(' : `emulator_wgmma(emulator_${half}, `;
    return `${emulated}sums, ${columns}, ${a}, ${b}${turned});`;
  });
  if (2 * steps.length !== described.length) throw new Error('a matrix that no product reads');
  if (steps.length === 0) throw new Error('a product by 128 threads that multiplies nothing');
  return `{ float* const sums[] = {${sums.join(', ')}}; ${steps.join(' ')} }`;
}

/** The image the emulated driver takes: the path of a library, made of the text by the C++ compiler. */
export function emulatedImage(source: string): Uint8Array {
  const stem = join(folder, createHash('sha256').update(source).digest('hex'));
  const [text, library] = [`${stem}.cpp`, `${stem}.so`];
  if (!existsSync(library)) {
    // The processor has no tensor cores and copies nothing asynchronously: these instructions are done by hand.
    const emulated = source
      .replace(/asm volatile\("cp\.async\.cg[^;]*;"[^;]*;/g, 'emulator_fetch(to, from, wanted);')
      .replace(/asm\("cvt\.rna\.tf32\.f32[^;]*;"[^;]*;/g, 'bits = emulator_tf32(x);')
      .replace(/asm volatile\("\{ \.reg \.pred adds;[^]*?: "memory"\);/g, emulatedWide)
      .replace(/asm volatile\("fence\.proxy\.async\.shared::cta;"[^;]*;/g, 'emulator_show();')
      .replace(/asm volatile\("cp\.async\.commit_group; cp\.async\.wait_group %0;"[^;]*;/g, 'emulator_fetched(leaves);')
      .replace(
        /asm\("mma\.sync\.aligned\.m16n8k8\.row\.col\.f32\.tf32[^;]*;"[^;]*;/g,
        'emulator_mma_tf32(c0, c1, c2, c3, a, b);',
      )
      .replace(
        /asm\("mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.(b?f16)\.[^;]*;"[^;]*;/g,
        (_, dtype: string) => `emulator_mma(emulator_${dtype}, c0, c1, c2, c3, a, b);`,
      );
    writeFileSync(text, `#include "${join(sources, 'device.h')}"\n${emulated}`);
    // Its blockIdx, threadIdx and barrier are the emulator's.
    compiled(`${text} ${join(folder, 'libcuda.so')}`, library);
  }
  return new TextEncoder().encode(`${library}\0`);
}

export function emulatedProgram(tile: TileProgram): CudaProgram {
  const { source, kernels, steps } = emitCuda(tile);
  return { name: tile.name, image: emulatedImage(source), kernels, steps, buffers: tile.buffers, arena: tile.arena };
}
