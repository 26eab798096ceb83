/** Matrix instructions: operands from workgroup memory to registers, 16 of the sum at a time, then block by block. */
import type { MatrixOperand, Statement, TileExpression } from '../../tile/tile.ts';
import type { UnitWriter } from './writer.ts';

export function emitMultiply(
  writer: UnitWriter,
  { rows, columns, depth, left, right, sums }: Extract<Statement, { kind: 'multiply' }>,
  print: (of: TileExpression) => string,
): readonly string[] {
  const multiply = writer.use(left.memory.dtype === 'bf16' ? 'multiply_bf16' : 'multiply_f16');
  const [down, across] = [rows / 16, columns / 8];
  const at = ({ memory, offset, pitch, turned }: MatrixOperand, line: number): string =>
    turned
      ? `${memory.name} + ${print(offset)} + ${line} + k * ${pitch}, ${pitch}`
      : `${memory.name} + ${print(offset)} + ${line * pitch} + k, ${pitch}`;
  const [readLeft, readRight] = [
    left.turned ? 'left_turned' : 'left_matrix',
    right.turned ? 'right_turned' : 'right_matrix',
  ] as const;
  const each = (count: number, text: (place: number) => string): readonly string[] =>
    Array.from({ length: count }, (_, place) => `  ${text(place)}`);
  return [
    '#pragma unroll',
    `for (int k = 0; k < ${depth}; k += 16) {`,
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
