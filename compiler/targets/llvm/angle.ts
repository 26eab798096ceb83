/**
 * x - quadrant·π/2 for any float x, between -π/4 and π/4, exact to single precision. Done in double; a large x is
 * m·2^e with a table of 2^e modulo 2π, so that the whole range is covered without a slow path.
 */
import { anyLane, vector, narrow, widen } from './vector.ts';
import type { FunctionWriter } from './writer.ts';
import { literal, mangled, vectorOf } from './writer.ts';

/** The first 256 fraction bits of π. */
const fractionOfPi = 0x243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89n;
const fractionBits = 256n;
const twoPi = ((3n << fractionBits) + fractionOfPi) * 2n;

/** Beyond 2^30 the table is used; a float's last place is then 2^(30 - 23) at least. */
const firstExponent = 7;
const lastExponent = 104;

/** 2^e modulo 2π, between -π and π: a part of at most 28 bits, so that 24 bits times it is exact, and the rest. */
function tables(): { readonly high: readonly number[]; readonly low: readonly number[] } {
  const high: number[] = [];
  const low: number[] = [];
  for (let e = firstExponent; e <= lastExponent; e++) {
    let rest = (1n << (fractionBits + BigInt(e))) % twoPi;
    if (rest * 2n > twoPi) rest -= twoPi;
    const upper = (rest >> (fractionBits - 26n)) << (fractionBits - 26n);
    high.push(toNumber(upper));
    low.push(toNumber(rest - upper));
  }
  return { high, low };
}

/** A fixed-point number as a double: the leading 63 bits are more than it holds. */
function toNumber(fixed: bigint): number {
  const size = fixed < 0n ? -fixed : fixed;
  const spare = BigInt(Math.max(0, size.toString(2).length - 63));
  const value = Number(size >> spare) * 2 ** Number(spare - fractionBits);
  return fixed < 0n ? -value : value;
}

function table(writer: FunctionWriter, name: string, values: readonly number[]): string {
  writer.module.helper(
    name,
    () =>
      `@${name} = private unnamed_addr constant [${values.length} x double] [${values.map((value) => `double ${literal('double', 1, value)}`).join(', ')}]`,
  );
  return `@${name}`;
}

export function reduceAngle(writer: FunctionWriter, lanes: number, x: string): { rest: string; quadrant: string } {
  const v = vector(writer, 'float', lanes);
  const d = vector(writer, 'double', lanes);
  const wide = widen(writer, lanes, x);
  const zero = d.f(0);
  const huge = v.is('oge', v.abs(x), v.f(2 ** 30));
  const any = anyLane(writer, lanes, huge);
  const [before, far, on] = [writer.current(), writer.label('far'), writer.label('on')];
  writer.line(`br i1 ${any}, label %${far}, label %${on}`);
  writer.begin(far);
  const large = largeAngle(writer, lanes, x, wide, huge);
  writer.line(`br label %${on}`);
  writer.begin(on);
  const doubles = vectorOf('double', lanes);
  const head = writer.define(`phi ${doubles} [ ${wide}, %${before} ], [ ${large.head}, %${far} ]`);
  const tail = writer.define(`phi ${doubles} [ ${zero}, %${before} ], [ ${large.tail}, %${far} ]`);
  const shifter = d.f(1.5 * 2 ** 52);
  const shifted = d.fma(d.add(head, tail), d.f(2 / Math.PI), shifter);
  const n = d.sub(shifted, shifter);
  const rest = d.fma(n, d.f(-6.123233995736766e-17), d.fma(n, d.f(-Math.PI / 2), head));
  const quadrant = writer.define(`trunc ${vectorOf('i64', lanes)} ${d.bits(shifted)} to ${vectorOf('i32', lanes)}`);
  return { rest: narrow(writer, lanes, d.add(rest, tail)), quadrant };
}

/** The lanes that are huge as head + tail of moderate size; the others as they are. */
function largeAngle(
  writer: FunctionWriter,
  lanes: number,
  x: string,
  wide: string,
  huge: string,
): { head: string; tail: string } {
  const v = vector(writer, 'float', lanes);
  const d = vector(writer, 'double', lanes);
  const { high, low } = tables();
  const bits = v.bits(x);
  const biased = v.int('and', v.int('lshr', bits, 23), 255);
  const integers = vectorOf('i32', lanes);
  const mask = vectorOf('i1', lanes);
  // Infinity and NaN have the exponent 255, whose entry there is not: they take the last and turn out NaN below.
  const last = lastExponent - firstExponent;
  const raw = v.int('sub', biased, 150 + firstExponent);
  const above = writer.define(`icmp sgt ${integers} ${raw}, ${literal('i32', lanes, last)}`);
  const capped = writer.define(
    `select ${mask} ${above}, ${integers} ${literal('i32', lanes, last)}, ${integers} ${raw}`,
  );
  const place = writer.define(`select ${mask} ${huge}, ${integers} ${capped}, ${integers} ${literal('i32', lanes, 0)}`);
  const offset = writer.define(`sext ${integers} ${place} to ${vectorOf('i64', lanes)}`);
  const lookUp = (name: string): string => {
    const pointers = writer.define(`getelementptr inbounds double, ptr ${name}, ${vectorOf('i64', lanes)} ${offset}`);
    if (lanes === 1) return writer.define(`load double, ptr ${pointers}, align 8`);
    const type = vectorOf('double', lanes);
    return writer.intrinsic(
      `llvm.masked.gather.${mangled('double', lanes)}.${mangled('ptr', lanes)}`,
      type,
      [`<${lanes} x ptr>`, 'i32 immarg', mask, type],
      [pointers, '8', literal('i1', lanes, 1), 'zeroinitializer'],
    );
  };
  // The significand as a whole number with the sign of x.
  const significand = v.int('or', v.int('and', bits, 0x7fffff), 0x800000);
  const m = d.copysign(writer.define(`sitofp ${integers} ${significand} to ${vectorOf('double', lanes)}`), wide);
  const part = (values: readonly number[], name: string): string => d.mul(m, lookUp(table(writer, name, values)));
  const infinite = d.is('ueq', d.abs(wide), d.f(Infinity));
  const head = d.select(infinite, d.f(NaN), part(high, 'nacre.angle.high'));
  const tail = part(low, 'nacre.angle.low');
  return { head: d.select(huge, head, wide), tail: d.select(huge, tail, d.f(0)) };
}
