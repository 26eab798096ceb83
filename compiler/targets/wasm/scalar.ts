/** One WebAssembly spelling for every scalar op of Tile IR, of one value or of four. Integer operations that trap are made total. */
import { exactOps } from '../exact.ts';
import type { BinaryOp, UnaryOp } from '../../graph/graph.ts';
import type { TileDtype } from '../../tile/build.ts';
import type { TileOp } from '../../tile/tile.ts';
import { floats, onVector, roundTf32, roundTo, words } from './cast.ts';
import { type Code, i32, lane, plain } from './code.ts';
import { callMath, type MathFunction } from './math.ts';
import { vector } from './vector.ts';
import { type FunctionWriter, isFloat, isUnsigned, literal, wasmType } from './writer.ts';

interface Site {
  readonly writer: FunctionWriter;
  readonly dtype: TileDtype;
  readonly lanes: number;
  /** `f32x4` and the like. */
  readonly shape: string;
  readonly float: boolean;
  readonly sign: 's' | 'u';
}

type Unary = (site: Site, a: Code) => Code;
type Binary = (site: Site, a: Code, b: Code) => Code;

const constant = (site: Site, value: number): Code => literal(site.dtype, site.lanes, value);
const keep = (site: Site, value: Code): Code => site.writer.define(wasmType(site.dtype, site.lanes), value);
const op =
  (name: string): Binary =>
  (site, a, b) =>
    plain(`${site.shape}.${name}`, a, b);
const bits =
  (name: string): Binary =>
  (site, a, b) =>
    plain(`${site.lanes === 4 ? 'v128' : 'i32'}.${name}`, a, b);
const select = (site: Site, condition: Code, yes: Code, no: Code): Code =>
  plain(site.lanes === 4 ? 'v128.bitselect' : 'select', yes, no, condition);
const compare = (name: string): Binary => {
  const ofFloats = name;
  return (site, a, b) =>
    plain(`${site.shape}.${site.float || name === 'eq' || name === 'ne' ? ofFloats : `${name}_${site.sign}`}`, a, b);
};
const ofFloats =
  (name: string): Unary =>
  (site, a) =>
    site.float ? plain(`${site.shape}.${name}`, a) : a;

/** A function of `math.ts`, of vectors. */
const math =
  (name: MathFunction): Unary =>
  (site, a) => {
    if (!site.float) throw new Error(`${name} of ${site.dtype} has no WebAssembly: only floats have`);
    return onVector(site.writer, site.lanes, [a], floats, (values) => callMath(site.writer, name, values));
  };
const math2 = (site: Site, name: MathFunction, a: Code, b: Code): Code =>
  onVector(site.writer, site.lanes, [a, b], floats, (values) => {
    const [x, y] = values.map((value) => site.writer.define('v128', value));
    return callMath(site.writer, name, [x, y]);
  });

const isOrdinary = (value: Code): boolean =>
  value.kind === 'const'
    ? !Number.isNaN(value.value)
    : value.kind === 'const128' && (value.words[0] & 0x7fffffff) <= 0x7f800000;

/** NaN if either is; pmax and pmin, one instruction of the machine, give the first operand then. */
const extreme =
  (name: 'max' | 'min'): Binary =>
  (site, a, b) => {
    if (site.float) {
      if (site.lanes === 1) return plain(`f32.${name}`, a, b);
      if (isOrdinary(b)) return plain(`f32x4.p${name}`, a, b);
      return isOrdinary(a) ? plain(`f32x4.p${name}`, b, a) : plain(`f32x4.${name}`, a, b);
    }
    if (site.dtype === 'bool') return bits(name === 'max' ? 'or' : 'and')(site, a, b);
    if (site.lanes === 4) return plain(`i32x4.${name}_${site.sign}`, a, b);
    const [x, y] = [keep(site, a), keep(site, b)];
    return plain('select', x, y, plain(`i32.${name === 'max' ? 'gt' : 'lt'}_${site.sign}`, x, y));
  };

const isPositive = (value: Code): boolean => value.kind === 'const' && value.type === 'i32' && value.value > 0;

/** Division toward zero; by 0 gives 0, and the smallest number by -1 gives itself. Vectors are divided lane by lane. */
const integerDivision =
  (name: 'div' | 'rem'): Binary =>
  (site, a, b) => {
    if (site.lanes === 4) {
      const [x, y] = [site.writer.define('v128', a), site.writer.define('v128', b)];
      const known = y.kind === 'const128' ? y.words[0] : undefined;
      return [0, 1, 2, 3].reduce<Code>((made, at) => {
        const of = (value: Code): Code => lane('i32x4.extract_lane', at, value);
        const divisor = known === undefined ? of(y) : i32(known);
        return lane(
          'i32x4.replace_lane',
          at,
          made,
          integerDivision(name)({ ...site, lanes: 1, shape: 'i32' }, of(x), divisor),
        );
      }, x);
    }
    if (isPositive(b)) return plain(`i32.${name}_${site.sign}`, a, b);
    const [x, y] = [keep(site, a), keep(site, b)];
    // 0 and, of signed ones, -1.
    const near = site.sign === 'u' ? plain('i32.eqz', y) : plain('i32.lt_u', plain('i32.add', y, i32(1)), i32(2));
    const special = name === 'div' && site.sign === 's' ? plain('i32.mul', x, y) : i32(0);
    const divided = plain(`i32.${name}_${site.sign}`, x, plain('select', i32(1), y, near));
    return plain('select', special, divided, near);
  };

