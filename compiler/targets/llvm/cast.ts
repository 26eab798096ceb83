/**
 * Conversions between dtypes, and rounding to the two half precisions. Float to integer truncates, saturates and takes
 * NaN to 0; anything to bool asks whether it is not zero.
 */
import type { TileDtype } from '../../tile/build.ts';
import { f16Bits, fromF16Bits } from './halves.ts';
import type { FunctionWriter } from './writer.ts';
import { literal, llvmType, vectorOf } from './writer.ts';

const isFloat = (dtype: TileDtype): boolean =>
  dtype === 'f32' || dtype === 'f16' || dtype === 'bf16' || dtype === 'f64';
const isUnsigned = (dtype: TileDtype): boolean => dtype === 'u32' || dtype === 'u8' || dtype === 'bool';
const integerBits: Partial<Record<TileDtype, number>> = { bool: 1, i8: 8, u8: 8, i32: 32, u32: 32, index: 64 };

/** The bits a half-precision value has in memory, as i16, from the float that holds it. */
export function halfBits(writer: FunctionWriter, dtype: 'f16' | 'bf16', lanes: number, value: string): string {
  const float = vectorOf('float', lanes);
  const short = vectorOf('i16', lanes);
  if (dtype === 'f16') {
    if (!writer.module.convertsHalves) return f16Bits(writer, lanes, value);
    const half = vectorOf('half', lanes);
    return writer.define(`bitcast ${half} ${writer.define(`fptrunc ${float} ${value} to ${half}`)} to ${short}`);
  }
  // Round to nearest, ties to even, on the upper 16 bits; a NaN keeps its sign and becomes quiet.
  const word = vectorOf('i32', lanes);
  const raw = writer.define(`bitcast ${float} ${value} to ${word}`);
  const upper = writer.define(`lshr ${word} ${raw}, ${literal('i32', lanes, 16)}`);
  const odd = writer.define(`and ${word} ${upper}, ${literal('i32', lanes, 1)}`);
  const bias = writer.define(`add ${word} ${odd}, ${literal('i32', lanes, 0x7fff)}`);
  const rounded = writer.define(
    `lshr ${word} ${writer.define(`add ${word} ${raw}, ${bias}`)}, ${literal('i32', lanes, 16)}`,
  );
  const quiet = writer.define(`or ${word} ${upper}, ${literal('i32', lanes, 0x40)}`);
  const unordered = writer.define(`fcmp uno ${float} ${value}, ${value}`);
  const chosen = writer.define(`select ${vectorOf('i1', lanes)} ${unordered}, ${word} ${quiet}, ${word} ${rounded}`);
  return writer.define(`trunc ${word} ${chosen} to ${short}`);
}

/** The float a half-precision value in memory stands for. */
export function fromHalfBits(writer: FunctionWriter, dtype: 'f16' | 'bf16', lanes: number, value: string): string {
  const float = vectorOf('float', lanes);
  const short = vectorOf('i16', lanes);
  if (dtype === 'f16') {
    if (!writer.module.convertsHalves) return fromF16Bits(writer, lanes, value);
    const half = vectorOf('half', lanes);
    return writer.define(`fpext ${half} ${writer.define(`bitcast ${short} ${value} to ${half}`)} to ${float}`);
  }
  const word = vectorOf('i32', lanes);
  const wide = writer.define(`zext ${short} ${value} to ${word}`);
  return writer.define(
    `bitcast ${word} ${writer.define(`shl ${word} ${wide}, ${literal('i32', lanes, 16)}`)} to ${float}`,
  );
}

/** The nearest float of 11 binary digits, ties away from 0. */
export function roundTf32(writer: FunctionWriter, lanes: number, value: string): string {
  const [float, word] = [vectorOf('float', lanes), vectorOf('i32', lanes)];
  const raw = writer.define(`bitcast ${float} ${value} to ${word}`);
  const above = writer.define(`add ${word} ${raw}, ${literal('i32', lanes, 0x1000)}`);
  const kept = writer.define(`and ${word} ${above}, ${literal('i32', lanes, 0xffffe000 | 0)}`);
  const unordered = writer.define(`fcmp uno ${float} ${value}, ${value}`);
  const rounded = writer.define(`bitcast ${word} ${kept} to ${float}`);
  return writer.define(`select ${vectorOf('i1', lanes)} ${unordered}, ${float} ${value}, ${float} ${rounded}`);
}

