/**
 * Memory of WGSL kernels. All buffers lie in one array of words, the heap, each parameter where the launch says: a kernel needs
 * one storage binding whatever it reads, and temporaries may share places as the memory plan has them. Every element takes a
 * word: neighbouring threads may write neighbouring bytes, and WGSL has no stores of less. Where it has f16, its elements lie in a
 * second array, two bytes each; what is stored there is a rounded f32, so that no conversion rounds.
 */
import type { Memory } from '../../tile/tile.ts';
import { wgslType } from './writer.ts';

/** Functions that read and write a parameter. */
export function accessors({ name, dtype, access, size }: Memory, isHalf: boolean): string[] {
  const half = `halves[launch.${name} + u32(at)]`;
  const type = wgslType(dtype);
  const word = `heap[launch.${name} + u32(at)]`;
  const words = { f32: `bitcast<f32>(${word})`, i32: `bitcast<i32>(${word})`, u32: word, bool: `${word} != 0u` };
  const read = isHalf ? `f32(${half})` : words[type];
  const written = { f32: 'bitcast<u32>(value)', i32: 'bitcast<u32>(value)', u32: 'value', bool: 'u32(value)' }[type];
  return [
    `// ${name}: ${dtype}, ${size} elements, ${access}`,
    ...(access === 'write' ? [] : [`fn ${name}(at: i32) -> ${type} { return ${read}; }`]),
    ...(access === 'read'
      ? []
      : [`fn set_${name}(at: i32, value: ${type}) { ${isHalf ? `${half} = f16(value)` : `${word} = ${written}`}; }`]),
  ];
}

/** Scratch: of the workgroup, or of each thread. */
export const declaration = ({ name, space, dtype, size }: Memory, isHalf: boolean): string =>
  `var<${space === 'workgroup' ? 'workgroup' : 'private'}> ${name}: array<${isHalf ? 'f16' : wgslType(dtype)}, ${size}>;`;

const zeros = { f32: '0.0f', i32: '0', u32: '0u', bool: 'false' } as const;

/** What is masked off is 0; the accessor is then given the first element, which is always there. */
export function emitLoad(memory: Memory, isHalf: boolean, offset: string, mask: string | undefined): string {
  const element = (at: string): string =>
    memory.space === 'global'
      ? `${memory.name}(${at})`
      : isHalf
        ? `f32(${memory.name}[${at}])`
        : `${memory.name}[${at}]`;
  if (mask === undefined) return element(offset);
  const zero = zeros[wgslType(memory.dtype)];
  return `select(${zero}, ${element(`select(0, ${offset}, ${mask})`)}, ${mask})`;
}

export const emitStore = ({ space, name }: Memory, isHalf: boolean, offset: string, value: string): string =>
  space === 'global'
    ? `set_${name}(${offset}, ${value});`
    : `${name}[${offset}] = ${isHalf ? `f16(${value})` : value};`;