const shift =
  (left: boolean): Binary =>
  (site, a, b) => {
    const name = left ? 'shl' : `shr_${site.sign}`;
    const most = site.dtype === 'u8' || site.dtype === 'i8' ? 7 : 31;
    if (site.lanes === 1) return plain(`i32.${name}`, a, plain('i32.and', b, i32(most)));
    if (b.kind === 'const128') return plain(`i32x4.${name}`, a, i32(b.words[0] & most));
    const [x, y] = [site.writer.define('v128', a), site.writer.define('v128', b)];
    return [0, 1, 2, 3].reduce<Code>((made, at) => {
      const of = (value: Code): Code => lane('i32x4.extract_lane', at, value);
      return lane('i32x4.replace_lane', at, made, plain(`i32.${name}`, of(x), plain('i32.and', of(y), i32(most))));
    }, x);
  };

const unary: Record<UnaryOp, Unary> = {
  neg: (site, a) => (site.float ? plain(`${site.shape}.neg`, a) : plain(`${site.shape}.sub`, constant(site, 0), a)),
  abs: (site, a) => {
    if (site.float || (site.lanes === 4 && site.sign === 's')) return plain(`${site.shape}.abs`, a);
    if (site.sign === 'u') return a;
    const x = keep(site, a);
    return plain('select', plain('i32.sub', i32(0), x), x, plain('i32.lt_s', x, i32(0)));
  },
  sign: (site, a) => {
    const x = keep(site, a);
    const positive = select(site, compare('gt')(site, x, constant(site, 0)), constant(site, 1), x);
    if (site.sign === 'u') return positive;
    return select(site, compare('lt')(site, x, constant(site, 0)), constant(site, -1), positive);
  },
  exp: math('exp'),
  log: math('log'),
  sin: math('sin'),
  cos: math('cos'),
  tanh: math('tanh'),
  erf: math('erf'),
  sqrt: ofFloats('sqrt'),
  rsqrt: (site, a) => plain(`${site.shape}.div`, constant(site, 1), plain(`${site.shape}.sqrt`, a)),
  floor: ofFloats('floor'),
  ceil: ofFloats('ceil'),
  // To nearest, ties to even.
  round: ofFloats('nearest'),
  // Half precisions have no more digits.
  tf32: (site, a) =>
    site.dtype === 'f32' ? onVector(site.writer, site.lanes, [a], floats, ([x]) => roundTf32(site.writer, x)) : a,
  not: (site, a) => {
    if (site.lanes === 4) return plain('v128.not', a);
    return site.dtype === 'bool' ? plain('i32.eqz', a) : plain('i32.xor', a, i32(-1));
  },
};

const binary: Record<BinaryOp, Binary> = {
  add: op('add'),
  sub: op('sub'),
  mul: op('mul'),
  div: (site, a, b) => (site.float ? op('div')(site, a, b) : integerDivision('div')(site, a, b)),
  rem: (site, a, b) => (site.float ? math2(site, 'rem', a, b) : integerDivision('rem')(site, a, b)),
  pow: (site, a, b) => {
    if (!site.float) throw new Error(`pow of ${site.dtype} has no WebAssembly: only floats have`);
    return math2(site, 'pow', a, b);
  },
  max: extreme('max'),
  min: extreme('min'),
  eq: compare('eq'),
  ne: compare('ne'),
  lt: (site, a, b) =>
    site.dtype === 'bool' && site.lanes === 4 ? plain('v128.andnot', b, a) : compare('lt')(site, a, b),
  le: (site, a, b) =>
    site.dtype === 'bool' && site.lanes === 4 ? plain('v128.or', b, plain('v128.not', a)) : compare('le')(site, a, b),
  and: bits('and'),
  or: bits('or'),
  xor: bits('xor'),
  shl: shift(true),
  shr: shift(false),
};

/** Writes one op. `dtype` is that of the first operand (of the second for `where`). */
export function emitOp(
  writer: FunctionWriter,
  name: TileOp,
  dtype: TileDtype,
  lanes: number,
  values: readonly Code[],
): Code {
  const float = isFloat(dtype);
  const shape = `${float ? 'f32' : 'i32'}${lanes === 4 ? 'x4' : ''}`;
  const site: Site = { writer, dtype, lanes, shape, float, sign: isUnsigned(dtype) ? 'u' : 's' };
  const result = spell(site, name, values);
  return exactOps.has(name) ? result : roundTo(writer, dtype, lanes, result);
}

/** c and the products of the four bytes of words, those of a unsigned, those of b signed. */
function dotBytes(site: Site, a: Code, b: Code, c: Code): Code {
  const int = (name: string, x: Code, y: Code): Code => plain(`${site.shape}.${name}`, x, y);
  const [x, y] = [keep(site, a), keep(site, b)];
  return [0, 8, 16, 24].reduce((sum, at) => {
    const unsigned = bits('and')(site, int('shr_u', x, i32(at)), constant(site, 255));
    const signed = int('shr_s', int('shl', y, i32(24 - at)), i32(24));
    return int('add', sum, int('mul', unsigned, signed));
  }, c);
}

function spell(site: Site, name: TileOp, values: readonly Code[]): Code {
  const [a, b, c] = values;
  if (a === undefined) throw new Error(`${name} without operands`);
  if (name === 'philox')
    return onVector(site.writer, site.lanes, values, words, (vectors) => callMath(site.writer, 'philox', vectors));
  if (name in unary) return unary[name as UnaryOp](site, a);
  if (b === undefined) throw new Error(`${name} needs two operands`);
  if (name in binary) return binary[name as BinaryOp](site, a, b);
  if (c === undefined) throw new Error(`${name} needs three operands`);
  if (name === 'where') return select(site, a, b, c);
  if (name === 'dot4') return dotBytes(site, a, b, c);
  if (site.float && site.lanes === 4) return vector(site.writer).fma(a, b, c);
  return plain(`${site.shape}.add`, plain(`${site.shape}.mul`, a, b), c);
}
