/**
 * Transcendental functions in single precision as functions of the module, on four lanes; a scalar is a vector whose first lane is
 * taken. What is rare (sines, powers, remainders) is done lane by lane in double precision. NaN, infinities and signed zeros come
 * out as in IEEE 754 and Math.*; coefficients are those of the LLVM target.
 *
 * Largest error over the inputs of test/targets/accuracy.test.ts, in units of the last place: exp 1, log 1, sin and cos 0.5 (to ±1000; beyond,
 * 1.2e-7), tanh 1.3, erf 1.2.
 */
import { call, type Code, f64, type FunctionCode, get, i32, i64, lane, plain, set } from './code.ts';
import { twoOverPi } from '../two-over-pi.ts';
import { vector } from './vector.ts';
import { type FunctionWriter, functionWriter } from './writer.ts';

export type MathFunction = 'exp' | 'log' | 'sin' | 'cos' | 'tanh' | 'erf' | 'pow' | 'rem' | 'philox';

/** A function of vectors, written into the module where it is not yet there. */
export function callMath(writer: FunctionWriter, name: MathFunction, values: readonly Code[]): Code {
  const operands = values.map((_, at) => `a${at}`);
  const helper = writer.module.helper(name, () => {
    const inner = functionWriter(writer.module);
    const result = bodies[name](inner, operands.map(get));
    return {
      name,
      parameters: operands.map((operand) => [operand, 'v128'] as const),
      result: 'v128',
      locals: inner.locals,
      body: [...inner.body, result],
    };
  });
  return call(helper, ...values);
}

type Body = (writer: FunctionWriter, values: readonly Code[]) => Code;

/** e^x: x = n·ln 2 + r, e^r by a polynomial, 2^n in two factors so that the ends of the range come out right. */
const exponential: Body = (writer, [x]) => {
  const v = vector(writer);
  const held = v.keep(v.float('min', v.float('max', x, v.f(-104)), v.f(89)));
  const n = v.keep(v.float('nearest', v.float('mul', held, v.f(Math.LOG2E))));
  const high = v.float('sub', held, v.float('mul', n, v.f(0.693145751953125)));
  const r = v.keep(v.float('sub', high, v.float('mul', n, v.f(1.428606765330187e-6))));
  const tail = v.polynomial(
    r,
    [0.5, 0.16666576266288757, 0.04166637361049652, 0.00836323481053114, 0.0013941217912361026],
  );
  const power = v.float('add', v.fma(tail, v.float('mul', r, r), r), v.f(1));
  const count = v.keep(v.int('trunc_sat_f32x4_s', n));
  const half = v.keep(v.shift('shr_s', count, 1));
  const scale = (exponent: Code): Code => v.shift('shl', v.int('add', exponent, v.i(127)), 23);
  return v.float('mul', v.float('mul', power, scale(half)), scale(v.int('sub', count, half)));
};

/** x = 2^e·m with m between √½ and √2; log m = f - f²/2 + f³·Q(f) for f = m - 1. A subnormal x is a whole number of 2⁻¹⁴⁹. */
const logarithm: Body = (writer, [x]) => {
  const v = vector(writer);
  const subnormal = v.keep(v.bits('and', v.int('gt_s', x, v.i(0)), v.int('lt_s', x, v.i(0x00800000))));
  const offset = v.keep(v.int('sub', v.select(subnormal, v.float('convert_i32x4_s', x), x), v.i(0x3f3504f3)));
  const m = v.int('add', v.bits('and', offset, v.i(0x007fffff)), v.i(0x3f3504f3));
  const counted = v.float('convert_i32x4_s', v.shift('shr_s', offset, 23));
  const e = v.keep(v.float('sub', counted, v.bits('and', subnormal, v.f(149))));
  const f = v.keep(v.float('sub', m, v.f(1)));
  const square = v.keep(v.float('mul', f, f));
  const tail = v.polynomial(
    f,
    [
      0.3333333134651184, -0.2500081956386566, 0.20001226663589478, -0.16623356938362122, 0.14201758801937103,
      -0.13160182535648346, 0.12761574983596802, -0.07634493708610535,
    ],
  );
  const small = v.fma(e, v.f(-2.1219444e-4), v.float('mul', v.float('mul', tail, f), square));
  const sum = v.float('add', f, v.fma(square, v.f(-0.5), small));
  const finite = v.fma(e, v.f(0.693359375), sum);
  const zero = v.select(v.float('eq', x, v.f(0)), v.f(-Infinity), finite);
  const negative = v.select(v.float('lt', x, v.f(0)), v.f(NaN), zero);
  const ordinary = v.float('lt', v.float('abs', x), v.f(Infinity));
  return v.select(v.bits('or', ordinary, v.float('lt', x, v.f(0))), negative, x);
};

