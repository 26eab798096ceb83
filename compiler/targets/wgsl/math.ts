/**
 * Helper functions of WGSL modules. WGSL may assume that NaN and infinity do not happen, flush subnormal numbers, and be 2⁻¹¹ off in
 * a sine: what must be exact is done on the bits or by polynomials (minimax fits, those of the LLVM target where both have
 * them). It may also take n·a + n·b for n·(a + b), as Mesa does, which loses what splitting a number in parts is for: so each part is
 * multiplied by another value that is n. Only the functions that a kernel uses go into its module, after those they use.
 *
 * Largest error over the inputs of test/targets/accuracy.test.ts, in units of the last place: exp 1, log 1, sin and cos 1.5 (to ±1000; beyond, 1.2e-7), tanh 1.3,
 * erf 1.2; pow loses two digits where the result is very large or small.
 */

import { twoOverPi } from '../two-over-pi.ts';

interface Helper {
  readonly text: string;
  readonly uses?: readonly HelperName[];
}

const polynomial = (x: string, coefficients: readonly number[]): string =>
  coefficients.reduceRight((sum, coefficient) => {
    const term = `${f32(coefficient)}`;
    return sum === '' ? term : `fma(${sum}, ${x}, ${term})`;
  }, '');

/** A finite number as a WGSL literal. */
export function f32(value: number): string {
  const single = Math.fround(value);
  const text = Object.is(single, -0) ? '-0.0' : String(single);
  return `${/[.e]/.test(text) ? text : `${text}.0`}f`;
}

