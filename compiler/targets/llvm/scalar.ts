/**
 * One LLVM spelling for every scalar op of Tile IR, on vectors of any width. Nothing is reassociated and nothing assumes
 * that NaN or infinity do not happen; integer operations that trap or are undefined in LLVM (division by 0, shifts
 * beyond the width) are made total.
 */
import { exactOps } from '../exact.ts';
import type { BinaryOp, UnaryOp } from '../../graph/graph.ts';
import type { TileDtype } from '../../tile/build.ts';
import type { TileOp } from '../../tile/tile.ts';
import { roundTf32, roundTo } from './cast.ts';
import { callMath } from './math.ts';
import { anyLane, narrow, vector, widen } from './vector.ts';
import type { FunctionWriter } from './writer.ts';
import { literal, llvmType, mangled, vectorOf } from './writer.ts';

/** Everything an op's spelling needs to know about the place it is written at. */
interface Site {
  readonly writer: FunctionWriter;
  readonly dtype: TileDtype;
  readonly lanes: number;
  /** LLVM type of one lane, and of all. */
  readonly element: string;
  readonly type: string;
  readonly float: boolean;
  readonly unsigned: boolean;
}

type Unary = (site: Site, a: string) => string;
type Binary = (site: Site, a: string, b: string) => string;

const constant = (site: Site, value: number): string => literal(site.element, site.lanes, value);
const define = (site: Site, instruction: string): string => site.writer.define(instruction);
/** Index arithmetic never overflows: addresses are far smaller. Other integers wrap. */
const simple =
  (float: string, integer: string): Binary =>
  (site, a, b) =>
    define(site, `${site.float ? float : site.dtype === 'index' ? `${integer} nsw` : integer} ${site.type} ${a}, ${b}`);
const select = (site: Site, condition: string, a: string, b: string): string =>
  define(site, `select ${vectorOf('i1', site.lanes)} ${condition}, ${site.type} ${a}, ${site.type} ${b}`);
const compare = (site: Site, float: string, signed: string, a: string, b: string): string => {
  if (site.float) return define(site, `fcmp ${float} ${site.type} ${a}, ${b}`);
  return define(site, `icmp ${site.unsigned ? signed.replace(/^s/, 'u') : signed} ${site.type} ${a}, ${b}`);
};
const intrinsic =
  (name: string): Unary =>
  (site, a) =>
    site.writer.intrinsic(`llvm.${name}.${mangled(site.element, site.lanes)}`, site.type, [site.type], [a]);
const wholeNumber =
  (name: string): Unary =>
  (site, a) =>
    site.float ? intrinsic(name)(site, a) : a;

/** A function of `math.ts`: floats only, in single precision. */
const math =
  (name: 'exp' | 'log' | 'sin' | 'cos' | 'tanh' | 'erf'): Unary =>
  (site, a) => {
    if (site.element !== 'float')
      throw new Error(`${name} of ${site.dtype} has no native code: only single precision has`);
    return callMath(site.writer, name, site.lanes, [a]);
  };

const isLiteral = (value: string): boolean => !value.startsWith('%');

const isOrdinary = (value: string): boolean => isLiteral(value) && !value.includes('0x7FF8');

/** NaN if either is: the comparison picks `b` when unordered, so only `a` needs another look, unless it is a constant. */
const extreme =
  (order: 'gt' | 'lt'): Binary =>
  (site, a, b) => {
    if (!site.float) return select(site, compare(site, '', `s${order}`, a, b), a, b);
    if (isOrdinary(b) && !isOrdinary(a)) return extreme(order)(site, b, a);
    const picked = select(site, define(site, `fcmp o${order} ${site.type} ${a}, ${b}`), a, b);
    return isOrdinary(a) ? picked : select(site, define(site, `fcmp uno ${site.type} ${a}, ${a}`), a, picked);
  };