/** The size of the first with the sign of the second. */
const copySign = (writer: FunctionWriter, size: Code, sign: Code): Code => {
  const v = vector(writer);
  return v.select(v.i(0x7fffffff), size, sign);
};

/** Small: x + x³·T(x²). Large: 1 - 2 / (e^2|x| + 1). */
const hyperbolicTangent: Body = (writer, [x]) => {
  const v = vector(writer);
  const size = v.keep(v.float('abs', x));
  const square = v.keep(v.float('mul', size, size));
  const tail = v.polynomial(
    square,
    [-0.3333328366279602, 0.13331490755081177, -0.05374349653720856, 0.02065058797597885, -0.005717045161873102],
  );
  const small = v.fma(v.float('mul', tail, square), size, size);
  const grown = v.float('add', callMath(writer, 'exp', [v.float('add', size, size)]), v.f(1));
  const large = v.float('sub', v.f(1), v.float('div', v.f(2), grown));
  return copySign(writer, v.select(v.float('lt', size, v.f(0.625)), small, large), x);
};

/** Small: x + x·E(x²). Large: 1 - e^G(|x|), where G is the logarithm of the complement; beyond 4 it is 1. */
const errorFunction: Body = (writer, [x]) => {
  const v = vector(writer);
  const size = v.keep(v.float('abs', x));
  const square = v.keep(v.float('mul', x, x));
  const tail = v.polynomial(
    square,
    [
      0.12837916612625122, -0.37612634897232056, 0.11283719539642334, -0.026860753074288368, 0.005204435903578997,
      -0.0008181927842088044, 0.00008538841939298436,
    ],
  );
  const held = v.keep(v.float('min', size, v.f(4)));
  const complement = v.polynomial(
    held,
    [
      -0.00017749672406353056, -1.1277495622634888, -0.63705974817276, -0.104037344455719, 0.02227707952260971,
      -0.003055605571717024, 0.0001971815072465688,
    ],
  );
  const large = copySign(writer, v.float('sub', v.f(1), callMath(writer, 'exp', [complement])), x);
  return v.select(v.float('lt', size, v.f(0.9)), v.fma(tail, x, x), large);
};

const double = (op: string, ...operands: readonly Code[]): Code => plain(`f64.${op}`, ...operands);

const polynomial = (x: Code, coefficients: readonly number[]): Code =>
  coefficients
    .slice(0, -1)
    .reduceRight<Code>(
      (sum, coefficient) => double('add', double('mul', sum, x), f64(coefficient)),
      f64(coefficients[coefficients.length - 1]),
    );

/** A scalar function from f32 to f32, in double precision, on each lane. */
function lanewise(
  writer: FunctionWriter,
  name: string,
  values: readonly Code[],
  body: (inner: FunctionWriter, operands: readonly Code[]) => Code,
): Code {
  const operands = values.map((_, at) => `a${at}`);
  const helper = writer.module.helper(`${name}.lane`, (): FunctionCode => {
    const inner = functionWriter(writer.module);
    const result = body(
      inner,
      operands.map((operand) => inner.define('f64', plain('f64.promote_f32', get(operand)))),
    );
    return {
      name: `${name}.lane`,
      parameters: operands.map((operand) => [operand, 'f32'] as const),
      result: 'f32',
      locals: inner.locals,
      body: [...inner.body, plain('f32.demote_f64', result)],
    };
  });
  return [0, 1, 2, 3].reduce<Code>(
    (made, at) =>
      lane(
        'f32x4.replace_lane',
        at,
        made,
        call(helper, ...values.map((value) => lane('f32x4.extract_lane', at, value))),
      ),
    values[0],
  );
}

/**
 * x less the nearest multiple of π/2, and which modulo 4, for |x| from 2^20 on: x is m·2^e with a whole m of 24 bits, and x·2/π modulo 4
 * is m times the 96 bits of 2/π that begin at 2 with 2^e before them.
 */