const helpers = {
  /** A constant expression may not be infinite; what a variable holds may. */
  infinity: { text: 'var<private> infinity_bits: u32 = 0x7f800000u;' },
  nan: { text: 'var<private> nan_bits: u32 = 0x7fc00000u;' },
  is_nan: { text: 'fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }' },
  equal: {
    uses: ['is_nan'],
    text: 'fn equal(a: f32, b: f32) -> bool { return a == b && !is_nan(a) && !is_nan(b); }',
  },
  /** NaN if either is. */
  maximum: {
    uses: ['is_nan'],
    text: 'fn maximum(a: f32, b: f32) -> f32 { return select(select(b, a, a > b), a, is_nan(a)); }',
  },
  minimum: {
    uses: ['is_nan'],
    text: 'fn minimum(a: f32, b: f32) -> f32 { return select(select(b, a, a < b), a, is_nan(a)); }',
  },
  sign_of: {
    text: 'fn sign_of(x: f32) -> f32 { return select(select(x, -1.0f, x < 0.0f), 1.0f, x > 0.0f); }',
  },
  copy_sign: {
    text: 'fn copy_sign(size: f32, from_: f32) -> f32 {\n  return bitcast<f32>((bitcast<u32>(size) & 0x7fffffffu) | (bitcast<u32>(from_) & 0x80000000u));\n}',
  },
  square_root: {
    uses: ['nan'],
    text: 'fn square_root(x: f32) -> f32 { return select(select(x, sqrt(x), x > 0.0f), bitcast<f32>(nan_bits), x < 0.0f); }',
  },
  /** x = n·ln 2 + r, e^r by a polynomial, 2^n in two factors so that the ends of the range come out right. */
  exponential: {
    uses: ['is_nan'],
    text: `fn exponential(x: f32) -> f32 {
  let held = min(max(x, -104.0f), 89.0f);
  let n = round(held * ${f32(Math.LOG2E)});
  let count = i32(n);
  let r = fma(f32(count), ${f32(-1.428606765330187e-6)}, fma(n, -0.693145751953125f, held));
  let tail = ${polynomial('r', [0.5, 0.16666576266288757, 0.04166637361049652, 0.00836323481053114, 0.0013941217912361026])};
  let half = count >> 1u;
  let power = fma(tail, r * r, r) + 1.0f;
  return select(power * bitcast<f32>((half + 127) << 23u) * bitcast<f32>((count - half + 127) << 23u), x, is_nan(x));
}`,
  },
  /** x = 2^e·m with m between √½ and √2; log m = f - f²/2 + f³·Q(f) for f = m - 1. A subnormal x is a whole number of 2⁻¹⁴⁹. */
  logarithm: {
    uses: ['infinity', 'nan', 'is_nan'],
    text: `fn logarithm(x: f32) -> f32 {
  let given = bitcast<i32>(x);
  let subnormal = given > 0 && given < 0x00800000;
  let bits = select(given, bitcast<i32>(f32(given)), subnormal);
  let offset = bits - 0x3f3504f3;
  let m = bitcast<f32>((offset & 0x007fffff) + 0x3f3504f3);
  let e = f32(offset >> 23u) - select(0.0f, 149.0f, subnormal);
  let f = m - 1.0f;
  let tail = ${polynomial(
    'f',
    [
      0.3333333134651184, -0.2500081956386566, 0.20001226663589478, -0.16623356938362122, 0.14201758801937103,
      -0.13160182535648346, 0.12761574983596802, -0.07634493708610535,
    ],
  )};
  let square = f * f;
  let sum = f + fma(square, -0.5f, fma(e, -2.1219444e-4f, tail * f * square));
  let finite = fma(e, 0.693359375f, sum);
  if (given == 0x7f800000 || is_nan(x)) { return x; }
  if ((given & 0x7fffffff) == 0) { return bitcast<f32>(infinity_bits | 0x80000000u); }
  return select(finite, bitcast<f32>(nan_bits), given < 0);
}`,
  },
  /** Small: x + x³·T(x²). Large: 1 - 2 / (e^2|x| + 1). */
  hyperbolic_tangent: {
    uses: ['exponential', 'copy_sign', 'is_nan'],
    text: `fn hyperbolic_tangent(x: f32) -> f32 {
  let size = abs(x);
  let square = size * size;
  let tail = ${polynomial('square', [-0.3333328366279602, 0.13331490755081177, -0.05374349653720856, 0.02065058797597885, -0.005717045161873102])};
  let small = fma(tail * square, size, size);
  let large = 1.0f - 2.0f / (exponential(2.0f * min(size, 20.0f)) + 1.0f);
  return select(copy_sign(select(large, small, size < 0.625f), x), x, is_nan(x));
}`,
  },
  /** Small: x + x·E(x²). Large: 1 - e^G(|x|), where G is the logarithm of the complement; beyond 4 it is 1. */
  error_function: {
    uses: ['exponential', 'copy_sign', 'is_nan'],
    text: `fn error_function(x: f32) -> f32 {
  let size = abs(x);
  let held = min(size, 4.0f);
  let square = held * held;
  let tail = ${polynomial(
    'square',
    [
      0.12837916612625122, -0.37612634897232056, 0.11283719539642334, -0.026860753074288368, 0.005204435903578997,
      -0.0008181927842088044, 0.00008538841939298436,
    ],
  )};
  let complement = ${polynomial(
    'held',
    [
      -0.00017749672406353056, -1.1277495622634888, -0.63705974817276, -0.104037344455719, 0.02227707952260971,
      -0.003055605571717024, 0.0001971815072465688,
    ],
  )};
  let large = copy_sign(1.0f - exponential(complement), x);
  return select(select(large, fma(tail, x, x), size < 0.9f), x, is_nan(x));
}`,
  },
  /**
   * x less the nearest multiple of π/2, and which, for |x| from 2 on: x·2/π modulo 4, from the 96 bits of 2/π that decide it
   * (Payne and Hanek 1983).
   */
  far_angle: {
    uses: ['high_product'],
    text: `const two_over_pi = array<u32, 8>(${[0, ...twoOverPi].map((word) => `0x${word.toString(16)}u`).join(', ')});
fn far_angle(x: f32) -> vec2<f32> {
  let bits = bitcast<u32>(x) & 0x7fffffffu;
  let m = (bits | 0x800000u) << 8u;
  let start = (bits >> 23u) - 128u;
  var table = two_over_pi;
  let word = min(start >> 5u, 4u);
  let left = start & 31u;
  var part = array<u32, 3>();
  for (var at = 0u; at < 3u; at++) {
    part[at] = table[word + at] << left;
    if (left > 0u) { part[at] |= table[word + at + 1u] >> (32u - left); }
  }
  let carry = high_product(m, part[2]);
  let middle = m * part[1] + carry;
  let upper = m * part[0] + high_product(m, part[1]) + select(0u, 1u, middle < carry);
  var high = (upper << 2u) | (middle >> 30u);
  var low = (middle << 2u) | ((m * part[2]) >> 30u);
  var count = i32(upper >> 30u);
  let below = high >= 0x80000000u;
  if (below) {
    count++;
    low = ~low + 1u;
    high = select(~high, ~high + 1u, low == 0u);
  }
  let zeros = countLeadingZeros(high);
  if (zeros > 0u) { high = select(low << (zeros & 31u), (high << (zeros & 31u)) | (low >> (32u - (zeros & 31u))), zeros < 32u); }
  let size = f32(high) * bitcast<f32>((95u - zeros) << 23u) * ${f32(Math.PI / 2)};
  let forward = bitcast<i32>(x) >= 0;
  return vec2<f32>(select(size, -size, below == forward), f32(select(-count, count, forward)));
}`,
  },
  /** The sine of x + quarter·π/2: x less the nearest multiple of π/2, in three parts of which the first two multiply exactly. */
  sine: {
    uses: ['nan', 'far_angle'],
    text: `fn sine(x: f32, quarter: i32) -> f32 {
  let n = round(x * ${f32(2 / Math.PI)});
  var count = i32(n);
  var rest = fma(f32(count << 1u), ${f32(-7.549789415861596e-8 / 2)}, fma(f32(count), -4.837512969970703e-4f, fma(n, -1.5703125f, x)));
  if (abs(x) >= 2048.0f) {
    let far = far_angle(x);
    rest = far.x;
    count = i32(far.y);
  }
  let square = rest * rest;
  let sine_ = fma(${polynomial('square', [-0.166666641831398, 0.008332747966051102, -0.00019587756833061576])} * square, rest, rest);
  let cosine = fma(${polynomial('square', [0.0416666641831398, -0.001388830249197781, 0.000024547787688788958])} * square, square, fma(square, -0.5f, 1.0f));
  let turned = (count + quarter) & 3;
  let size = select(sine_, cosine, (turned & 1) == 1);
  let result = select(size, -size, turned >= 2);
  return select(result, bitcast<f32>(nan_bits), (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u);
}`,
  },
  /** x^y = e^(y·log|x|); the sign and the special cases are those of Math.pow. */
  power: {
    uses: ['exponential', 'logarithm', 'nan', 'is_nan'],
    text: `fn power(x: f32, y: f32) -> f32 {
  if (y == 0.0f && !is_nan(y)) { return 1.0f; }
  if (is_nan(x) || is_nan(y)) { return bitcast<f32>(nan_bits); }
  let size = abs(x);
  if (size == 1.0f && (bitcast<u32>(y) & 0x7fffffffu) == 0x7f800000u) { return bitcast<f32>(nan_bits); }
  let result = exponential(y * logarithm(size));
  if (bitcast<i32>(x) >= 0) { return result; }
  let whole = floor(y) == y;
  let odd = whole && floor(y * 0.5f) * 2.0f != y;
  let finite = (bitcast<u32>(x) & 0x7fffffffu) != 0x7f800000u && x < 0.0f;
  return select(select(result, -result, odd), bitcast<f32>(nan_bits), finite && !whole);
}`,
  },
  /** a - b·trunc(a / b), with the sign of a; bit by bit, as long division does it. */
  remainder: {
    uses: ['copy_sign', 'nan', 'is_nan'],
    text: `fn remainder(a: f32, b: f32) -> f32 {
  let divisor = abs(b);
  var rest = abs(a);
  if (is_nan(a) || is_nan(b) || (bitcast<u32>(rest) == 0x7f800000u) || divisor == 0.0f) { return bitcast<f32>(nan_bits); }
  if (bitcast<u32>(divisor) == 0x7f800000u) { return a; }
  var step = i32(bitcast<u32>(rest) >> 23u) - i32(bitcast<u32>(divisor) >> 23u);
  for (; step >= 0; step--) {
    let scaled = ldexp(divisor, step);
    if (rest >= scaled) { rest -= scaled; }
  }
  return copy_sign(rest, a);
}`,
  },
  divide_i32: {
    text: 'fn divide_i32(a: i32, b: i32) -> i32 { return select(a / select(b, 1, b == 0), 0, b == 0); }',
  },
  remainder_i32: {
    text: 'fn remainder_i32(a: i32, b: i32) -> i32 { return select(a % select(b, 1, b == 0 || b == -1), 0, b == 0 || b == -1); }',
  },
  divide_u32: {
    text: 'fn divide_u32(a: u32, b: u32) -> u32 { return select(a / select(b, 1u, b == 0u), 0u, b == 0u); }',
  },
  remainder_u32: {
    text: 'fn remainder_u32(a: u32, b: u32) -> u32 { return select(a % select(b, 1u, b == 0u), 0u, b == 0u); }',
  },
  /** Toward zero; what is beyond the range becomes its end, NaN becomes 0. */
  whole_i32: {
    uses: ['is_nan'],
    text: `fn whole_i32(x: f32) -> i32 {
  if (is_nan(x)) { return 0; }
  if (x >= 2147483648.0f) { return 2147483647; }
  return select(i32(x), -2147483647 - 1, x <= -2147483648.0f);
}`,
  },
  whole_u32: {
    uses: ['is_nan'],
    text: `fn whole_u32(x: f32) -> u32 {
  if (is_nan(x) || x <= 0.0f) { return 0u; }
  return select(u32(x), 4294967295u, x >= 4294967296.0f);
}`,
  },
  /** The nearest f16, ties to even, as f32. Below 2⁻¹⁴ the addition of ½, whose last digit is worth 2⁻²⁴, does the rounding. */
  round_f16: {
    text: `fn round_f16(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  let kept = (size + 0xfffu + ((size >> 13u) & 1u)) & 0xffffe000u;
  let small = bitcast<u32>(f32(bitcast<u32>(bitcast<f32>(size) + 0.5f) - 0x3f000000u) * ${f32(2 ** -24)});
  var rounded = select(kept, small, size < 0x38800000u);
  if (kept >= 0x47800000u) { rounded = 0x7f800000u; }
  if (size > 0x7f800000u) { rounded = 0x7fc00000u; }
  return bitcast<f32>(rounded | (bits & 0x80000000u));
}`,
  },
  /** The nearest bf16, ties to even, as f32. */
  round_bf16: {
    text: `fn round_bf16(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let rounded = (bits + 0x7fffu + ((bits >> 16u) & 1u)) & 0xffff0000u;
  return bitcast<f32>(select(rounded, (bits | 0x00400000u) & 0xffff0000u, (bits & 0x7fffffffu) > 0x7f800000u));
}`,
  },
  /** The nearest number of 11 binary digits, ties away from 0. */
  round_tf32: {
    text: `fn round_tf32(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  return bitcast<f32>(select((bits + 0x1000u) & 0xffffe000u, bits, (bits & 0x7fffffffu) > 0x7f800000u));
}`,
  },
  /** The upper word of a product. */
  high_product: {
    text: `fn high_product(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let first = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let second = (a & 0xffffu) * (b >> 16u) + (first & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (first >> 16u) + (second >> 16u);
}`,
  },
  /** Philox4x32-10 (Salmon et al., 2011): word 0 of the block for counter (index, stream, step, 0) and a two-word key. */
  philox: {
    uses: ['high_product'],
    text: `fn philox(index: u32, stream: u32, step: u32, key0: u32, key1: u32) -> u32 {
  var x = vec4u(index, stream, step, 0u);
  var key = vec2u(key0, key1);
  for (var round = 0; round < 10; round++) {
    let first = high_product(x.x, 0xd2511f53u);
    let second = high_product(x.z, 0xcd9e8d57u);
    x = vec4u(second ^ x.y ^ key.x, x.z * 0xcd9e8d57u, first ^ x.w ^ key.y, x.x * 0xd2511f53u);
    key += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return x.x;
}`,
  },
} as const satisfies Record<string, { readonly text: string; readonly uses?: readonly string[] }>;

export type HelperName = keyof typeof helpers;

/** The text of these helpers and of those they use, each once, in an order in which a reader meets what is used first. */
export function helperText(names: Iterable<HelperName>): string[] {
  const texts: string[] = [];
  const seen = new Set<HelperName>();
  const add = (name: HelperName): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const { text, uses = [] }: Helper = helpers[name];
    uses.forEach(add);
    texts.push(text);
  };
  for (const name of names) add(name);
  return texts;
}
