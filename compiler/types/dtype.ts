/** Element types of tensors. */

export const dtypes = ['f32', 'f16', 'bf16', 'f64', 'i32', 'u32', 'i8', 'u8', 'bool'] as const;
export type Dtype = (typeof dtypes)[number];

/** Bytes one element takes in memory (bool is one byte, 0 or 1). */
export const dtypeBytes: Record<Dtype, number> = {
  f32: 4,
  f16: 2,
  bf16: 2,
  f64: 8,
  i32: 4,
  u32: 4,
  i8: 1,
  u8: 1,
  bool: 1,
};

export const isFloat = (dtype: Dtype): boolean =>
  dtype === 'f32' || dtype === 'f16' || dtype === 'bf16' || dtype === 'f64';
export const isInteger = (dtype: Dtype): boolean =>
  dtype === 'i32' || dtype === 'u32' || dtype === 'i8' || dtype === 'u8';

/** What a sum of such elements is kept in until it is done. */
export const accumulatorDtype = (dtype: Dtype): Dtype => (dtype === 'f16' || dtype === 'bf16' ? 'f32' : dtype);