/** Division toward zero; by 0 gives 0, and the smallest number by -1 gives itself. */
const integerDivision =
  (instruction: 'div' | 'rem'): Binary =>
  (site, a, b) => {
    if (site.unsigned) {
      const isZero = define(site, `icmp eq ${site.type} ${b}, ${constant(site, 0)}`);
      const safe = select(site, isZero, constant(site, 1), b);
      return select(site, isZero, constant(site, 0), define(site, `u${instruction} ${site.type} ${a}, ${safe}`));
    }
    if (isLiteral(b) && !/(^|\s)(0|-1|zeroinitializer)\b/.test(b))
      return define(site, `s${instruction} ${site.type} ${a}, ${b}`);
    // -1, 0 and 1 as divisors: (b + 1) unsigned below 3.
    const near = define(
      site,
      `icmp ult ${site.type} ${define(site, `add ${site.type} ${b}, ${constant(site, 1)}`)}, ${constant(site, 3)}`,
    );
    const safe = select(site, near, constant(site, 1), b);
    const result = define(site, `s${instruction} ${site.type} ${a}, ${safe}`);
    const special = instruction === 'div' ? define(site, `mul ${site.type} ${a}, ${b}`) : constant(site, 0);
    return select(site, near, special, result);
  };

/**
 * |a| - |b|·trunc(|a| / |b|) in double precision, as often as |b| goes into what is left: a quotient may have more digits than a double.
 * What is left is exact each time (one fma), and negative where the quotient was rounded up: at the end that takes one |b|. Then the sign of a.
 */
const floatRemainder: Binary = (site, a, b) => {
  const { writer, lanes } = site;
  const d = vector(writer, 'double', lanes);
  const doubles = vectorOf('double', lanes);
  const wide = (value: string): string => (site.element === 'double' ? value : widen(writer, lanes, value));
  const dividend = wide(a);
  const divisor = d.abs(wide(b));
  const left = writer.slot(doubles);
  const keep = (value: string): void => writer.line(`store ${doubles} ${value}, ptr ${left}`);
  keep(d.abs(dividend));
  const [round, again, on] = [writer.label('rem'), writer.label('again'), writer.label('on')];
  writer.line(`br label %${round}`);
  writer.begin(round);
  const rest = define(site, `load ${doubles}, ptr ${left}`);
  const more = d.is('oge', d.abs(rest), divisor);
  writer.line(`br i1 ${anyLane(writer, lanes, more)}, label %${again}, label %${on}`);
  writer.begin(again);
  keep(d.select(more, d.fma(d.neg(d.truncate(d.div(rest, divisor))), divisor, rest), rest));
  writer.line(`br label %${round}`);
  writer.begin(on);
  const positive = d.select(d.is('olt', rest, d.f(0)), d.add(rest, divisor), rest);
  const signed = d.copysign(d.select(d.is('uno', divisor, divisor), divisor, positive), dividend);
  return site.element === 'double' ? signed : narrow(writer, lanes, signed);
};

const shift =
  (signed: string, unsigned: string): Binary =>
  (site, a, b) => {
    const width = site.element === 'i64' ? 63 : site.element === 'i8' ? 7 : 31;
    const amount = define(site, `and ${site.type} ${b}, ${constant(site, width)}`);
    return define(site, `${site.unsigned ? unsigned : signed} ${site.type} ${a}, ${amount}`);
  };

const unary: Record<UnaryOp, Unary> = {
  neg: (site, a) =>
    site.float ? define(site, `fneg ${site.type} ${a}`) : define(site, `sub ${site.type} ${constant(site, 0)}, ${a}`),
  abs: (site, a) => {
    if (site.float) return intrinsic('fabs')(site, a);
    if (site.unsigned) return a;
    return select(
      site,
      define(site, `icmp slt ${site.type} ${a}, ${constant(site, 0)}`),
      define(site, `sub ${site.type} ${constant(site, 0)}, ${a}`),
      a,
    );
  },
  sign: (site, a) => {
    const zero = constant(site, 0);
    const positive = select(site, compare(site, 'ogt', 'sgt', a, zero), constant(site, 1), a);
    return site.unsigned ? positive : select(site, compare(site, 'olt', 'slt', a, zero), constant(site, -1), positive);
  },
  exp: math('exp'),
  log: math('log'),
  sin: math('sin'),
  cos: math('cos'),
  tanh: math('tanh'),
  erf: math('erf'),
  sqrt: intrinsic('sqrt'),
  rsqrt: (site, a) => define(site, `fdiv ${site.type} ${constant(site, 1)}, ${intrinsic('sqrt')(site, a)}`),
  floor: wholeNumber('floor'),
  ceil: wholeNumber('ceil'),
  // To nearest, ties to even: the rounding mode of the machine, which nothing here changes.
  round: wholeNumber('nearbyint'),
  // Half precisions have no more digits, and what computes in double precision wants all of its own.
  tf32: (site, a) => (site.dtype === 'f32' ? roundTf32(site.writer, site.lanes, a) : a),
  not: (site, a) =>
    define(site, `xor ${site.type} ${a}, ${site.dtype === 'bool' ? literal('i1', site.lanes, 1) : constant(site, -1)}`),
};

