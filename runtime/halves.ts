/** Half-precision numbers as the bits that tensors of f16 and bf16 are carried in. */

const single = new DataView(new ArrayBuffer(4));

/** The bits of the half-precision number nearest to a number, ties to even. */
export function halfBits(dtype: 'f16' | 'bf16', value: number): number {
  single.setFloat32(0, value);
  const bits = single.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  if (Number.isNaN(value)) return sign | (dtype === 'f16' ? 0x7e00 : 0x7fc0);
  const nearest = (fraction: number, spare: number): number => {
    const half = 2 ** (spare - 1);
    const rest = fraction % 2 ** spare;
    const whole = Math.floor(fraction / 2 ** spare);
    return rest > half || (rest === half && whole % 2 === 1) ? whole + 1 : whole;
  };
  const size = bits & 0x7fffffff;
  if (dtype === 'bf16') return sign | nearest(size, 16);
  if (size >= 0x477ff000) return sign | 0x7c00;
  if (size >= 0x38800000) return sign | nearest(size - 0x38000000, 13);
  // Subnormal: a multiple of 2^-24.
  const scaled = Math.abs(value) * 2 ** 24;
  const whole = Math.floor(scaled);
  return sign | (scaled - whole > 0.5 || (scaled - whole === 0.5 && whole % 2 === 1) ? whole + 1 : whole);
}

/** The number that half-precision bits stand for. */
export function fromHalfBits(dtype: 'f16' | 'bf16', bits: number): number {
  if (dtype === 'bf16') {
    single.setUint32(0, bits << 16);
    return single.getFloat32(0);
  }
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}
