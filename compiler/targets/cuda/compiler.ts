/** CUDA C++, of which nvcc makes machine code. */
import type { CudaProgram } from '../../../runtime/devices/cuda.ts';
import { type Compiler, memoryOf } from '../target.ts';
import { capabilitiesOf } from './features.ts';
import { emitCuda } from './step.ts';

/** A program whose kernels are still text. */
export type CudaText = Omit<CudaProgram, 'image'> & { readonly source: string };

/** For GPUs with so many multiprocessors, and `wide` for those on which 128 threads multiply together. */
export const forCuda = (multiprocessors?: number, wide = false): Compiler<CudaText> => ({
  capabilities: capabilitiesOf(multiprocessors, wide),
  program: (tile) => ({ ...memoryOf(tile), ...emitCuda(tile) }),
  text: (tile) => emitCuda(tile).source,
});
