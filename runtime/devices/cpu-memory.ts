/** Memory that JavaScript and native code share: 64-byte aligned views, and bytes around them that nobody may touch. */
import { DeviceError, elementBytes } from '../program.ts';
import type { ElementType, TypedArray } from '../program.ts';
import type { Koffi } from './cpu-library.ts';

const alignment = 64;
/** What the guard bytes hold; any other value after a run means that a kernel wrote outside its buffer. */
const guardByte = 0xc5;

export interface NativeMemory {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  /** False once a guard byte has changed. */
  intact(): boolean;
}

/** Zeroed memory. The view keeps it alive; its address stays while it lives. */
export function allocate(koffi: Koffi, size: number, purpose: string): NativeMemory {
  const whole = alignedSize(size);
  let buffer: ArrayBuffer;
  try {
    buffer = new ArrayBuffer(whole + 3 * alignment);
  } catch {
    throw new DeviceError(
      `There is not enough memory for ${purpose}: ${(size / 2 ** 20).toFixed(0)} MiB are needed. Take a smaller batch.`,
    );
  }
  const base = koffi.address(buffer);
  const start = alignment + Number((BigInt(alignment) - (base % BigInt(alignment))) % BigInt(alignment));
  const before = new Uint8Array(buffer, start - alignment, alignment).fill(guardByte);
  const after = new Uint8Array(buffer, start + size, whole - size + alignment).fill(guardByte);
  const untouched = (byte: number): boolean => byte === guardByte;
  return {
    address: base + BigInt(start),
    bytes: new Uint8Array(buffer, start, size),
    intact: () => before.every(untouched) && after.every(untouched),
  };
}

const alignedSize = (size: number): number => Math.ceil(size / alignment) * alignment;

const views: Record<ElementType, (buffer: ArrayBufferLike, offset: number, length: number) => TypedArray> = {
  f32: (buffer, offset, length) => new Float32Array(buffer, offset, length),
  f64: (buffer, offset, length) => new Float64Array(buffer, offset, length),
  f16: (buffer, offset, length) => new Uint16Array(buffer, offset, length),
  bf16: (buffer, offset, length) => new Uint16Array(buffer, offset, length),
  i32: (buffer, offset, length) => new Int32Array(buffer, offset, length),
  u32: (buffer, offset, length) => new Uint32Array(buffer, offset, length),
  i8: (buffer, offset, length) => new Int8Array(buffer, offset, length),
  u8: (buffer, offset, length) => new Uint8Array(buffer, offset, length),
  bool: (buffer, offset, length) => new Uint8Array(buffer, offset, length),
};

/** The memory as elements. */
export const viewAs = (memory: NativeMemory, dtype: ElementType): TypedArray =>
  views[dtype](memory.bytes.buffer, memory.bytes.byteOffset, memory.bytes.byteLength / elementBytes[dtype]);
