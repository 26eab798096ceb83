/** Arithmetic on vectors of one width, written as expressions: what the math functions are spelled in. */
import type { FunctionWriter } from './writer.ts';
import { literal, mangled, vectorOf } from './writer.ts';

type Element = 'float' | 'double' | 'i32' | 'i64';

export interface Vector {
  /** A constant. */
  f(value: number): string;
  add(a: string, b: string): string;
  sub(a: string, b: string): string;
  mul(a: string, b: string): string;
  div(a: string, b: string): string;
  fma(a: string, b: string, c: string): string;
  neg(a: string): string;
  abs(a: string): string;
  /** To the nearest whole number, ties to even. */
  whole(a: string): string;
  /** To the whole number toward 0. */
  truncate(a: string): string;
  copysign(size: string, sign: string): string;
  /** fcmp with its condition code; gives a mask. */
  is(condition: string, a: string, b: string): string;
  select(mask: string, a: string, b: string): string;
  /** a₀ + a₁x + a₂x² + … by Horner's rule. */
  polynomial(x: string, coefficients: readonly number[]): string;
  /** An integer instruction on the bits' type: add, sub, and, or, xor, shl, lshr, ashr. */
  int(instruction: string, a: string, b: string | number): string;
  bits(a: string): string;
  fromBits(a: string): string;
  /** icmp ne 0 on the bits' type. */
  nonzero(a: string): string;
}

export function vector(writer: FunctionWriter, element: 'float' | 'double', lanes: number): Vector {
  const type = vectorOf(element, lanes);
  const integer: Element = element === 'float' ? 'i32' : 'i64';
  const integers = vectorOf(integer, lanes);
  const suffix = mangled(element, lanes);
  const define = (text: string): string => writer.define(text);
  const intrinsic = (name: string, ...values: string[]): string =>
    writer.intrinsic(
      `llvm.${name}.${suffix}`,
      type,
      values.map(() => type),
      values,
    );
  const constant = (value: number): string => literal(element, lanes, value);
  const fma = (a: string, b: string, c: string): string => intrinsic('fma', a, b, c);
  return {
    f: constant,
    add: (a, b) => define(`fadd ${type} ${a}, ${b}`),
    sub: (a, b) => define(`fsub ${type} ${a}, ${b}`),
    mul: (a, b) => define(`fmul ${type} ${a}, ${b}`),
    div: (a, b) => define(`fdiv ${type} ${a}, ${b}`),
    fma,
    neg: (a) => define(`fneg ${type} ${a}`),
    abs: (a) => intrinsic('fabs', a),
    whole: (a) => intrinsic('nearbyint', a),
    truncate: (a) => intrinsic('trunc', a),
    copysign: (size, sign) => intrinsic('copysign', size, sign),
    is: (condition, a, b) => define(`fcmp ${condition} ${type} ${a}, ${b}`),
    select: (mask, a, b) => define(`select ${vectorOf('i1', lanes)} ${mask}, ${type} ${a}, ${type} ${b}`),
    polynomial(x, coefficients) {
      const [last = 0, ...rest] = [...coefficients].reverse();
      return rest.reduce((sum, coefficient) => fma(sum, x, constant(coefficient)), constant(last));
    },
    int: (instruction, a, b) =>
      define(`${instruction} ${integers} ${a}, ${typeof b === 'number' ? literal(integer, lanes, b) : b}`),
    bits: (a) => define(`bitcast ${type} ${a} to ${integers}`),
    fromBits: (a) => define(`bitcast ${integers} ${a} to ${type}`),
    nonzero: (a) => define(`icmp ne ${integers} ${a}, ${literal(integer, lanes, 0)}`),
  };
}

/** Between the two float widths. */
export const widen = (writer: FunctionWriter, lanes: number, a: string): string =>
  writer.define(`fpext ${vectorOf('float', lanes)} ${a} to ${vectorOf('double', lanes)}`);
export const narrow = (writer: FunctionWriter, lanes: number, a: string): string =>
  writer.define(`fptrunc ${vectorOf('double', lanes)} ${a} to ${vectorOf('float', lanes)}`);

/** Is a mask set anywhere? */
export const anyLane = (writer: FunctionWriter, lanes: number, mask: string): string =>
  lanes === 1
    ? mask
    : writer.intrinsic(`llvm.vector.reduce.or.${mangled('i1', lanes)}`, 'i1', [vectorOf('i1', lanes)], [mask]);
