/**
 * Conversions between dtypes, and rounding to the two half precisions. Float to integer truncates, saturates and takes
 * NaN to 0; anything to bool asks whether it is not zero. WebAssembly converts no halves: their bits are computed.
 */
import type { TileDtype } from '../../tile/build.ts';
import { type Code, i32, lane, plain } from './code.ts';
import { vector } from './vector.ts';
import { type FunctionWriter, isFloat, isUnsigned, literal } from './writer.ts';

/** The bits of the nearest f16 or bf16, ties to even, in words. */
export function halfBits(writer: FunctionWriter, dtype: 'f16' | 'bf16', value: Code): Code {
  const v = vector(writer);
  const x = v.keep(value);
  const size = v.keep(v.bits('and', x, v.i(0x7fffffff)));
  const nan = v.int('gt_u', size, v.i(0x7f800000));
  if (dtype === 'bf16') {
    const upper = v.keep(v.shift('shr_u', x, 16));
    const odd = v.bits('and', upper, v.i(1));
    const rounded = v.shift('shr_u', v.int('add', v.int('add', x, odd), v.i(0x7fff)), 16);
    return v.select(nan, v.bits('or', upper, v.i(0x40)), rounded);
  }
  // Exponent from a bias of 127 to one of 15; below 2⁻¹⁴ the addition of ½, whose last digit is worth 2⁻²⁴, does the rounding.
  const odd = v.bits('and', v.shift('shr_u', size, 13), v.i(1));
  const normal = v.shift('shr_u', v.int('add', v.int('add', size, odd), v.i(0xfff - (112 << 23))), 13);
  const small = v.int('sub', v.float('add', size, v.f(0.5)), v.i(0x3f000000));
  const finite = v.select(v.int('lt_u', size, v.i(0x38800000)), small, normal);
  const bounded = v.select(v.int('ge_u', size, v.i(0x47800000)), v.i(0x7c00), finite);
  const sign = v.bits('and', v.shift('shr_u', x, 16), v.i(0x8000));
  return v.bits('or', v.select(nan, v.i(0x7e00), bounded), sign);
}

/** The floats that half-precision bits in words stand for. */
export function fromHalfBits(writer: FunctionWriter, dtype: 'f16' | 'bf16', bits: Code): Code {
  const v = vector(writer);
  if (dtype === 'bf16') return v.shift('shl', bits, 16);
  const given = v.keep(bits);
  const size = v.keep(v.bits('and', given, v.i(0x7fff)));
  const normal = v.keep(v.int('add', v.shift('shl', size, 13), v.i(112 << 23)));
  const small = v.float('mul', v.float('convert_i32x4_u', size), v.f(2 ** -24));
  const infinite = v.int('add', normal, v.i(112 << 23));
  const finite = v.select(v.int('lt_u', size, v.i(0x400)), small, normal);
  const bounded = v.select(v.int('ge_u', size, v.i(0x7c00)), infinite, finite);
  return v.bits('or', bounded, v.shift('shl', v.bits('and', given, v.i(0x8000)), 16));
}

/** The nearest numbers of 11 binary digits, ties away from 0. */
export function roundTf32(writer: FunctionWriter, value: Code): Code {
  const v = vector(writer);
  const x = v.keep(value);
  const nan = v.int('gt_u', v.bits('and', x, v.i(0x7fffffff)), v.i(0x7f800000));
  return v.select(nan, x, v.bits('and', v.int('add', x, v.i(0x1000)), v.i(0xffffe000 | 0)));
}

/** A function of vectors on what may be a scalar. */
export const onVector = (
  writer: FunctionWriter,
  lanes: number,
  values: readonly Code[],
  kind: { readonly splat: string; readonly extract: string },
  act: (vectors: readonly Code[]) => Code,
): Code =>
  lanes === 4
    ? act(values)
    : lane(kind.extract, 0, act(values.map((value) => writer.define('v128', plain(kind.splat, value)))));

export const floats = { splat: 'f32x4.splat', extract: 'f32x4.extract_lane' } as const;
export const words = { splat: 'i32x4.splat', extract: 'i32x4.extract_lane' } as const;

/** The result of arithmetic, as the dtype holds it. */
export function roundTo(writer: FunctionWriter, dtype: TileDtype, lanes: number, value: Code): Code {
  const int = (op: string, a: Code, b: Code): Code => plain(`i32${lanes === 4 ? 'x4' : ''}.${op}`, a, b);
  switch (dtype) {
    case 'f16':
    case 'bf16':
      return onVector(writer, lanes, [value], floats, ([vectors]) =>
        fromHalfBits(writer, dtype, halfBits(writer, dtype, vectors)),
      );
    case 'u8':
      return plain(lanes === 4 ? 'v128.and' : 'i32.and', value, literal('i32', lanes, 255));
    case 'i8':
      return int('shr_s', int('shl', value, i32(24)), i32(24));
    default:
      return value;
  }
}

export function emitCast(writer: FunctionWriter, from: TileDtype, to: TileDtype, lanes: number, value: Code): Code {
  if (from === to) return value;
  const many = lanes === 4;
  const nothing = literal(from, lanes, 0);
  if (to === 'bool') return plain(`${isFloat(from) ? 'f32' : 'i32'}${many ? 'x4' : ''}.ne`, value, nothing);
  // A vector of bools has all bits set; as numbers they are 1.
  const given = from === 'bool' && many ? plain('v128.and', value, literal('i32', 4, 1)) : value;
  if (isFloat(from) && isFloat(to)) return roundTo(writer, to, lanes, given);
  const sign = isUnsigned(from) ? 'u' : 's';
  if (isFloat(to))
    return roundTo(writer, to, lanes, plain(many ? `f32x4.convert_i32x4_${sign}` : `f32.convert_i32_${sign}`, given));
  if (!isFloat(from)) return from === 'bool' ? given : roundTo(writer, to, lanes, given);
  const towards = to === 'u32' ? 'u' : 's';
  const whole = plain(many ? `i32x4.trunc_sat_f32x4_${towards}` : `i32.trunc_sat_f32_${towards}`, given);
  if (to !== 'u8' && to !== 'i8') return whole;
  const [low, high] = to === 'u8' ? [0, 255] : [-128, 127];
  const held = (of: Code, bound: number, keeps: 'lt_s' | 'gt_s', extreme: string): Code => {
    if (many) return plain(`i32x4.${extreme}_s`, of, literal('i32', 4, bound));
    const kept = writer.define('i32', of);
    return plain('select', kept, i32(bound), plain(`i32.${keeps}`, kept, i32(bound)));
  };
  return held(held(whole, high, 'lt_s', 'min'), low, 'gt_s', 'max');
}
