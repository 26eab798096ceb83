/** Memory that JavaScript and native code share: 64-byte aligned views, and bytes around them that nobody may touch. */
import { DeviceError, elementBytes } from '../program.ts';
import type { ElementType, TypedArray } from '../program.ts';
import { alignment, fillGaps, layOut, overrun } from './area.ts';
import type { Koffi } from './cpu-library.ts';

export interface NativeMemory {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  /** False once a guard byte has changed. */
  intact(): boolean;
}

/** Zeroed memory. The view keeps it alive; its address stays while it lives. */
export function allocate(koffi: Koffi, size: number, purpose: string): NativeMemory {
  const { places, gaps, bytes: whole } = layOut([{ name: purpose, bytes: size }]);
  let buffer: ArrayBuffer;
  try {
    buffer = new ArrayBuffer(whole + alignment);
  } catch {
    throw new DeviceError(
      `There is not enough memory for ${purpose}: ${(size / 2 ** 20).toFixed(0)} MiB are needed. Take a smaller batch.`,
    );
  }
  const base = koffi.address(buffer);
  const all = new Uint8Array(
    buffer,
    Number((BigInt(alignment) - (base % BigInt(alignment))) % BigInt(alignment)),
    whole,
  );
  fillGaps(all, gaps);
  const bytes = new Uint8Array(buffer, all.byteOffset + (places.get(purpose) ?? 0), size);
  return {
    address: base + BigInt(bytes.byteOffset),
    bytes,
    intact: () => overrun(all, gaps) === undefined,
  };
}

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
export const viewAs = ({ bytes }: Pick<NativeMemory, 'bytes'>, dtype: ElementType): TypedArray =>
  views[dtype](bytes.buffer, bytes.byteOffset, bytes.byteLength / elementBytes[dtype]);
