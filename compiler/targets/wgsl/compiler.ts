/** WGSL. */
import type { WebGpuProgram } from '../../../runtime/devices/webgpu.ts';
import { type Compiler, memoryOf } from '../target.ts';
import { capabilitiesOf, type WebGpuFeatures } from './features.ts';
import { emitWgsl } from './step.ts';

/** Within the limits that every adapter has, and in subgroups and halves where this one has them. */
export const forWebGpu = (features?: WebGpuFeatures): Compiler<WebGpuProgram> => ({
  capabilities: capabilitiesOf(undefined, features),
  program: (tile) => ({ ...memoryOf(tile), ...emitWgsl(tile) }),
  text: (tile) =>
    emitWgsl(tile)
      .kernels.map(({ code }) => code)
      .join('\n'),
});
