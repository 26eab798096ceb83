/** The polynomial functions of the native code against Math.*, over inputs from every binade. */
import { describe, expect, test } from 'vitest';
import { erf } from '../../compiler/ops/scalar.ts';
import { apply } from '../../compiler/tile/build.ts';
import type { TileOp } from '../../compiler/tile/tile.ts';
import { nativeProblem, runNative } from '../tile/native.ts';
import { elementwise } from '../tile/programs.ts';
import { numbers } from '../support/numbers.ts';

const count = 2 ** 18;
const bits = new DataView(new ArrayBuffer(4));

/** One float from each of 2^18 equal pieces of all bit patterns: every exponent, both signs, NaN and infinity among them. */
function stratified(): Float32Array {
  const next = numbers(12345);
  return Float32Array.from({ length: count }, (_, stratum) => {
    bits.setUint32(0, stratum * 2 ** 14 + Math.floor(next() * 2 ** 14));
    return bits.getFloat32(0);
  });
}

const special = [
  0,
  -0,
  Infinity,
  -Infinity,
  NaN,
  1,
  -1,
  0.5,
  -0.5,
  2,
  -2,
  3,
  1e-45,
  -1e-45,
  1.17549435e-38,
  3.4028234e38,
  -3.4028234e38,
  88.72,
  88.73,
  -103.9,
  -104,
  16777216,
  16777217,
  33554433,
  Math.PI,
  2 ** 30,
  2 ** 29,
  1e10,
  9.1,
  4,
];

/** The distance between neighbours of a float of this size. */
function unit(value: number): number {
  const size = Math.max(Math.abs(value), 2 ** -126);
  return 2 ** (Math.min(127, Math.floor(Math.log2(size))) - 23);
}

function error(got: number, want: number): number {
  const rounded = Math.fround(want);
  if (Number.isNaN(want) || Number.isNaN(got)) return Number.isNaN(want) === Number.isNaN(got) ? 0 : Infinity;
  if (got === rounded)
    return want === 0 && !Object.is(Math.sign(got), Math.sign(want)) && !Object.is(got, want) ? Infinity : 0;
  if (!Number.isFinite(rounded) && Number.isFinite(got))
    return Math.abs(got - 2 ** 128 * Math.sign(rounded)) / 2 ** 104;
  return Math.abs(got - want) / unit(want);
}

const functions: readonly { readonly op: TileOp; readonly of: (x: number) => number; readonly most: number }[] = [
  { op: 'exp', of: Math.exp, most: 2 },
  { op: 'log', of: Math.log, most: 2 },
  { op: 'sin', of: Math.sin, most: 2 },
  { op: 'cos', of: Math.cos, most: 2 },
  { op: 'tanh', of: Math.tanh, most: 3 },
  { op: 'erf', of: erf, most: 3 },
];

async function worst(
  op: TileOp,
  inputs: readonly Float32Array[],
  of: (...values: number[]) => number,
  lanes = 16,
): Promise<{ ulp: number; at: number[]; got: number; want: number }> {
  const size = inputs[0].length;
  const program = elementwise(
    inputs.map(() => 'f32'),
    size,
    lanes,
    (...operands) => apply(op, ...operands),
  );
  const results = await runNative(program, Object.fromEntries(inputs.map((input, place) => [`x${place}`, input])), {
    threads: 1,
  });
  const got = results.get('y') ?? new Float32Array(0);
  let found = { ulp: -1, at: [0], got: 0, want: 0 };
  for (let i = 0; i < size; i++) {
    const at = inputs.map((input) => input[i]);
    const want = of(...at);
    const ulp = error(got[i], want);
    if (ulp > found.ulp) found = { ulp, at, got: got[i], want };
  }
  if (process.env['NACRE_SHOW_ULP']) console.log(op, lanes, found);
  return found;
}

describe.skipIf(nativeProblem !== undefined)(
  `math functions natively${nativeProblem === undefined ? '' : ` (skipped: ${nativeProblem})`}`,
  () => {
    test.each(functions)('$op is within $most ulp everywhere', async ({ op, of, most }) => {
      expect((await worst(op, [stratified()], of)).ulp).toBeLessThanOrEqual(most);
      // Where networks live: between -16 and 16, evenly.
      expect(
        (await worst(op, [Float32Array.from({ length: count }, (_, i) => (i / count - 0.5) * 32)], of)).ulp,
      ).toBeLessThanOrEqual(most);
      for (const lanes of [1, 8]) {
        const padded = Float32Array.from({ length: 32 }, (_, i) => special[i % special.length]);
        expect((await worst(op, [padded], of, lanes)).ulp).toBeLessThanOrEqual(most);
      }
    });

    /** Every pair of the special values, and ones to fill a vector. */
    const pairs = (): [Float32Array, Float32Array] => {
      const [x, y]: number[][] = [[], []];
      for (const a of special) {
        for (const b of special) {
          x.push(a);
          y.push(b);
        }
      }
      while (x.length % 16 !== 0) {
        x.push(1);
        y.push(1);
      }
      return [Float32Array.from(x), Float32Array.from(y)];
    };

    test('rem is exact', async () => {
      const remainder = (a: number, b: number): number => a % b;
      const all = stratified();
      for (const lanes of [1, 16]) {
        expect((await worst('rem', pairs(), remainder, lanes)).ulp).toBe(0);
        expect((await worst('rem', [all, all.map((_, at) => all[(at * 7919) % count])], remainder, lanes)).ulp).toBe(0);
      }
    });

    test('pow is within 2 ulp, with the special cases of Math.pow', async () => {
      expect((await worst('pow', pairs(), Math.pow)).ulp).toBeLessThanOrEqual(2);
      const bases = stratified().map((value) => Math.abs(value));
      const exponents = bases.map((value, i) =>
        Math.fround(((((i * 7919) % 2000) / 1000 - 1) * 100) / Math.max(1, Math.abs(Math.log2(value)))),
      );
      expect((await worst('pow', [bases, exponents], Math.pow)).ulp).toBeLessThanOrEqual(2);
    });
  },
);
