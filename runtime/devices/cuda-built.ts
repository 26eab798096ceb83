/** Programs of a built CUDA trainer: PTX of all kernels. */
import { type BuiltProgram, type OpenBuilt, taking } from '../artefact.ts';
import type { ProgramStep } from '../program.ts';
import { openCudaSession } from './cuda.ts';

export const ending = '.ptx';

export interface BuiltCuda extends BuiltProgram {
  readonly kernels: readonly { readonly name: string; readonly grid: number; readonly block: number }[];
  readonly steps: readonly ProgramStep[];
}

export const openBuilt: OpenBuilt = async () => {
  const session = await openCudaSession();
  return taking<BuiltCuda>(session, async ({ file, ...program }, read) => {
    const text = await read(file);
    // The driver reads PTX up to a zero.
    const image = new Uint8Array(text.length + 1);
    image.set(text);
    return session.load({ ...program, image });
  });
};
