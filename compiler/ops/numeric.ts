/** Rounding to element types: what every stored element of the interpreter goes through. */
import { TensorTooLarge, type Arithmetic, type Tensor } from '../graph/op.ts';
import { product, concrete } from '../types/dim.ts';
import type { Dtype } from '../types/dtype.ts';
import { isFloat } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';

const bits = new DataView(new ArrayBuffer(8));

/** The nearest number with `digits` binary digits, ties to even; subnormal below 2^lowest, infinite above `largest`. */
function nearest(x: number, digits: number, lowest: number, largest: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  bits.setFloat64(0, x);
  const exponent = ((bits.getUint32(0) >>> 20) & 0x7ff) - 1023;
  const unit = 2 ** (Math.max(exponent, lowest) - digits + 1);
  const scaled = x / unit;
  const whole = roundHalfEven(scaled);
  const result = whole * unit;
  if (result === 0) return x < 0 ? -0 : 0;
  return Math.abs(result) > largest ? (x < 0 ? -Infinity : Infinity) : result;
}

/** To the nearest whole number, ties to the even one. */
export function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest < 0.5) return below === 0 && x < 0 ? -0 : below;
  if (rest > 0.5) return below + 1 === 0 ? -0 : below + 1;
  return below % 2 === 0 ? (below === 0 && x < 0 ? -0 : below) : below + 1 === 0 && x < 0 ? -0 : below + 1;
}

export const roundF16 = (x: number): number => nearest(x, 11, -14, 65504);
export const roundBf16 = (x: number): number => nearest(x, 8, -126, 3.3895313892515355e38);

const single = new DataView(bits.buffer, 0, 4);

/** An f32 to 11 binary digits, ties away from 0, as `cvt.rna.tf32.f32` does; its exponent stays. */
export function roundTf32(x: number): number {
  if (Number.isNaN(x)) return x;
  single.setFloat32(0, x);
  single.setUint32(0, (single.getUint32(0) + 0x1000) & 0xffffe000);
  return single.getFloat32(0);
}

/** A number as an element of a type: floats rounded to nearest even, integers wrapped. */
export function roundTo(dtype: Dtype, x: number): number {
  switch (dtype) {
    case 'f32':
      return Math.fround(x);
    case 'f16':
      return roundF16(x);
    case 'bf16':
      return roundBf16(x);
    case 'f64':
      return x;
    case 'i32':
      return x | 0;
    case 'u32':
      return x >>> 0;
    case 'i8':
      return (x << 24) >> 24;
    case 'u8':
      return x & 255;
    case 'bool':
      return x === 0 ? 0 : 1;
  }
}

/** Rounds every element in place. */
export function roundAll(data: Float64Array, dtype: Dtype, arithmetic: Arithmetic): void {
  if (dtype === 'f64' || (arithmetic.precision === 'f64' && isFloat(dtype))) return;
  const count = data.length;
  if (dtype === 'f32') for (let i = 0; i < count; i++) data[i] = Math.fround(data[i]);
  else if (dtype === 'i32') for (let i = 0; i < count; i++) data[i] = data[i] | 0;
  else for (let i = 0; i < count; i++) data[i] = roundTo(dtype, data[i]);
}

/** A tensor of zeros. */
export function blank(type: TensorType): Tensor {
  try {
    return { type, data: new Float64Array(elements(type)) };
  } catch (error) {
    if (error instanceof RangeError) throw new TensorTooLarge(type);
    throw error;
  }
}

export function elements(type: TensorType): number {
  return Number(product(concrete(type.shape)));
}

/** The row-major strides of a shape. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--)
    strides[axis] = (strides[axis + 1] ?? 1) * (shape[axis + 1] ?? 1);
  return strides;
}

/** The least and greatest element a type holds: where maxima and minima start. */
export function limits(dtype: Dtype): { least: number; greatest: number } {
  switch (dtype) {
    case 'i32':
      return { least: -2147483648, greatest: 2147483647 };
    case 'u32':
      return { least: 0, greatest: 4294967295 };
    case 'i8':
      return { least: -128, greatest: 127 };
    case 'u8':
      return { least: 0, greatest: 255 };
    case 'bool':
      return { least: 0, greatest: 1 };
    default:
      return { least: -Infinity, greatest: Infinity };
  }
}
