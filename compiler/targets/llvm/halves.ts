/**
 * f16 by integer arithmetic, for processors without conversion instructions. Bit for bit what the instructions give: to
 * nearest, ties to even; overflow to infinity; subnormal numbers kept; a NaN keeps its sign and the top of its payload and
 * becomes quiet.
 */
import type { FunctionWriter } from './writer.ts';
import { literal, vectorOf } from './writer.ts';

interface Words {
  readonly type: string;
  readonly mask: string;
  number(value: number): string;
  int(instruction: string, a: string, b: string | number): string;
  is(condition: string, a: string, b: number): string;
  select(mask: string, a: string, b: string): string;
}

function words(writer: FunctionWriter, lanes: number): Words {
  const type = vectorOf('i32', lanes);
  const mask = vectorOf('i1', lanes);
  const number = (value: number): string => literal('i32', lanes, value);
  return {
    type,
    mask,
    number,
    int: (instruction, a, b) => writer.define(`${instruction} ${type} ${a}, ${typeof b === 'number' ? number(b) : b}`),
    is: (condition, a, b) => writer.define(`icmp ${condition} ${type} ${a}, ${number(b)}`),
    select: (chosen, a, b) => writer.define(`select ${mask} ${chosen}, ${type} ${a}, ${type} ${b}`),
  };
}

/** The bits of the f16 nearest to a float, as i16. */
export function f16Bits(writer: FunctionWriter, lanes: number, value: string): string {
  const w = words(writer, lanes);
  const float = vectorOf('float', lanes);
  const raw = writer.define(`bitcast ${float} ${value} to ${w.type}`);
  const size = w.int('and', raw, 0x7fffffff);
  // Exponent from a bias of 127 to one of 15, 13 digits rounded off; what passes 65,504 carries into infinity.
  const odd = w.int('and', w.int('lshr', size, 13), 1);
  const normal = w.int('lshr', w.int('add', w.int('add', size, odd), 0xfff - (112 << 23)), 13);
  // Below 2⁻¹⁴: added to ½, whose last digit is worth 2⁻²⁴, the addition itself rounds.
  const asFloat = writer.define(`bitcast ${w.type} ${size} to ${float}`);
  const shifted = writer.define(`fadd ${float} ${asFloat}, ${literal('float', lanes, 0.5)}`);
  const small = w.int('sub', writer.define(`bitcast ${float} ${shifted} to ${w.type}`), 0x3f000000);
  const nan = w.int('or', w.int('and', w.int('lshr', size, 13), 0x3ff), 0x7e00);
  const finite = w.select(w.is('ult', size, 0x38800000), small, normal);
  const bounded = w.select(w.is('uge', size, 0x47800000), w.number(0x7c00), finite);
  const chosen = w.select(w.is('ugt', size, 0x7f800000), nan, bounded);
  const sign = w.int('and', w.int('lshr', raw, 16), 0x8000);
  return writer.define(`trunc ${w.type} ${w.int('or', chosen, sign)} to ${vectorOf('i16', lanes)}`);
}

/** The float that the bits of an f16 stand for. */
export function fromF16Bits(writer: FunctionWriter, lanes: number, value: string): string {
  const w = words(writer, lanes);
  const float = vectorOf('float', lanes);
  const wide = writer.define(`zext ${vectorOf('i16', lanes)} ${value} to ${w.type}`);
  const size = w.int('and', wide, 0x7fff);
  const normal = w.int('add', w.int('shl', size, 13), 112 << 23);
  const count = writer.define(`uitofp ${w.type} ${size} to ${float}`);
  const scaled = writer.define(`fmul ${float} ${count}, ${literal('float', lanes, 2 ** -24)}`);
  const small = writer.define(`bitcast ${float} ${scaled} to ${w.type}`);
  const infinite = w.int('add', normal, 112 << 23);
  const nan = w.int('or', infinite, 0x400000);
  const finite = w.select(w.is('ult', size, 0x400), small, normal);
  const bounded = w.select(w.is('uge', size, 0x7c00), infinite, finite);
  const chosen = w.select(w.is('ugt', size, 0x7c00), nan, bounded);
  const sign = w.int('shl', w.int('and', wide, 0x8000), 16);
  return writer.define(`bitcast ${w.type} ${w.int('or', chosen, sign)} to ${float}`);
}
