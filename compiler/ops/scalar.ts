/**
 * The scalar meaning of the elementwise ops, on numbers that are already of their type. Results still have to be
 * rounded
 * to the type (numeric.ts). The one place where edges are decided:
 *
 *   integers    wrap around; division truncates, division and remainder by zero are 0; shifts use the low bits of the amount
 *   rem         has the sign of the dividend
 *   round       takes ties to the even number
 *   max, min    are NaN where an operand is; 0^0 = 1
 *   float→int   truncates and saturates, NaN becomes 0; int→int wraps; →bool is "not 0"
 */
import type { BinaryOp, UnaryOp } from '../graph/graph.ts';
import type { Dtype } from '../types/dtype.ts';
import { isFloat } from '../types/dtype.ts';
import { limits, roundHalfEven, roundTf32, roundTo } from './numeric.ts';

/** erf to double precision: a series of positive terms near 0, a continued fraction of erfc beyond. */
export function erf(x: number): number {
  const size = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }
  let fraction = size;
  for (let n = 60; n > 0; n--) fraction = size + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-x * x) / Math.sqrt(Math.PI) / fraction);
}

const floatUnary: Record<UnaryOp, (x: number) => number> = {
  neg: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  exp: Math.exp,
  log: Math.log,
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  erf,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfEven,
  tf32: roundTf32,
  not: (x) => ~x,
};

export function unaryScalar(op: UnaryOp, dtype: Dtype): (x: number) => number {
  if (op === 'not' && dtype === 'bool') return (x) => 1 - x;
  // Double precision is what roundings are measured against.
  if (op === 'tf32' && dtype === 'f64') return (x) => x;
  return floatUnary[op];
}

const floatBinary: Record<BinaryOp, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  rem: (a, b) => a % b,
  pow: Math.pow,
  max: Math.max,
  min: Math.min,
  eq: (a, b) => (a === b ? 1 : 0),
  ne: (a, b) => (a === b ? 0 : 1),
  lt: (a, b) => (a < b ? 1 : 0),
  le: (a, b) => (a <= b ? 1 : 0),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << b,
  shr: (a, b) => a >> b,
};

const integerBinary: Partial<Record<BinaryOp, (a: number, b: number) => number>> = {
  mul: Math.imul,
  div: (a, b) => (b === 0 ? 0 : Math.trunc(a / b)),
  rem: (a, b) => (b === 0 ? 0 : a % b),
};

export function binaryScalar(op: BinaryOp, dtype: Dtype): (a: number, b: number) => number {
  if (isFloat(dtype)) return floatBinary[op];
  const isByte = dtype === 'u8' || dtype === 'i8';
  if (op === 'shl' && isByte) return (a, b) => a << (b & 7);
  if (op === 'shr' && isByte) return (a, b) => a >> (b & 7);
  if (op === 'shr' && dtype === 'u32') return (a, b) => a >>> b;
  return integerBinary[op] ?? floatBinary[op];
}

/** The sum of the products of the four bytes of two words, those of `a` unsigned, those of `b` signed. */
export function dot4(a: number, b: number): number {
  let sum = 0;
  for (let at = 0; at < 32; at += 8) sum += ((a >>> at) & 255) * ((b << (24 - at)) >> 24);
  return sum;
}

/** An element of one type as an element of another. */
export function castScalar(from: Dtype, to: Dtype): (x: number) => number {
  if (to === 'bool') return (x) => (x === 0 ? 0 : 1);
  if (isFloat(to)) return (x) => x;
  if (!isFloat(from)) return (x) => roundTo(to, x);
  const { least, greatest } = limits(to);
  return (x) => (Number.isNaN(x) ? 0 : Math.trunc(Math.min(greatest, Math.max(least, x))));
}
