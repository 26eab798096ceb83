/** What an NVIDIA GPU can do, from its compute capability and the number of its multiprocessors. */
import type { Dtype } from '../../types/dtype.ts';
import { type Capabilities, matrixDtypes } from '../target.ts';

const dtypes: readonly Dtype[] = ['f32', 'f16', 'bf16', 'i32', 'u32', 'i8', 'u8', 'bool'];

/** `multiprocessors`: 132 of an H100, 108 of an A100. `wide`: it has wgmma (sm_90a), which was seen to work. */
export const capabilitiesOf = (multiprocessors = 108, wide = false): Capabilities => ({
  vectorLanes: 1,
  vectorRegisters: 64,
  workgroupThreads: 256,
  subgroupThreads: 32,
  // What a block has without asking for more.
  nearMemory: 48 * 1024,
  cache: 0,
  units: multiprocessors,
  smallestElement: 1,
  halvesApart: false,
  dtypes,
  matrices: matrixDtypes,
  wideMatrices: wide ? matrixDtypes : [],
  dotsBytes: false,
});
