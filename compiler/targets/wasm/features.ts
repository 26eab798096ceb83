/** What a WebAssembly engine can do: SIMD of 128 bits everywhere, relaxed multiply-add in newer ones. */
import type { Dtype } from '../../types/dtype.ts';
import type { Capabilities } from '../target.ts';

const dtypes: readonly Dtype[] = ['f32', 'f16', 'bf16', 'i32', 'u32', 'i8', 'u8', 'bool'];

export const capabilitiesOf = (threads: number): Capabilities => ({
  vectorLanes: 4,
  // Of 16, V8 keeps one and a product on its way to a sum takes another: with 15 tiles spill (32 instead of 46 GFLOP/s on Zen 5).
  vectorRegisters: 14,
  workgroupThreads: 1,
  subgroupThreads: 1,
  nearMemory: 32 * 1024,
  cache: 512 * 1024,
  units: threads,
  smallestElement: 1,
  halvesApart: false,
  dtypes,
  matrices: [],
  wideMatrices: [],
  dotsBytes: false,
});
