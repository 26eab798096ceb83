/** A Tile program as WGSL modules, one a kernel, and the launches that make a step of them. */
import type { TileKernel, TileProgram, TileStep } from '../../tile/tile.ts';
import { emitKernel } from './kernel.ts';

export interface WgslKernel {
  readonly name: string;
  readonly code: string;
  /** Workgroups. */
  readonly grid: number;
}

/** A launch of a kernel on buffers, given the counters of the repeats around it, by name. */
export type WgslStep =
  | {
      readonly kind: 'launch';
      readonly kernel: number;
      readonly buffers: readonly string[];
      readonly arguments: readonly string[];
    }
  | {
      readonly kind: 'repeat';
      readonly index: string;
      readonly trips: number;
      readonly reverse: boolean;
      readonly body: readonly WgslStep[];
    };

export interface WgslProgram {
  readonly kernels: readonly WgslKernel[];
  readonly steps: readonly WgslStep[];
}

export function emitWgsl(program: TileProgram): WgslProgram {
  const kernels: WgslKernel[] = [];
  const places = new Map<TileKernel, number>();
  const placeOf = (kernel: TileKernel): number => {
    const place = places.get(kernel) ?? kernels.length;
    if (place === kernels.length) kernels.push({ name: kernel.name, code: emitKernel(kernel), grid: kernel.grid });
    places.set(kernel, place);
    return place;
  };
  const stepOf = (step: TileStep): WgslStep =>
    step.kind === 'launch'
      ? {
          kind: 'launch',
          kernel: placeOf(step.kernel),
          buffers: step.buffers,
          arguments: step.arguments.map(({ name }) => name),
        }
      : {
          kind: 'repeat',
          index: step.index.name,
          trips: step.trips,
          reverse: step.reverse,
          body: step.body.map(stepOf),
        };
  return { kernels, steps: program.steps.map(stepOf) };
}

/** For people: every module of the program. */
export const wgslText = (program: TileProgram): string =>
  emitWgsl(program)
    .kernels.map(({ code }) => code)
    .join('\n');
