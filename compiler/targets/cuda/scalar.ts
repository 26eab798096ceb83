/** One CUDA spelling for every scalar op of Tile IR. Integer operations that C++ leaves undefined are made total. */
import { exactOps } from '../exact.ts';
import type { BinaryOp, UnaryOp } from '../../graph/graph.ts';
import type { TileDtype } from '../../tile/build.ts';
import type { TileOp } from '../../tile/tile.ts';
import { roundTo } from './cast.ts';
import type { HelperName } from './math.ts';
import { cudaType, type CudaType, type UnitWriter } from './writer.ts';

interface Site {
  readonly writer: UnitWriter;
  readonly dtype: TileDtype;
  readonly type: CudaType;
}

type Unary = (site: Site, a: string) => string;
type Binary = (site: Site, a: string, b: string) => string;

const call = ({ writer }: Site, name: HelperName, ...values: readonly string[]): string =>
  `${writer.use(name)}(${values.join(', ')})`;
const library =
  (name: string): Unary =>
  (site, a) => {
    if (site.type !== 'float') throw new Error(`${name} of ${site.dtype} has no CUDA: only floats have`);
    return `${name}(${a})`;
  };
const infix =
  (operator: string): Binary =>
  (_, a, b) =>
    `(${a} ${operator} ${b})`;
/** Integers wrap, which only unsigned ones do in C++; addresses never do. */
const wrapping =
  (operator: string): Binary =>
  ({ type, dtype }, a, b) =>
    type === 'int' && dtype !== 'index'
      ? `((int)((unsigned)${a} ${operator} (unsigned)${b}))`
      : `(${a} ${operator} ${b})`;
const wholeNumber =
  (name: string): Unary =>
  (site, a) =>
    site.type === 'float' ? `${name}(${a})` : a;

const extreme =
  (ofFloats: 'maximum' | 'minimum', operator: '>' | '<'): Binary =>
  (site, a, b) =>
    site.type === 'float' ? call(site, ofFloats, a, b) : `(${a} ${operator} ${b} ? ${a} : ${b})`;

/** Index arithmetic divides by sizes; other divisors may be 0. */
const integerDivision =
  (operator: '/' | '%', signed: HelperName, unsigned: HelperName): Binary =>
  (site, a, b) =>
    site.dtype === 'index' || /^[1-9]\d*u?$/.test(b)
      ? `(${a} ${operator} ${b})`
      : call(site, site.type === 'unsigned' ? unsigned : signed, a, b);

const shift =
  (operator: '<<' | '>>'): Binary =>
  ({ type, dtype }, a, b) => {
    const amount = `(${b} & ${dtype === 'u8' || dtype === 'i8' ? 7 : 31})`;
    return operator === '<<' && type === 'int'
      ? `((int)((unsigned)${a} << ${amount}))`
      : `(${a} ${operator} ${amount})`;
  };

const unary: Record<UnaryOp, Unary> = {
  neg: ({ type }, a) =>
    type === 'float' ? `(-${a})` : type === 'int' ? `((int)(0u - (unsigned)${a}))` : `(0u - ${a})`,
  abs: ({ type }, a) =>
    type === 'float' ? `fabsf(${a})` : type === 'int' ? `((int)(${a} < 0 ? 0u - (unsigned)${a} : (unsigned)${a}))` : a,
  sign: (site, a) => (site.type === 'float' ? call(site, 'sign_of', a) : `((${a} > 0) - (${a} < 0))`),
  exp: library('expf'),
  log: library('logf'),
  sin: library('sinf'),
  cos: library('cosf'),
  tanh: library('tanhf'),
  erf: library('erff'),
  sqrt: library('sqrtf'),
  rsqrt: (_, a) => `(1.0f / sqrtf(${a}))`,
  floor: wholeNumber('floorf'),
  ceil: wholeNumber('ceilf'),
  // To nearest, ties to even.
  round: wholeNumber('rintf'),
  // Half precisions have no more digits.
  tf32: (site, a) => (site.dtype === 'f32' ? call(site, 'round_tf32', a) : a),
  not: ({ type }, a) => (type === 'bool' ? `!${a}` : `~${a}`),
};

const binary: Record<BinaryOp, Binary> = {
  add: wrapping('+'),
  sub: wrapping('-'),
  mul: wrapping('*'),
  div: (site, a, b) =>
    site.type === 'float' ? `(${a} / ${b})` : integerDivision('/', 'divide_int', 'divide_unsigned')(site, a, b),
  rem: (site, a, b) =>
    site.type === 'float'
      ? `fmodf(${a}, ${b})`
      : integerDivision('%', 'remainder_int', 'remainder_unsigned')(site, a, b),
  pow: (site, a, b) => {
    if (site.type !== 'float') throw new Error(`pow of ${site.dtype} has no CUDA: only floats have`);
    return call(site, 'power', a, b);
  },
  max: extreme('maximum', '>'),
  min: extreme('minimum', '<'),
  eq: infix('=='),
  ne: infix('!='),
  lt: infix('<'),
  le: infix('<='),
  and: infix('&'),
  or: infix('|'),
  xor: infix('^'),
  shl: shift('<<'),
  shr: shift('>>'),
};

/** `dtype` is that of the first operand (of the second for `where`). */
export function emitOp(writer: UnitWriter, op: TileOp, dtype: TileDtype, values: readonly string[]): string {
  const result = spell({ writer, dtype, type: cudaType(dtype) }, op, values);
  return exactOps.has(op) ? result : roundTo(writer, dtype, result);
}

function spell(site: Site, op: TileOp, values: readonly string[]): string {
  const [a, b, c] = values;
  if (a === undefined) throw new Error(`${op} without operands`);
  if (op === 'philox') return call(site, 'philox', ...values);
  if (op in unary) return unary[op as UnaryOp](site, a);
  if (b === undefined) throw new Error(`${op} needs two operands`);
  if (op in binary) return binary[op as BinaryOp](site, a, b);
  if (c === undefined) throw new Error(`${op} needs three operands`);
  if (op === 'where') return `(${a} ? ${b} : ${c})`;
  if (op === 'dot4') throw new Error('dot4 on a machine that does not sum bytes');
  if (site.type === 'float') return `fmaf(${a}, ${b}, ${c})`;
  return site.type === 'int' ? `((int)((unsigned)${a} * (unsigned)${b} + (unsigned)${c}))` : `(${a} * ${b} + ${c})`;
}
