/** Matrix instructions: operands from workgroup memory to registers, 32 bytes of the sum at a time, then block by block. */
import type { MatrixOperand, Statement, TileExpression } from '../../tile/tile.ts';
import type { UnitWriter } from './writer.ts';

export function emitMultiply(
  writer: UnitWriter,
  { rows, columns, depth, left, right, sums }: Extract<Statement, { kind: 'multiply' }>,
  print: (of: TileExpression) => string,
): readonly string[] {
  const { dtype } = left.memory;
  const tf32 = dtype === 'f32';
  const multiply = writer.use(tf32 ? 'multiply_tf32' : dtype === 'bf16' ? 'multiply_bf16' : 'multiply_f16');
  const [down, across] = [rows / 16, columns / 8];
  const at = ({ memory, offset, pitch, turned }: MatrixOperand, line: number): string => {
    const start = `${memory.name} + ${print(offset)}`;
    // Lines and the elements of one are as far apart as they lie.
    if (tf32 && turned) return `${start} + ${line} + k * ${pitch}, 1, ${pitch}`;
    if (tf32) return `${start} + ${line * pitch} + k, ${pitch}, 1`;
    return turned ? `${start} + ${line} + k * ${pitch}, ${pitch}` : `${start} + ${line * pitch} + k, ${pitch}`;
  };
  const [readLeft, readRight] = tf32
    ? (['left_tf32', 'right_tf32'] as const)
    : ([left.turned ? 'left_turned' : 'left_matrix', right.turned ? 'right_turned' : 'right_matrix'] as const);
  const each = (count: number, text: (place: number) => string): readonly string[] =>
    Array.from({ length: count }, (_, place) => `  ${text(place)}`);
  return [
    '#pragma unroll',
    `for (int k = 0; k < ${depth}; k += ${tf32 ? 8 : 16}) {`,
    `  unsigned a[${down}][4], b[${across}][2];`,
    ...each(down, (block) => `${writer.use(readLeft)}(a[${block}], ${at(left, 16 * block)});`),
    ...each(across, (block) => `${writer.use(readRight)}(b[${block}], ${at(right, 8 * block)});`),
    ...each(down * across, (block) => {
      const own = sums.slice(4 * block, 4 * block + 4).map(({ name }) => name);
      return `${multiply}(${own.join(', ')}, a[${Math.floor(block / across)}], b[${block % across}]);`;
    }),
    '}',
  ];
}
