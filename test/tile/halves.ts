/** Half-precision numbers and their bits, written independently of the compiler. */

const single = new DataView(new ArrayBuffer(4));

export function fromBits(dtype: 'f16' | 'bf16', bits: number): number {
  if (dtype === 'bf16') {
    single.setUint32(0, bits * 65536);
    return single.getFloat32(0);
  }
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The bits of a number that is exactly representable. */
export function toBits(dtype: 'f16' | 'bf16', value: number): number {
  if (dtype === 'bf16') {
    single.setFloat32(0, value);
    return single.getUint32(0) >>> 16;
  }
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size === Infinity) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | (size * 2 ** 24);
  const exponent = Math.floor(Math.log2(size));
  return sign | ((exponent + 15) << 10) | (size * 2 ** (10 - exponent) - 1024);
}