/** A float value rounded to what the dtype can hold; other dtypes as they are. */
export function roundTo(writer: FunctionWriter, dtype: TileDtype, lanes: number, value: string): string {
  if (dtype !== 'f16' && dtype !== 'bf16') return value;
  return fromHalfBits(writer, dtype, lanes, halfBits(writer, dtype, lanes, value));
}

export function emitCast(writer: FunctionWriter, from: TileDtype, to: TileDtype, lanes: number, value: string): string {
  if (from === to) return value;
  const source = llvmType(from, lanes);
  const target = llvmType(to, lanes);
  const convert = (instruction: string): string => writer.define(`${instruction} ${source} ${value} to ${target}`);
  if (to === 'bool') {
    return isFloat(from)
      ? writer.define(`fcmp une ${source} ${value}, ${literal(llvmType(from, 1), lanes, 0)}`)
      : writer.define(`icmp ne ${source} ${value}, ${literal(llvmType(from, 1), lanes, 0)}`);
  }
  if (isFloat(from) && isFloat(to)) {
    if (source === target) return roundTo(writer, to, lanes, value);
    return to === 'f64' ? convert('fpext') : roundTo(writer, to, lanes, convert('fptrunc'));
  }
  if (isFloat(to)) return roundTo(writer, to, lanes, convert(isUnsigned(from) ? 'uitofp' : 'sitofp'));
  if (isFloat(from)) return floatToInteger(writer, from, to, lanes, value);
  const fromBits = integerBits[from] ?? 64;
  const toBits = integerBits[to] ?? 64;
  if (fromBits === toBits) return value;
  return convert(fromBits > toBits ? 'trunc' : isUnsigned(from) ? 'zext' : 'sext');
}

function floatToInteger(writer: FunctionWriter, from: TileDtype, to: TileDtype, lanes: number, value: string): string {
  const element = llvmType(from, 1);
  const source = vectorOf(element, lanes);
  const target = llvmType(to, lanes);
  const mask = vectorOf('i1', lanes);
  const size = integerBits[to] ?? 64;
  const unsigned = isUnsigned(to);
  const low = unsigned ? 0 : -(2 ** (size - 1));
  const top = unsigned ? 2 ** size : 2 ** (size - 1);
  const largest = unsigned ? 2n ** BigInt(size) - 1n : 2n ** BigInt(size - 1) - 1n;
  // The conversion itself is undefined outside the range: give it 0 there and choose the bound afterwards.
  const above = writer.define(`fcmp oge ${source} ${value}, ${literal(element, lanes, top)}`);
  const inside = writer.define(
    `and ${mask} ${writer.define(`fcmp olt ${source} ${value}, ${literal(element, lanes, top)}`)}, ${writer.define(`fcmp oge ${source} ${value}, ${literal(element, lanes, low)}`)}`,
  );
  const below = writer.define(`fcmp olt ${source} ${value}, ${literal(element, lanes, low)}`);
  const safe = writer.define(`select ${mask} ${inside}, ${source} ${value}, ${source} ${literal(element, lanes, 0)}`);
  const converted = writer.define(`${unsigned ? 'fptoui' : 'fptosi'} ${source} ${safe} to ${target}`);
  const integer = llvmType(to, 1);
  const bound = (limit: bigint): string =>
    lanes === 1 ? `${limit}` : `<${new Array<string>(lanes).fill(`${integer} ${limit}`).join(', ')}>`;
  const capped = writer.define(`select ${mask} ${above}, ${target} ${bound(largest)}, ${target} ${converted}`);
  if (unsigned) return capped;
  return writer.define(`select ${mask} ${below}, ${target} ${bound(-(2n ** BigInt(size - 1)))}, ${target} ${capped}`);
}
