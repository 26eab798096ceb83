/** Elements as the device has them, and back. */
import type { Dtype } from '../../compiler/types/dtype.ts';
import type { TypedArray } from '../../runtime/program.ts';
import { fromBits, toBits } from './halves.ts';

export function typed(dtype: Dtype, data: Float64Array): TypedArray {
  switch (dtype) {
    case 'f32':
      return Float32Array.from(data);
    case 'f64':
      return Float64Array.from(data);
    case 'f16':
    case 'bf16':
      return Uint16Array.from(data, (value) => toBits(dtype, value));
    case 'i32':
      return Int32Array.from(data);
    case 'u32':
      return Uint32Array.from(data);
    case 'i8':
      return Int8Array.from(data);
    default:
      return Uint8Array.from(data);
  }
}

export function untyped(dtype: Dtype, data: TypedArray): Float64Array {
  return Float64Array.from(data, (value) => (dtype === 'f16' || dtype === 'bf16' ? fromBits(dtype, value) : value));
}
