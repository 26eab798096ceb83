/**
 * Transcendental functions in single precision as helper functions of the module, one per lane count, inlined where they
 * are called; no library is called. NaN, infinities, signed zeros and subnormals come out as in IEEE 754 and Math.*.
 *
 * Coefficients are minimax fits (Remez) made for this file. Largest error over the test's stratified inputs, against
 * double precision, in units of the last place:
 *
 *   exp 1.1   log 0.8   sin 1.5   cos 1.6   tanh 1.3   erf 1.1   pow 0.6
 */
import { philox } from './philox.ts';
import { reduceAngle } from './angle.ts';
import { narrow, vector, widen } from './vector.ts';
import type { FunctionWriter } from './writer.ts';
import { functionWriter, vectorOf } from './writer.ts';

export type MathFunction = 'exp' | 'log' | 'sin' | 'cos' | 'tanh' | 'erf' | 'pow' | 'philox';

type Body = (writer: FunctionWriter, lanes: number, values: readonly string[]) => string;

/** Calls a helper function, writing it first where this module has not used it yet. */
export function callMath(writer: FunctionWriter, name: MathFunction, lanes: number, values: readonly string[]): string {
  const type = vectorOf(name === 'philox' ? 'i32' : 'float', lanes);
  const helper = `nacre.${name}.${lanes}`;
  writer.module.helper(helper, () => {
    const inner = functionWriter(writer.module);
    const names = values.map((_, place) => `%a${place}`);
    const result = bodies[name](inner, lanes, names);
    return [
      `define internal ${type} @${helper}(${names.map((parameter) => `${type} ${parameter}`).join(', ')}) alwaysinline nounwind {`,
      inner.body(),
      `  ret ${type} ${result}`,
      '}',
    ].join('\n');
  });
  return writer.define(`call ${type} @${helper}(${values.map((value) => `${type} ${value}`).join(', ')})`);
}

/** Adding it leaves the nearest whole number in the low bits of a float, and taking it away again that number. */
const shifter = 1.5 * 2 ** 23;
const shifterBits = 0x4b400000;

/** e^x for any x: x = n·ln 2 + r, e^r by a polynomial, 2^n in two factors so that the ends of the range come out right. */
function exponential(writer: FunctionWriter, lanes: number, x: string): string {
  const v = vector(writer, 'float', lanes);
  const low = v.select(v.is('olt', x, v.f(-104)), v.f(-104), x);
  const held = v.select(v.is('ogt', low, v.f(89)), v.f(89), low);
  const shifted = v.fma(held, v.f(Math.LOG2E), v.f(shifter));
  const n = v.sub(shifted, v.f(shifter));
  const r = v.fma(n, v.f(1.9046542121259336e-9), v.fma(n, v.f(-0.6931471824645996), held));
  const tail = v.polynomial(
    r,
    [0.5, 0.16666576266288757, 0.04166637361049652, 0.00836323481053114, 0.0013941217912361026],
  );
  const power = v.add(v.fma(tail, v.mul(r, r), r), v.f(1));
  const count = v.int('sub', v.bits(shifted), shifterBits);
  const half = v.int('ashr', count, 1);
  const scale = (exponent: string): string => v.fromBits(v.int('shl', v.int('add', exponent, 127), 23));
  return v.mul(v.mul(power, scale(half)), scale(v.int('sub', count, half)));
}

