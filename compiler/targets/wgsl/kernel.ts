/** A kernel as one WGSL module: what the launch tells it, its memory, its helper functions, and the entry point `main`. */
import type { Memory, TileKernel } from '../../tile/tile.ts';
import { printBody } from '../structured.ts';
import { emitCast } from './cast.ts';
import { helperText } from './math.ts';
import { accessors, declaration, emitLoad, emitStore } from './memory.ts';
import { emitOp } from './scalar.ts';
import { literal, moduleWriter, wgslType } from './writer.ts';

/** Workgroups along one dimension at most; larger grids have a second one. */
export const widestGrid = 65_535;

/** `halves`: f16 lies apart, in two bytes. */
export function emitKernel(kernel: TileKernel, halves: boolean): string {
  const writer = moduleWriter();
  const isHalf = ({ dtype }: Memory): boolean => halves && dtype === 'f16';
  const usesHalves = [...kernel.parameters, ...kernel.scratch].some(isHalf);
  const body = printBody(kernel.body, {
    literal: (dtype, value) => literal(writer, dtype, value),
    constant: (name, dtype, value) => `let ${name}: ${wgslType(dtype)} = ${value};`,
    variable: (name, dtype, value) => `var ${name}: ${wgslType(dtype)} = ${value};`,
    op: (op, dtype, operands) => emitOp(writer, op, dtype, operands),
    cast: (from, to, value) => emitCast(writer, from, to, value),
    load: (memory, offset, mask) => emitLoad(memory, isHalf(memory), offset, mask),
    store: (memory, offset, value) => emitStore(memory, isHalf(memory), offset, value),
    loop: (index, from, to, step) =>
      `for (var ${index}: i32 = ${from}; ${index} < ${to}; ${step === 1 ? `${index}++` : `${index} += ${step}`})`,
    fetch() {
      throw new Error('a fetch on a machine without');
    },
    multiply() {
      throw new Error('a matrix instruction on a machine without');
    },
    barrier: () => 'workgroupBarrier(); storageBarrier();',
    exchange: (dtype, value, distance) =>
      dtype === 'bool'
        ? `(subgroupShuffleXor(u32(${value}), ${distance}u) != 0u)`
        : `subgroupShuffleXor(${value}, ${distance}u)`,
    raiseFlag: 'atomicStore(&flag, 1u);',
  });
  const fields = [
    ...kernel.parameters.map(({ name }) => `  ${name}: u32,`),
    ...kernel.arguments.map(({ name }) => `  ${name}: i32,`),
  ];
  const wide = kernel.grid > widestGrid;
  const lines = [
    ...(body.some((line) => line.includes('subgroupShuffleXor(')) ? ['enable subgroups;'] : []),
    ...(usesHalves ? ['enable f16;'] : []),
    `// ${kernel.name}: ${kernel.grid} workgroups of ${kernel.workgroup}`,
    `// Where each parameter begins in the heap, in words${usesHalves ? ' (or halves)' : ''}, and the counters of the loops around the launch.`,
    'struct Launch {',
    ...fields,
    '}',
    '@group(0) @binding(0) var<storage, read_write> heap: array<u32>;',
    '@group(0) @binding(1) var<uniform> launch: Launch;',
    ...(body.some((line) => line.includes('&flag'))
      ? ['@group(0) @binding(2) var<storage, read_write> flag: atomic<u32>;']
      : []),
    ...(kernel.parameters.some(isHalf) ? ['@group(0) @binding(3) var<storage, read_write> halves: array<f16>;'] : []),
    ...kernel.scratch.map((memory) => declaration(memory, isHalf(memory))),
    ...kernel.parameters.flatMap((memory) => accessors(memory, isHalf(memory))),
    ...helperText(writer.helpers),
    '',
    `@compute @workgroup_size(${kernel.workgroup}, 1, 1)`,
    'fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {',
    `  let ${kernel.item.name} = i32(group.x${wide ? ` + group.y * ${widestGrid}u` : ''});`,
    ...(wide ? [`  if (${kernel.item.name} >= ${kernel.grid}) { return; }`] : []),
    `  let ${kernel.thread.name} = i32(local);`,
    ...kernel.arguments.map(({ name }) => `  let ${name} = launch.${name};`),
    ...body,
    '}',
  ];
  return `${lines.join('\n')}\n`;
}
