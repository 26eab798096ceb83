/** Memory of CUDA kernels: typed pointers. Half precisions are their bits; bool is a byte, 0 or 1. */
import type { Memory, Statement, TileExpression } from '../../tile/tile.ts';
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

/** Scratch: of the workgroup, where it can be fetched to by 16 bytes, or of each thread. In panels chunks are swapped by address. */
export const declaration = (memory: Memory, inPanels: boolean): string =>
  memory.space === 'workgroup'
    ? `__shared__ __align__(${inPanels ? 1024 : 16}) ${isPacked(memory) ? elementOf(memory) : cudaType(memory.dtype)} ${memory.name}[${memory.size}];`
    : `${cudaType(memory.dtype)} ${memory.name}[${memory.size}];`;

/** Are its elements as memory has them? Buffers, and what matrix instructions read; other scratch is as registers hold values. */
const isPacked = ({ space, dtype }: Memory): boolean =>
  space === 'global' || (space === 'workgroup' && (dtype === 'f16' || dtype === 'bf16'));

export function emitLoad(writer: UnitWriter, memory: Memory, offset: string, mask: string | undefined): string {
  const element = `${memory.name}[${offset}]`;
  const value = isPacked(memory) ? fromElement(writer, memory.dtype, element) : element;
  return mask === undefined ? value : `(${mask} ? ${value} : 0)`;
}

function fromElement(writer: UnitWriter, dtype: Dtype, element: string): string {
  if (dtype === 'f16') return `${writer.use('from_f16')}(${element})`;
  if (dtype === 'bf16') return `${writer.use('from_bf16')}(${element})`;
  return dtype === 'bool' ? `(${element} != 0)` : element;
}

export function emitStore(writer: UnitWriter, memory: Memory, offset: string, value: string): string {
  const { name, dtype } = memory;
  const bits = isPacked(memory) && (dtype === 'f16' || dtype === 'bf16') ? packed(writer, dtype, value) : value;
  return `${name}[${offset}] = ${bits};`;
}

/** The bits of a half precision; what was only just made a float of its bits is not made bits again. */
function packed(writer: UnitWriter, dtype: 'f16' | 'bf16', value: string): string {
  const element = new RegExp(`^from_${dtype}\\((\\w+\\[[^\\]]*\\])\\)$`).exec(value)?.[1];
  return element ?? `${writer.use(`${dtype}_bits`)}(${value})`;
}

/** 16 bytes on their way to workgroup memory, zeros where they are not wanted. */
export const emitFetch = (
  writer: UnitWriter,
  { memory, offset, from, at, mask }: Extract<Statement, { kind: 'fetch' }>,
  print: (of: TileExpression) => string,
): string =>
  `${writer.use('fetch')}(${memory.name} + ${print(offset)}, ${from.name} + ${print(at)}, ${mask === undefined ? 'true' : print(mask)});`;