/** x = 2^e·m with m between √½ and √2; log m = f - f²/2 + f³·Q(f) for f = m - 1. */
function logarithm(writer: FunctionWriter, lanes: number, x: string): string {
  const v = vector(writer, 'float', lanes);
  const subnormal = v.is('olt', x, v.f(2 ** -126));
  const normal = v.select(subnormal, v.mul(x, v.f(2 ** 23)), x);
  // Counting from the bits of √½ puts m into its range.
  const offset = v.int('sub', v.bits(normal), 0x3f3504f3);
  const m = v.fromBits(v.int('add', v.int('and', offset, 0x007fffff), 0x3f3504f3));
  const counted = writer.define(
    `sitofp ${vectorOf('i32', lanes)} ${v.int('ashr', offset, 23)} to ${vectorOf('float', lanes)}`,
  );
  const e = v.select(subnormal, v.sub(counted, v.f(23)), counted);
  const f = v.sub(m, v.f(1));
  const square = v.mul(f, f);
  const tail = v.polynomial(
    f,
    [
      0.3333333134651184, -0.2500081956386566, 0.20001226663589478, -0.16623356938362122, 0.14201758801937103,
      -0.13160182535648346, 0.12761574983596802, -0.07634493708610535,
    ],
  );
  const small = v.fma(e, v.f(-2.1219444e-4), v.mul(v.mul(tail, f), square));
  const sum = v.add(f, v.fma(square, v.f(-0.5), small));
  const finite = v.fma(e, v.f(0.693359375), sum);
  const zero = v.select(v.is('oeq', x, v.f(0)), v.f(-Infinity), finite);
  const negative = v.select(v.is('olt', x, v.f(0)), v.f(NaN), zero);
  return v.select(v.is('ueq', x, v.f(Infinity)), x, negative);
}

/** Small: x + x³·T(x²). Large: 1 - 2 / (e^2|x| + 1). */
function hyperbolicTangent(writer: FunctionWriter, lanes: number, x: string): string {
  const v = vector(writer, 'float', lanes);
  const size = v.abs(x);
  const square = v.mul(size, size);
  const tail = v.polynomial(
    square,
    [-0.3333328366279602, 0.13331490755081177, -0.05374349653720856, 0.02065058797597885, -0.005717045161873102],
  );
  const small = v.fma(v.mul(tail, square), size, size);
  const grown = v.add(exponential(writer, lanes, v.add(size, size)), v.f(1));
  const large = v.sub(v.f(1), v.div(v.f(2), grown));
  return v.copysign(v.select(v.is('olt', size, v.f(0.625)), small, large), x);
}

/** Small: x + x·E(x²). Large: 1 - e^G(|x|), where G is the logarithm of the complement; beyond 4 it is 1. */
function errorFunction(writer: FunctionWriter, lanes: number, x: string): string {
  const v = vector(writer, 'float', lanes);
  const size = v.abs(x);
  const square = v.mul(x, x);
  const tail = v.polynomial(
    square,
    [
      0.12837916612625122, -0.37612634897232056, 0.11283719539642334, -0.026860753074288368, 0.005204435903578997,
      -0.0008181927842088044, 0.00008538841939298436,
    ],
  );
  const small = v.fma(tail, x, x);
  const held = v.select(v.is('ogt', size, v.f(4)), v.f(4), size);
  const complement = v.polynomial(
    held,
    [
      -0.00017749672406353056, -1.1277495622634888, -0.63705974817276, -0.104037344455719, 0.02227707952260971,
      -0.003055605571717024, 0.0001971815072465688,
    ],
  );
  const large = v.copysign(v.sub(v.f(1), exponential(writer, lanes, complement)), x);
  return v.select(v.is('olt', size, v.f(0.9)), small, large);
}

/** The sine of x + quarter·π/2: by the quadrant, ± the sine or the cosine of what is left between -π/4 and π/4. */
function sine(quarter: 0 | 1): Body {
  return (writer, lanes, [x = '']) => {
    const v = vector(writer, 'float', lanes);
    const { rest, quadrant } = reduceAngle(writer, lanes, x);
    const square = v.mul(rest, rest);
    const sineTail = v.polynomial(square, [-0.166666641831398, 0.008332747966051102, -0.00019587756833061576]);
    const sin = v.fma(v.mul(sineTail, square), rest, rest);
    const cosineTail = v.polynomial(square, [0.0416666641831398, -0.001388830249197781, 0.000024547787688788958]);
    const cos = v.fma(v.mul(cosineTail, square), square, v.fma(square, v.f(-0.5), v.f(1)));
    const turned = quarter === 0 ? quadrant : v.int('add', quadrant, 1);
    const odd = v.nonzero(v.int('and', turned, 1));
    const sign = v.int('shl', v.int('and', turned, 2), 30);
    const result = v.fromBits(v.int('xor', v.bits(v.select(odd, cos, sin)), sign));
    // A tiny x is its own sine, also -0.
    return quarter === 1 ? result : v.select(v.is('olt', v.abs(x), v.f(2 ** -12)), x, result);
  };
}

