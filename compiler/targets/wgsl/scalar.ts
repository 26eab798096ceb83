/** One WGSL spelling for every scalar op of Tile IR. Integer operations that WGSL leaves open (division by 0) are made total. */
import { exactOps } from '../exact.ts';
import type { BinaryOp, UnaryOp } from '../../graph/graph.ts';
import type { TileDtype } from '../../tile/build.ts';
import type { TileOp } from '../../tile/tile.ts';
import { roundTo } from './cast.ts';
import type { HelperName } from './math.ts';
import { type ModuleWriter, wgslType } from './writer.ts';

interface Site {
  readonly writer: ModuleWriter;
  readonly dtype: TileDtype;
  readonly type: 'f32' | 'i32' | 'u32' | 'bool';
}

type Unary = (site: Site, a: string) => string;
type Binary = (site: Site, a: string, b: string) => string;

const call = ({ writer }: Site, name: HelperName, ...values: readonly string[]): string =>
  `${writer.use(name)}(${values.join(', ')})`;
const helper =
  (name: HelperName): Unary =>
  (site, a) => {
    if (site.type !== 'f32') throw new Error(`${name} of ${site.dtype} has no WGSL: only floats have`);
    return call(site, name, a);
  };
const infix =
  (operator: string): Binary =>
  (_, a, b) =>
    `(${a} ${operator} ${b})`;
const builtin =
  (name: string): Unary =>
  (site, a) =>
    site.type === 'f32' ? `${name}(${a})` : a;

/** Ordinary: not NaN, whatever else it is. */
const isOrdinary = (value: string): boolean => /^\(?-?[0-9.]/.test(value) || value.startsWith('bitcast<f32>(infinity');

const extreme =
  (ofFloats: 'maximum' | 'minimum', name: 'max' | 'min', operator: '>' | '<'): Binary =>
  (site, a, b) => {
    if (site.type === 'bool') return name === 'max' ? `(${a} | ${b})` : `(${a} & ${b})`;
    if (site.type !== 'f32') return `${name}(${a}, ${b})`;
    // The comparison picks `b` where either is NaN: only `a` needs another look, unless it is a number.
    if (isOrdinary(b) && !isOrdinary(a)) return extreme(ofFloats, name, operator)(site, b, a);
    return isOrdinary(a) ? `select(${b}, ${a}, ${a} ${operator} ${b})` : call(site, ofFloats, a, b);
  };

/** Index arithmetic divides by sizes; other divisors may be 0. */
const integerDivision =
  (operator: '/' | '%', signed: HelperName, unsigned: HelperName): Binary =>
  (site, a, b) =>
    site.dtype === 'index' || /^[1-9]\d*u?$/.test(b)
      ? `(${a} ${operator} ${b})`
      : call(site, site.type === 'u32' ? unsigned : signed, a, b);

const shift =
  (operator: '<<' | '>>'): Binary =>
  ({ type, dtype }, a, b) => {
    const bits = dtype === 'u8' || dtype === 'i8' ? 7 : 31;
    const amount = /^\d+u?$/.test(b)
      ? `${parseInt(b, 10) & bits}u`
      : `(${type === 'u32' ? b : `u32(${b})`} & ${bits}u)`;
    return `(${a} ${operator} ${amount})`;
  };

const unary: Record<UnaryOp, Unary> = {
  neg: ({ type }, a) => (type === 'u32' ? `(0u - ${a})` : `(-${a})`),
  abs: (_, a) => `abs(${a})`,
  sign: (site, a) =>
    site.type === 'f32' ? call(site, 'sign_of', a) : site.type === 'u32' ? `min(${a}, 1u)` : `sign(${a})`,
  exp: helper('exponential'),
  log: helper('logarithm'),
  sin: (site, a) => call(site, 'sine', a, '0'),
  cos: (site, a) => call(site, 'sine', a, '1'),
  tanh: helper('hyperbolic_tangent'),
  erf: helper('error_function'),
  sqrt: helper('square_root'),
  rsqrt: (site, a) => `(1.0f / ${call(site, 'square_root', a)})`,
  floor: builtin('floor'),
  ceil: builtin('ceil'),
  round: builtin('round'),
  // Half precisions have no more digits.
  tf32: (site, a) => (site.dtype === 'f32' ? call(site, 'round_tf32', a) : a),
  not: ({ type }, a) => (type === 'bool' ? `!${a}` : `~${a}`),
};

const binary: Record<BinaryOp, Binary> = {
  add: infix('+'),
  sub: infix('-'),
  mul: infix('*'),
  div: (site, a, b) =>
    site.type === 'f32' ? `(${a} / ${b})` : integerDivision('/', 'divide_i32', 'divide_u32')(site, a, b),
  rem: (site, a, b) =>
    site.type === 'f32'
      ? call(site, 'remainder', a, b)
      : integerDivision('%', 'remainder_i32', 'remainder_u32')(site, a, b),
  pow: (site, a, b) => {
    if (site.type !== 'f32') throw new Error(`pow of ${site.dtype} has no WGSL: only floats have`);
    return call(site, 'power', a, b);
  },
  max: extreme('maximum', 'max', '>'),
  min: extreme('minimum', 'min', '<'),
  eq: (site, a, b) => (site.type === 'f32' ? call(site, 'equal', a, b) : `(${a} == ${b})`),
  ne: (site, a, b) => (site.type === 'f32' ? `!${call(site, 'equal', a, b)}` : `(${a} != ${b})`),
  lt: (site, a, b) => (site.type === 'bool' ? `(!${a} & ${b})` : `(${a} < ${b})`),
  le: (site, a, b) => (site.type === 'bool' ? `(!${a} | ${b})` : `(${a} <= ${b})`),
  and: infix('&'),
  or: infix('|'),
  xor: ({ type }, a, b) => (type === 'bool' ? `(${a} != ${b})` : `(${a} ^ ${b})`),
  shl: shift('<<'),
  shr: shift('>>'),
};

/** `dtype` is that of the first operand (of the second for `where`). */
export function emitOp(writer: ModuleWriter, op: TileOp, dtype: TileDtype, values: readonly string[]): string {
  const result = spell({ writer, dtype, type: wgslType(dtype) }, op, values);
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
  if (op === 'where') return `select(${c}, ${b}, ${a})`;
  if (op === 'dot4') throw new Error('dot4 on a machine that does not sum bytes');
  return site.type === 'f32' ? `fma(${a}, ${b}, ${c})` : `(${a} * ${b} + ${c})`;
}
