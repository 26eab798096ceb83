/** A Tile program as one CUDA translation unit, and the launches that make a step of its kernels. */
import type { ProgramStep } from '../../../runtime/program.ts';
import type { TileKernel, TileProgram, TileStep } from '../../tile/tile.ts';
import { launchesOf } from '../launches.ts';
import { identifier } from '../structured.ts';
import { emitKernel } from './kernel.ts';
import { helperText } from './math.ts';
import { unitWriter } from './writer.ts';

export interface CudaKernel {
  /** Of its function. */
  readonly name: string;
  /** Blocks, and threads in each. */
  readonly grid: number;
  readonly block: number;
}

export interface CudaProgramText {
  /** What nvcc or NVRTC compiles as it is. */
  readonly source: string;
  readonly kernels: readonly CudaKernel[];
  readonly steps: readonly ProgramStep[];
}

export function emitCuda(program: TileProgram): CudaProgramText {
  const { kernels, steps } = launchesOf(program);
  const writer = unitWriter();
  const shared = sharedParameters(program.steps);
  const named = kernels.map((kernel) => ({ kernel, name: `k_${identifier(kernel.name)}` }));
  const functions = named.map(({ kernel, name }) => emitKernel(writer, name, kernel, shared.get(kernel) ?? []));
  return {
    source: [`// ${identifier(program.name)}`, ...helperText(writer.helpers), ...functions].join('\n\n'),
    kernels: named.map(({ kernel, name }) => ({ name, grid: kernel.grid, block: kernel.workgroup })),
    steps,
  };
}

/** Which parameters of a kernel are, in some launch, the same buffer as another. */
function sharedParameters(steps: readonly TileStep[]): ReadonlyMap<TileKernel, boolean[]> {
  const found = new Map<TileKernel, boolean[]>();
  const walk = (inner: readonly TileStep[]): void => {
    for (const step of inner) {
      if (step.kind === 'repeat') {
        walk(step.body);
        continue;
      }
      const known = found.get(step.kernel) ?? step.buffers.map(() => false);
      const twice = (name: string): boolean => step.buffers.indexOf(name) !== step.buffers.lastIndexOf(name);
      found.set(
        step.kernel,
        known.map((before, place) => before || twice(step.buffers[place])),
      );
    }
  };
  walk(steps);
  return found;
}