/** x^y = 2^(y·log₂ x) in double precision; the sign and the special cases are those of Math.pow. */
const power: Body = (writer, lanes, [x = '', y = '']) => {
  const v = vector(writer, 'float', lanes);
  const d = vector(writer, 'double', lanes);
  const mask = vectorOf('i1', lanes);
  const size = v.abs(x);
  const wide = widen(writer, lanes, size);
  const exponent = widen(writer, lanes, y);
  const half = 0x3fe6a09e00000000; // The upper bits of √½: the range of m need not be exact.
  const halfBits = literalBits(lanes, half);
  const offset = d.int('sub', d.bits(wide), halfBits);
  const m = d.fromBits(d.int('add', d.int('and', offset, literalBits(lanes, 2 ** 52, -1n)), halfBits));
  const e = writer.define(
    `sitofp ${vectorOf('i64', lanes)} ${d.int('ashr', offset, 52)} to ${vectorOf('double', lanes)}`,
  );
  const s = d.div(d.sub(m, d.f(1)), d.add(m, d.f(1)));
  const series = d.polynomial(
    d.mul(s, s),
    [
      2.8853900817778504, 0.9617966941127059, 0.5770779424976084, 0.41220924514271967, 0.31990576686050654,
      0.28290201102102963,
    ],
  );
  const finite = d.fma(series, s, e);
  const zero = d.select(d.is('oeq', wide, d.f(0)), d.f(-Infinity), finite);
  const log = d.select(d.is('ueq', wide, d.f(Infinity)), wide, zero);
  const product = d.mul(log, exponent);
  const low = d.select(d.is('olt', product, d.f(-200)), d.f(-200), product);
  const held = d.select(d.is('ogt', low, d.f(200)), d.f(200), low);
  const shifted = d.add(held, d.f(1.5 * 2 ** 52));
  const rest = d.sub(held, d.sub(shifted, d.f(1.5 * 2 ** 52)));
  const root = d.polynomial(
    rest,
    [
      1.0000000000000273, 0.6931471805459333, 0.24022650695463674, 0.055504109412075765, 0.009618129229355996,
      0.0013333450564108004, 0.00015403411094002225, 0.00001531008077174448, 0.0000013264170705810318,
    ],
  );
  // The low bits of the shifted number are n; moved into the exponent's place they scale by 2^n.
  const scaled = d.fromBits(d.int('add', d.bits(root), d.int('shl', d.bits(shifted), 52)));
  const bare = d.select(d.is('uno', product, product), product, scaled);
  const result = narrow(writer, lanes, bare);
  const integer = v.is('oeq', v.whole(y), y);
  const halved = v.mul(y, v.f(0.5));
  const odd = writer.define(`and ${mask} ${integer}, ${v.is('une', v.whole(halved), halved)}`);
  const signed = v.select(odd, v.copysign(result, x), result);
  const belowZero = writer.define(`and ${mask} ${v.is('olt', x, v.f(0))}, ${v.is('ogt', x, v.f(-Infinity))}`);
  const broken = writer.define(`and ${mask} ${v.is('une', v.whole(y), y)}, ${v.is('one', v.abs(y), v.f(Infinity))}`);
  const real = v.select(writer.define(`and ${mask} ${belowZero}, ${broken}`), v.f(NaN), signed);
  return v.select(v.is('oeq', y, v.f(0)), v.f(1), real);
};

/** A 64-bit constant in every lane, plus a small one: numbers beyond 2^53 do not fit a double. */
function literalBits(lanes: number, value: number, more = 0n): string {
  const text = String(BigInt(value) + more);
  return lanes === 1 ? text : `<${new Array<string>(lanes).fill(`i64 ${text}`).join(', ')}>`;
}

const bodies: Record<MathFunction, Body> = {
  exp: (writer, lanes, [x = '']) => exponential(writer, lanes, x),
  log: (writer, lanes, [x = '']) => logarithm(writer, lanes, x),
  sin: sine(0),
  cos: sine(1),
  tanh: (writer, lanes, [x = '']) => hyperbolicTangent(writer, lanes, x),
  erf: (writer, lanes, [x = '']) => errorFunction(writer, lanes, x),
  pow: power,
  philox,
};
