/** Rounding and the edges of scalar functions, against published or hand-made values. */
import { describe, expect, test } from 'vitest';
import { roundBf16, roundF16, roundHalfEven, roundTf32, roundTo } from '../../compiler/ops/numeric.ts';
import { binaryScalar, castScalar, erf, unaryScalar } from '../../compiler/ops/scalar.ts';

describe('rounding', () => {
  test('half precision', () => {
    expect(
      [1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519, 65520, 2 ** -24, 2 ** -25, 3 * 2 ** -25, -1e-9].map(roundF16),
    ).toEqual([1, 1 + 2 ** -9, 65504, Infinity, 2 ** -24, 0, 2 ** -23, -0]);
  });
  test('bfloat16', () => {
    expect([1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.4e38, 0.1, -1.5].map(roundBf16)).toEqual([
      1,
      1 + 2 ** -6,
      Infinity,
      0.10009765625,
      -1.5,
    ]);
  });
  test('tf32: halfway cases go away from 0, and exponents are those of f32', () => {
    expect(
      [1 + 2 ** -11, 1 + 2 ** -11 - 2 ** -20, -1 - 3 * 2 ** -11, 3.4028234663852886e38, 2 ** -149, 2 ** -137].map(
        roundTf32,
      ),
    ).toEqual([1 + 2 ** -10, 1, -1 - 2 ** -9, Infinity, 0, 2 ** -136]);
    expect([roundTf32(-0), roundTf32(-Infinity), roundTf32(NaN)]).toEqual([-0, -Infinity, NaN]);
  });
  test('every half precision number is kept, and halfway cases go to the even one', () => {
    for (let bits = 0; bits < 0x7c00; bits++) {
      const [exponent, mantissa] = [bits >> 10, bits & 1023];
      const value = (bit: number): number =>
        bit >> 10 === 0 ? (bit & 1023) * 2 ** -24 : (1024 + (bit & 1023)) * 2 ** ((bit >> 10) - 25);
      expect(roundF16(value(bits)), `${exponent} ${mantissa}`).toBe(value(bits));
      if (bits + 1 < 0x7c00)
        expect(roundF16((value(bits) + value(bits + 1)) / 2)).toBe(value(bits % 2 === 0 ? bits : bits + 1));
    }
  });
  test('integers wrap', () => {
    expect([roundTo('i32', 2 ** 31), roundTo('u32', -1), roundTo('u8', 257), roundTo('u8', -1)]).toEqual([
      -(2 ** 31),
      2 ** 32 - 1,
      1,
      255,
    ]);
  });
  test('ties go to the even number', () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, -2.6].map(roundHalfEven)).toEqual([0, 2, 2, -0, -2, 2, -3]);
  });
});

test('erf to sixteen digits', () => {
  const known = [
    [0, 0],
    [0.1, 0.1124629160182849],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [2.6, 0.9997639655834707],
    [4, 0.9999999845827421],
    [-1, -0.8427007929497149],
    [7, 1],
  ];
  for (const [x, y] of known) expect(erf(x)).toBeCloseTo(y, 14);
});

describe('edges', () => {
  test('integer division and shifts', () => {
    expect([
      binaryScalar('div', 'i32')(-7, 2),
      binaryScalar('div', 'i32')(7, 0),
      binaryScalar('rem', 'i32')(-7, 2),
      binaryScalar('rem', 'u32')(7, 0),
    ]).toEqual([-3, 0, -1, 0]);
    expect([
      binaryScalar('shr', 'i32')(-8, 1),
      binaryScalar('shr', 'u32')(4294967288, 1),
      binaryScalar('shl', 'i32')(1, 33),
      binaryScalar('mul', 'i32')(65537, 65537),
    ]).toEqual([-4, 2147483644, 2, 131073]);
  });
  test('floats to integers saturate, integers wrap', () => {
    expect([3e9, -3e9, NaN, -2.7].map(castScalar('f32', 'i32'))).toEqual([2147483647, -2147483648, 0, -2]);
    expect([300, -1].map(castScalar('i32', 'u8'))).toEqual([44, 255]);
    expect([300.5, -1].map(castScalar('f32', 'u8'))).toEqual([255, 0]);
  });
  test('NaN wins maxima, 0^0 is 1, bool not', () => {
    expect([
      binaryScalar('max', 'f32')(NaN, 1),
      binaryScalar('pow', 'f32')(0, 0),
      unaryScalar('not', 'bool')(1),
    ]).toEqual([NaN, 1, 0]);
  });
});
