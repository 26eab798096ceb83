/** Programs of a built WebGPU trainer: WGSL modules one after the other. */
import { type BuiltProgram, type OpenBuilt, type Piece, taking } from '../artefact.ts';
import type { ProgramStep } from '../program.ts';
import { openWebGpuSession } from './webgpu.ts';

export const ending = '.wgsl';

export interface BuiltWebGpu extends BuiltProgram {
  readonly kernels: readonly { readonly name: string; readonly grid: number; readonly piece: Piece }[];
  readonly steps: readonly ProgramStep[];
}

export const openBuilt: OpenBuilt = async () => {
  const session = await openWebGpuSession();
  return taking<BuiltWebGpu>(session, async ({ file, kernels, ...program }, read) => {
    const text = new TextDecoder().decode(await read(file));
    return session.load({
      ...program,
      kernels: kernels.map(({ name, grid, piece }) => ({ name, grid, code: text.slice(...piece) })),
    });
  });
};
