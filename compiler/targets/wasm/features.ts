/** What a WebAssembly engine can do: SIMD of 128 bits everywhere, relaxed multiply-add in newer ones. */
import type { Dtype } from '../../types/dtype.ts';
import type { Capabilities } from '../target.ts';
import { type Code, get, plain } from './code.ts';
import { encodeModule } from './encode.ts';

const dtypes: readonly Dtype[] = ['f32', 'f16', 'bf16', 'i32', 'u32', 'i8', 'u8', 'bool'];

export const capabilitiesOf = (threads: number): Capabilities => ({
  vectorLanes: 4,
  // Of 16, V8 keeps one and a product on its way to a sum takes another: with 15 tiles spill (32 instead of 46 GFLOP/s on Zen 5).
  vectorRegisters: 14,
  workgroupThreads: 1,
  nearMemory: 32 * 1024,
  cache: 512 * 1024,
  units: threads,
  smallestElement: 1,
  dtypes,
  dotsBytes: false,
});

/** A module with one multiply-add, to be asked whether an engine takes it. */
export function relaxedProbe(): Uint8Array<ArrayBuffer> {
  const x: Code = get('x');
  const body = [plain('f32x4.relaxed_madd', x, x, x)];
  return encodeModule({
    shared: false,
    functions: [{ name: 'probe', parameters: [['x', 'v128']], result: 'v128', locals: [], body }],
  });
}