function farAngle(inner: FunctionWriter, x: Code, n: string, rest: string): readonly Code[] {
  return inner.inside(() => {
    const word = (op: string, ...operands: readonly Code[]): Code => plain(`i64.${op}`, ...operands);
    const long = (code: Code): Code => inner.define('i64', code);
    const bits = long(word('extend_i32_u', plain('i32.reinterpret_f32', plain('f32.demote_f64', double('abs', x)))));
    const m = long(word('or', word('and', bits, i64(0x7fffffn)), i64(0x800000n)));
    const start = long(word('sub', word('shr_u', bits, i64(23n)), i64(120n)));
    const place = inner.define('i32', plain('i32.wrap_i64', word('shr_u', start, i64(5n))));
    const shift = long(word('and', start, i64(31n)));
    const words = [0, ...twoOverPi].map(BigInt);
    const pair = (first: number): Code => i64((words[first] << 32n) | words[first + 1]);
    const pairs = (first: number): Code =>
      [3, 2, 1, 0].reduce<Code>(
        (later, at) => plain('select', pair(first + at), later, plain('i32.eq', place, i32(at))),
        pair(first + 4),
      );
    const next = long(pairs(2));
    const above = word('shr_u', word('shr_u', next, i64(1n)), word('sub', i64(63n), shift));
    const upper = word('or', word('shl', pairs(0), shift), above);
    const lower = word('shr_u', word('shl', next, shift), i64(32n));
    // Two bits before the point.
    const turns = long(word('add', word('mul', m, upper), word('shr_u', word('mul', m, lower), i64(32n))));
    const fraction = long(word('shr_s', word('shl', turns, i64(2n)), i64(2n)));
    const count = plain('f64.convert_i64_s', word('shr_u', word('sub', turns, fraction), i64(62n)));
    const sign = inner.define('f64', double('copysign', f64(1), x));
    inner.push(set(n, double('mul', count, sign)));
    inner.push(
      set(rest, double('mul', double('mul', plain('f64.convert_i64_s', fraction), f64(Math.PI / 2 ** 63)), sign)),
    );
  });
}

/** The sine of x + quarter·π/2: x less the nearest multiple of π/2, then by the quadrant ± the sine or cosine of the rest. */
const sine =
  (name: string, quarter: 0 | 1): Body =>
  (writer, values) =>
    lanewise(writer, name, values, (inner, [x]) => {
      const keep = (code: Code): Code => inner.define('f64', code);
      const [count, left] = [inner.local('count', 'f64'), inner.local('left', 'f64')];
      const [n, rest] = [get(count), get(left)];
      inner.push(set(count, double('nearest', double('mul', x, f64(2 / Math.PI)))));
      const high = double('sub', x, double('mul', n, f64(1.5707963267341256)));
      inner.push(set(left, double('sub', high, double('mul', n, f64(6.077100506506192e-11)))));
      const far = plain(
        'i32.and',
        double('ge', double('abs', x), f64(2 ** 20)),
        double('lt', double('abs', x), f64(Infinity)),
      );
      inner.push({ kind: 'if', condition: far, then: farAngle(inner, x, count, left), else: [] });
      const square = keep(double('mul', rest, rest));
      const sin = double(
        'mul',
        rest,
        polynomial(
          square,
          [
            1, -0.16666666666666666, 0.008333333333333333, -0.0001984126984126984, 2.7557319223985893e-6,
            -2.505210838544172e-8,
          ],
        ),
      );
      const cos = polynomial(
        square,
        [
          1, -0.5, 0.041666666666666664, -0.001388888888888889, 0.0000248015873015873, -2.755731922398589e-7,
          2.08767569878681e-9,
        ],
      );
      // n modulo 4, which is a whole number that double precision holds.
      const quotient = double('floor', double('mul', n, f64(0.25)));
      const quadrant = double('add', double('sub', n, double('mul', quotient, f64(4))), f64(quarter));
      const turned = inner.define('i32', plain('i32.trunc_sat_f32_s', plain('f32.demote_f64', quadrant)));
      const odd = plain('i32.and', turned, i32(1));
      const size = keep(plain('select', cos, sin, odd));
      const result = plain('select', double('neg', size), size, plain('i32.and', turned, i32(2)));
      // A tiny x is its own sine, also -0.
      return quarter === 1 ? result : plain('select', x, result, double('eq', x, f64(0)));
    });

