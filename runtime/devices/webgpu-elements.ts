/**
 * Tensors as a WebGPU heap holds them: in the heap of words every element is 32 bits, half precisions as the f32 they stand for; in
 * the heap of halves f16 is its bits.
 */
import { fromHalfBits, halfBits } from '../halves.ts';
import type { ElementType, TypedArray } from '../program.ts';

type Element = Exclude<ElementType, 'f64'>;

const bitsOf = (data: TypedArray): Uint32Array => new Uint32Array(data.buffer, data.byteOffset, data.length);

function halvesToWords(dtype: 'f16' | 'bf16', data: TypedArray): Uint32Array {
  return bitsOf(Float32Array.from(data, (bits) => fromHalfBits(dtype, bits)));
}

/** Elements as words; those that are words already are not copied. */
const toWords: Record<Element, (data: TypedArray) => Uint32Array> = {
  f32: bitsOf,
  i32: bitsOf,
  u32: bitsOf,
  i8: (data) => bitsOf(Int32Array.from(data)),
  u8: (data) => Uint32Array.from(data),
  bool: (data) => Uint32Array.from(data),
  f16: (data) => halvesToWords('f16', data),
  bf16: (data) => halvesToWords('bf16', data),
};

const floats = (words: Uint32Array): Float32Array => new Float32Array(words.buffer, words.byteOffset, words.length);

/** Words as elements, in memory of their own. */
const fromWords: Record<Element, (words: Uint32Array) => TypedArray> = {
  f32: (words) => floats(words).slice(),
  i32: (words) => Int32Array.from(words),
  u32: (words) => words.slice(),
  i8: (words) => Int8Array.from(words),
  u8: (words) => Uint8Array.from(words),
  bool: (words) => Uint8Array.from(words),
  f16: (words) => Uint16Array.from(floats(words), (value) => halfBits('f16', value)),
  bf16: (words) => Uint16Array.from(floats(words), (value) => halfBits('bf16', value)),
};

/** What arrays of elements are made of, for checking what is given. */
export const arrayOf: Record<Element, Function> = {
  f32: Float32Array,
  i32: Int32Array,
  u32: Uint32Array,
  i8: Int8Array,
  u8: Uint8Array,
  bool: Uint8Array,
  f16: Uint16Array,
  bf16: Uint16Array,
};

/** `bytes`: of an element of the heap. */
export const toElements = (dtype: Element, bytes: 2 | 4, data: TypedArray): Uint32Array | Uint16Array =>
  bytes === 2 ? Uint16Array.from(data) : toWords[dtype](data);

/** Elements of a heap, read back, in memory of their own. */
export const fromElements = (
  dtype: Element,
  bytes: 2 | 4,
  read: ArrayBuffer,
  offset: number,
  size: number,
): TypedArray =>
  bytes === 2 ? new Uint16Array(read, offset, size).slice() : fromWords[dtype](new Uint32Array(read, offset, size));

/** The numbers of a constant. */
export function constantElements(dtype: Element, bytes: 2 | 4, values: readonly number[]): Uint32Array | Uint16Array {
  if (bytes === 2) return Uint16Array.from(values, (value) => halfBits('f16', value));
  if (dtype === 'f32' || dtype === 'f16' || dtype === 'bf16') return bitsOf(Float32Array.from(values));
  return dtype === 'i32' || dtype === 'i8' ? bitsOf(Int32Array.from(values)) : Uint32Array.from(values);
}
