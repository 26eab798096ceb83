/** Four lanes at a time, tersely. Floats and integers share their bits, so nothing is converted between them but on purpose. */
import { bitsOf, type Code, plain, v128 } from './code.ts';
import type { FunctionWriter } from './writer.ts';

export interface Vector {
  /** Under a name, to be used more than once. */
  keep(code: Code): Code;
  /** Constants. */
  f(value: number): Code;
  i(value: number): Code;
  /** An instruction of f32x4, i32x4 or v128. */
  float(op: string, ...operands: readonly Code[]): Code;
  int(op: string, ...operands: readonly Code[]): Code;
  bits(op: string, ...operands: readonly Code[]): Code;
  shift(op: 'shl' | 'shr_s' | 'shr_u', value: Code, count: number): Code;
  select(mask: Code, yes: Code, no: Code): Code;
  /** a·b + c, rounded once where relaxed SIMD may be used. */
  fma(a: Code, b: Code, c: Code): Code;
  /** c₀ + c₁x + c₂x² + … */
  polynomial(x: Code, coefficients: readonly number[]): Code;
}

export function vector(writer: FunctionWriter): Vector {
  const constant = (word: number): Code => v128([word, word, word, word]);
  const keep = (code: Code): Code => writer.define('v128', code);
  const float = (op: string, ...operands: readonly Code[]): Code => plain(`f32x4.${op}`, ...operands);
  const fma = (a: Code, b: Code, c: Code): Code =>
    writer.module.relaxed ? float('relaxed_madd', a, b, c) : float('add', float('mul', a, b), c);
  return {
    keep,
    f: (value) => constant(bitsOf(value)),
    i: constant,
    float,
    int: (op, ...operands) => plain(`i32x4.${op}`, ...operands),
    bits: (op, ...operands) => plain(`v128.${op}`, ...operands),
    shift: (op, value, count) => plain(`i32x4.${op}`, value, { kind: 'const', type: 'i32', value: count }),
    select: (mask, yes, no) => plain('v128.bitselect', yes, no, mask),
    fma,
    polynomial: (x, coefficients) =>
      coefficients
        .slice(0, -1)
        .reduceRight<Code>(
          (sum, coefficient) => fma(sum, x, constant(bitsOf(coefficient))),
          constant(bitsOf(coefficients[coefficients.length - 1])),
        ),
  };
}
