/**
 * Philox4x32-10 (Salmon et al., 2011): word 0 of the block for counter (index, stream, step, 0) and a two-word key, each
 * lane its own. The four-word state stays in registers; a 32×32→64 multiplication is done in i64.
 */
import type { FunctionWriter } from './writer.ts';
import { literal, vectorOf } from './writer.ts';

const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const weyl0 = 0x9e3779b9;
const weyl1 = 0xbb67ae85;

export function philox(writer: FunctionWriter, lanes: number, values: readonly string[]): string {
  const word = vectorOf('i32', lanes);
  const wide = vectorOf('i64', lanes);
  const widen = (value: string): string => writer.define(`zext ${word} ${value} to ${wide}`);
  const narrow = (value: string): string => writer.define(`trunc ${wide} ${value} to ${word}`);
  const xor = (a: string, b: string): string => writer.define(`xor ${word} ${a}, ${b}`);
  const multiply = (value: string, by: number): { high: string; low: string } => {
    const product = writer.define(`mul ${wide} ${widen(value)}, ${literal('i64', lanes, by)}`);
    return {
      low: narrow(product),
      high: narrow(writer.define(`lshr ${wide} ${product}, ${literal('i64', lanes, 32)}`)),
    };
  };
  let [x0, x1, x2, k0, k1] = values;
  let x3 = literal('i32', lanes, 0);
  if (x0 === undefined || x1 === undefined || x2 === undefined || k0 === undefined || k1 === undefined)
    throw new Error('philox takes five operands');
  for (let round = 0; round < 10; round++) {
    const first = multiply(x0, multiplier0);
    const second = multiply(x2, multiplier1);
    x0 = xor(xor(second.high, x1), k0);
    x1 = second.low;
    x2 = xor(xor(first.high, x3), k1);
    x3 = first.low;
    k0 = writer.define(`add ${word} ${k0}, ${literal('i32', lanes, weyl0 | 0)}`);
    k1 = writer.define(`add ${word} ${k1}, ${literal('i32', lanes, weyl1 | 0)}`);
  }
  return x0;
}