const binary: Record<BinaryOp, Binary> = {
  add: simple('fadd', 'add'),
  sub: simple('fsub', 'sub'),
  mul: simple('fmul', 'mul'),
  div: (site, a, b) => (site.float ? define(site, `fdiv ${site.type} ${a}, ${b}`) : integerDivision('div')(site, a, b)),
  rem: (site, a, b) => (site.float ? floatRemainder(site, a, b) : integerDivision('rem')(site, a, b)),
  pow: (site, a, b) => {
    if (site.element !== 'float') throw new Error(`pow of ${site.dtype} has no native code: only single precision has`);
    return callMath(site.writer, 'pow', site.lanes, [a, b]);
  },
  max: extreme('gt'),
  min: extreme('lt'),
  eq: (site, a, b) => compare(site, 'oeq', 'eq', a, b),
  ne: (site, a, b) => compare(site, 'une', 'ne', a, b),
  lt: (site, a, b) => compare(site, 'olt', 'slt', a, b),
  le: (site, a, b) => compare(site, 'ole', 'sle', a, b),
  and: (site, a, b) => define(site, `and ${site.type} ${a}, ${b}`),
  or: (site, a, b) => define(site, `or ${site.type} ${a}, ${b}`),
  xor: (site, a, b) => define(site, `xor ${site.type} ${a}, ${b}`),
  shl: shift('shl', 'shl'),
  shr: shift('ashr', 'lshr'),
};

/** Ops whose result needs no rounding to a half precision: it is exact, or not a float. */
const exact: ReadonlySet<TileOp> = new Set<TileOp>([...exactOps, 'neg']);

/**
 * Writes one op. `dtype` is that of the first operand (of the second for `where`).
 */
export function emitOp(
  writer: FunctionWriter,
  op: TileOp,
  dtype: TileDtype,
  lanes: number,
  values: readonly string[],
): string {
  const element = llvmType(dtype, 1);
  const site: Site = {
    writer,
    dtype,
    lanes,
    element,
    type: vectorOf(element, lanes),
    float: element === 'float' || element === 'double',
    unsigned: dtype === 'u32' || dtype === 'u8' || dtype === 'bool',
  };
  const result = spell(site, op, values);
  return exact.has(op) ? result : roundTo(writer, dtype, lanes, result);
}

/** c and the products of four bytes, unsigned and signed: one instruction where the machine has it for so many lanes. */
function dotBytes(site: Site, a: string, b: string, c: string): string {
  const { writer, type, lanes } = site;
  const bits = 32 * lanes;
  if (writer.module.dotsBytes && (bits === 512 || bits === 256 || bits === 128))
    return writer.intrinsic(`llvm.x86.avx512.vpdpbusd.${bits}`, type, [type, type, type], [c, a, b]);
  const count = (value: number): string => constant(site, value);
  return [0, 8, 16, 24].reduce((sum, at) => {
    const moved = define(site, `lshr ${type} ${a}, ${count(at)}`);
    const unsigned = define(site, `and ${type} ${moved}, ${count(255)}`);
    const raised = define(site, `shl ${type} ${b}, ${count(24 - at)}`);
    const signed = define(site, `ashr ${type} ${raised}, ${count(24)}`);
    return define(site, `add ${type} ${sum}, ${define(site, `mul ${type} ${unsigned}, ${signed}`)}`);
  }, c);
}

function spell(site: Site, op: TileOp, values: readonly string[]): string {
  const [a, b, c] = values;
  if (a === undefined) throw new Error(`${op} without operands`);
  if (op === 'philox') return callMath(site.writer, 'philox', site.lanes, values);
  if (op in unary) return unary[op as UnaryOp](site, a);
  if (b === undefined) throw new Error(`${op} needs two operands`);
  if (op in binary) return binary[op as BinaryOp](site, a, b);
  if (c === undefined) throw new Error(`${op} needs three operands`);
  if (op === 'where') return select(site, a, b, c);
  if (op === 'dot4') return dotBytes(site, a, b, c);
  if (!site.float) return define(site, `add ${site.type} ${define(site, `mul ${site.type} ${a}, ${b}`)}, ${c}`);
  return site.writer.intrinsic(
    `llvm.fma.${mangled(site.element, site.lanes)}`,
    site.type,
    [site.type, site.type, site.type],
    [a, b, c],
  );
}