/** x^y = 2^(y·log₂ x) in double precision; the sign and the special cases are those of Math.pow. */
const power: Body = (writer, values) =>
  lanewise(writer, 'pow', values, (inner, [x, y]) => {
    const keep = (code: Code): Code => inner.define('f64', code);
    const select = (condition: Code, yes: Code, no: Code): Code => plain('select', yes, no, condition);
    const size = keep(double('abs', x));
    const half = 0x3fe6a09e00000000n;
    const offset = inner.define('i64', plain('i64.sub', plain('i64.reinterpret_f64', size), i64(half)));
    const m = keep(
      plain('f64.reinterpret_i64', plain('i64.add', plain('i64.and', offset, i64(2n ** 52n - 1n)), i64(half))),
    );
    const e = plain('f64.convert_i64_s', plain('i64.shr_s', offset, i64(52n)));
    const s = keep(double('div', double('sub', m, f64(1)), double('add', m, f64(1))));
    const series = polynomial(
      keep(double('mul', s, s)),
      [
        2.8853900817778504, 0.9617966941127059, 0.5770779424976084, 0.41220924514271967, 0.31990576686050654,
        0.28290201102102963,
      ],
    );
    const finite = double('add', double('mul', series, s), e);
    const zero = keep(select(double('eq', size, f64(0)), f64(-Infinity), finite));
    const log = select(double('lt', size, f64(Infinity)), zero, size);
    const product = keep(double('mul', log, y));
    const held = keep(double('min', double('max', product, f64(-200)), f64(200)));
    const whole = keep(double('nearest', held));
    const rest = keep(double('sub', held, whole));
    const root = polynomial(
      rest,
      [
        1.0000000000000273, 0.6931471805459333, 0.24022650695463674, 0.055504109412075765, 0.009618129229355996,
        0.0013333450564108004, 0.00015403511094002225, 0.00001531008077174448, 0.0000013264170705810318,
      ],
    );
    const count = plain('i64.extend_i32_s', plain('i32.trunc_sat_f32_s', plain('f32.demote_f64', whole)));
    const scale = plain('f64.reinterpret_i64', plain('i64.shl', plain('i64.add', count, i64(1023n)), i64(52n)));
    const result = keep(select(double('eq', product, product), double('mul', root, scale), product));
    const isWhole = inner.define('i32', double('eq', double('trunc', y), y));
    const halved = keep(double('mul', y, f64(0.5)));
    const odd = plain('i32.and', isWhole, double('ne', double('trunc', halved), halved));
    const signed = keep(select(odd, double('copysign', result, x), result));
    const below = plain('i32.and', double('lt', x, f64(0)), double('gt', x, f64(-Infinity)));
    const broken = plain('i32.and', double('ne', double('trunc', y), y), double('lt', double('abs', y), f64(Infinity)));
    const real = keep(select(plain('i32.and', below, broken), f64(NaN), signed));
    return select(double('eq', y, f64(0)), f64(1), real);
  });

/** |a| - |b|·⌊|a| / |b|⌋ with the sign of a, some bits of the quotient at a time so that every product is exact. */
const remainder: Body = (writer, values) =>
  lanewise(writer, 'rem', values, (inner, [a, b]) => {
    const size = inner.define('f64', double('abs', a));
    const divisor = inner.define('f64', double('abs', b));
    const rest = inner.local('rest', 'f64');
    const round = inner.local('round', 'i32');
    inner.push(set(rest, size));
    const body = inner.inside(() => {
      const quotient = double('div', get(rest), divisor);
      const upper = plain('i64.and', plain('i64.reinterpret_f64', quotient), i64(-(2n ** 25n)));
      const product = double('mul', double('trunc', plain('f64.reinterpret_i64', upper)), divisor);
      const left = inner.define('f64', double('sub', get(rest), product));
      inner.push(set(rest, plain('select', double('add', left, divisor), left, double('lt', left, f64(0)))));
      inner.push(set(round, plain('i32.add', get(round), i32(1))));
    });
    inner.push({ kind: 'loop', body, again: plain('i32.lt_s', get(round), i32(12)) });
    // A finite number by an infinite one is itself.
    const keep = plain('i32.and', double('eq', divisor, f64(Infinity)), double('lt', size, f64(Infinity)));
    return double('copysign', plain('select', size, get(rest), keep), a);
  });

/** Philox4x32-10 (Salmon et al., 2011): word 0 of the block for counter (index, stream, step, 0) and a two-word key. */
const philox: Body = (writer, values) => {
  const v = vector(writer);
  const words = (from: 0 | 1, low: Code, high: Code): Code => ({
    kind: 'shuffle',
    bytes: [from, from + 2, from + 4, from + 6].flatMap((word) => [0, 1, 2, 3].map((byte) => 4 * word + byte)),
    operands: [low, high],
  });
  const multiply = (a: Code, by: number): { high: Code; low: Code } => {
    const low = v.keep(plain('i64x2.extmul_low_i32x4_u', a, v.i(by)));
    const high = v.keep(plain('i64x2.extmul_high_i32x4_u', a, v.i(by)));
    return { high: words(1, low, high), low: words(0, low, high) };
  };
  let [x0, x1, x2, k0, k1] = values;
  let x3 = v.i(0);
  for (let round = 0; round < 10; round++) {
    const first = multiply(x0, 0xd2511f53);
    const second = multiply(x2, 0xcd9e8d57);
    x0 = v.keep(v.bits('xor', v.bits('xor', second.high, x1), k0));
    x1 = v.keep(second.low);
    x2 = v.keep(v.bits('xor', v.bits('xor', first.high, x3), k1));
    x3 = v.keep(first.low);
    k0 = v.keep(v.int('add', k0, v.i(0x9e3779b9)));
    k1 = v.keep(v.int('add', k1, v.i(0xbb67ae85)));
  }
  return x0;
};

const bodies: Record<MathFunction, Body> = {
  exp: exponential,
  log: logarithm,
  sin: sine('sin', 0),
  cos: sine('cos', 1),
  tanh: hyperbolicTangent,
  erf: errorFunction,
  pow: power,
  rem: remainder,
  philox,
};
