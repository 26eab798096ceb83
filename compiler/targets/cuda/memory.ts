/** Memory of CUDA kernels: typed pointers. Half precisions are their bits; bool is a byte, 0 or 1. */
import type { Memory } from '../../tile/tile.ts';
import type { Dtype } from '../../types/dtype.ts';
import { cudaType, type UnitWriter } from './writer.ts';

const elements: Record<Exclude<Dtype, 'f64'>, string> = {
  f32: 'float',
  f16: 'unsigned short',
  bf16: 'unsigned short',
  i32: 'int',
  u32: 'unsigned',
  i8: 'signed char',
  u8: 'unsigned char',
  bool: 'unsigned char',
};

function elementOf({ dtype, name }: Memory): string {
  if (dtype === 'f64') throw new Error(`${name} is f64: the cuda target computes in f32`);
  return elements[dtype];
}

/** `shared`: another parameter of the same launch is the same buffer. */
export const parameter = (memory: Memory, shared: boolean): string =>
  `${memory.access === 'read' ? 'const ' : ''}${elementOf(memory)}* ${shared ? '' : '__restrict__ '}${memory.name}`;

/** Scratch: of the workgroup, or of each thread. In it, values are as registers hold them. */
export const declaration = ({ name, space, dtype, size }: Memory): string =>
  `${space === 'workgroup' ? '__shared__ ' : ''}${cudaType(dtype)} ${name}[${size}];`;

export function emitLoad(writer: UnitWriter, memory: Memory, offset: string, mask: string | undefined): string {
  const element = `${memory.name}[${offset}]`;
  const value = memory.space === 'global' ? fromElement(writer, memory.dtype, element) : element;
  return mask === undefined ? value : `(${mask} ? ${value} : 0)`;
}

function fromElement(writer: UnitWriter, dtype: Dtype, element: string): string {
  if (dtype === 'f16') return `${writer.use('from_f16')}(${element})`;
  if (dtype === 'bf16') return `${writer.use('from_bf16')}(${element})`;
  return dtype === 'bool' ? `(${element} != 0)` : element;
}

export function emitStore(writer: UnitWriter, { space, name, dtype }: Memory, offset: string, value: string): string {
  const bits =
    space !== 'global' || (dtype !== 'f16' && dtype !== 'bf16')
      ? value
      : `${writer.use(dtype === 'f16' ? 'f16_bits' : 'bf16_bits')}(${value})`;
  return `${name}[${offset}] = ${bits};`;
}
