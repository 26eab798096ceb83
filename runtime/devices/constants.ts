/** Elements into the memory of devices that hold them as they are. */
import { halfBits } from '../halves.ts';
import type { ProgramBuffer, TypedArray } from '../program.ts';
import { assertFits } from './checks.ts';

/** The elements of a constant, half precisions as their bits. */
export function constantElements({ name, dtype, data }: ProgramBuffer, into: TypedArray): void {
  if (data === undefined || data.length !== into.length)
    throw new Error(`constant ${name} has ${data?.length ?? 0} elements, not ${into.length}`);
  into.set(dtype === 'f16' || dtype === 'bf16' ? data.map((value) => halfBits(dtype, value)) : data);
}

/** What was given, where it is as many elements of the same type. */
export function fill(name: string, into: TypedArray, data: TypedArray): void {
  assertFits(name, into, data);
  into.set(data);
}
