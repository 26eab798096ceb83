/** A Tile program as WGSL modules, one a kernel, and the launches that make a step of them. */
import type { ProgramStep } from '../../../runtime/program.ts';
import type { TileProgram } from '../../tile/tile.ts';
import { launchesOf } from '../launches.ts';
import { emitKernel } from './kernel.ts';

export interface WgslKernel {
  readonly name: string;
  /** A module with the entry point `main`. */
  readonly code: string;
  /** Workgroups. */
  readonly grid: number;
}

export interface WgslProgram {
  readonly kernels: readonly WgslKernel[];
  readonly steps: readonly ProgramStep[];
}

export function emitWgsl(program: TileProgram): WgslProgram {
  const { kernels, steps } = launchesOf(program);
  return {
    kernels: kernels.map((kernel) => ({
      name: kernel.name,
      code: emitKernel(kernel, program.halves !== undefined),
      grid: kernel.grid,
    })),
    steps,
  };
}
