/**
 * Products by 128 threads together (wgmma, sm_90a). Operands are read where they lie in workgroup memory: a descriptor says where, how
 * far apart the groups of eight rows and the panels are, and that chunks of 16 bytes are swapped as panels of 64 bytes have them.
 * Of f32 it takes 11 digits (.tf32), and no matrix that lies turned. It is all one statement: the sums are no ordinary registers before it
 * has waited.
 */
import { panel, panelRow } from '../../tile/matrix.ts';
import type { MatrixOperand, Statement, TileExpression } from '../../tile/tile.ts';
import { dtypeBytes } from '../../types/dtype.ts';
import type { UnitWriter } from './writer.ts';

/** Bytes of the sum in one instruction. */
const stepBytes = 32;
/** Bytes of eight rows of a panel. */
const rows = 8 * panelRow;

export function emitWideMultiply(
  writer: UnitWriter,
  { columns, depth, left, right, sums }: Extract<Statement, { kind: 'multiply' }>,
  print: (of: TileExpression) => string,
): readonly string[] {
  const bytes = dtypeBytes[left.memory.dtype];
  const step = stepBytes / bytes;
  const steps = Array.from({ length: depth / step }, (_, at) => at);
  const operand = ({ memory, offset, pitch, turned }: MatrixOperand, at: number): string => {
    // Of lines the next of the sum lie side by side; turned, row by row.
    const along = at * step * (turned ? panel(bytes) : 1);
    const apart = turned ? bytes * pitch : 16;
    return `"l"(${writer.use('describe')}(${memory.name} + ${print(offset)} + ${along}, ${apart}, ${rows}))`;
  };
  const count = sums.length;
  const own = sums.map((_, at) => `%${at}`).join(', ');
  const isTf32 = left.memory.dtype === 'f32';
  const dtype = isTf32 ? 'tf32' : left.memory.dtype;
  const instruction = `wgmma.mma_async.sync.aligned.m64n${columns}k${step}.f32.${dtype}.${dtype}`;
  const turned = isTf32 ? '' : `, ${Number(left.turned)}, ${Number(right.turned)}`;
  return [
    'asm volatile("{ .reg .pred adds; setp.ne.b32 adds, 1, 0; wgmma.fence.sync.aligned;"',
    ...steps.map(
      (at) => `  "${instruction} {${own}}, %${count + 2 * at}, %${count + 2 * at + 1}, adds, 1, 1${turned};"`,
    ),
    '  "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; }"',
    `  : ${sums.map(({ name }) => `"+f"(${name})`).join(', ')}`,
    `  : ${steps.flatMap((at) => [operand(left, at), operand(right, at)]).join(',\n    ')}`,
    '  : "memory");',
  ];
}
