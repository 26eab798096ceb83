/** Conversions between f32 and the types of two bytes, and rounding to TF32: instructions, integer arithmetic and the interpreter agree to the bit. */
import { describe, expect, it } from 'vitest';
import { roundTf32, roundTo } from '../../compiler/ops/numeric.ts';
import { apply, cast } from '../../compiler/tile/build.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import { openCpuSession } from '../../runtime/devices/cpu.ts';
import { elementwise } from '../tile/programs.ts';
import { fromBits } from '../tile/halves.ts';
import { nativeProblem, nativeProgram } from '../tile/native.ts';

const bitsOf = (data: Float32Array): Uint32Array => new Uint32Array(data.buffer, data.byteOffset, data.length);
const isNan = (bits: number): boolean => (bits & 0x7fffffff) > 0x7f800000;

/** Every number of two bytes, what lies just beside it and halfway to its neighbours, and a walk through all exponents. */
const floats = ((): Float32Array => {
  const around = [0, 1, -1, 0xfff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001];
  const words: number[] = [];
  for (let upper = 0; upper < 0x10000; upper += 7) for (const low of around) words.push(upper * 0x10000 + low);
  for (let half = 0; half < 0x10000; half += 3) {
    const [word] = bitsOf(Float32Array.of(fromBits('f16', half)));
    for (const step of [-0x1001, -0x1000, -0xfff, 0, 0xfff, 0x1000, 0x1001]) words.push(word + step);
  }
  while (words.length % 16 !== 0) words.push(0);
  return new Float32Array(Uint32Array.from(words, (word) => word >>> 0).buffer);
})();
const halves = Uint16Array.from({ length: 0x10000 }, (_, bits) => bits);

describe.skipIf(nativeProblem !== undefined).each(['f16', 'bf16'] as const)('%s', (dtype) => {
  for (const lanes of [1, 16])
    it(`in ${lanes} lanes`, async () => {
      const narrow = elementwise(['f32'], floats.length, lanes, (x) => cast(x, dtype));
      const [native, software] = await Promise.all(
        [true, false].map((convertsHalves) => run(narrow, floats, convertsHalves)),
      );
      expect(software).toEqual(native);
      floats.forEach((x, at) => {
        const got = fromBits(dtype, Number(native[at]));
        const wanted = roundTo(dtype, x);
        if (!Object.is(got, wanted)) throw new Error(`${x} becomes ${got}, not ${wanted}`);
      });

      const widen = elementwise([dtype], halves.length, lanes, (x) => cast(x, 'f32'));
      const wide = await Promise.all([true, false].map((convertsHalves) => run(widen, halves, convertsHalves)));
      const [first, second] = wide.map((data) => bitsOf(data as Float32Array));
      expect(second).toEqual(first);
      halves.forEach((bits) => {
        const wanted = bitsOf(Float32Array.of(fromBits(dtype, bits)))[0];
        if (first[bits] !== wanted && !(isNan(first[bits]) && isNan(wanted)))
          throw new Error(`bits ${bits} stand for ${first[bits]}, not ${wanted}`);
      });
    });
});

describe.skipIf(nativeProblem !== undefined)('tf32', () => {
  it.each([1, 16])('in %i lanes', async (lanes) => {
    const rounded = await run(
      elementwise(['f32'], floats.length, lanes, (x) => apply('tf32', x)),
      floats,
      true,
    );
    floats.forEach((x, at) => {
      const wanted = roundTf32(x);
      if (!Object.is(rounded[at], wanted)) throw new Error(`${x} becomes ${rounded[at]}, not ${wanted}`);
    });
  });
});

async function run(
  program: TileProgram,
  x0: Float32Array | Uint16Array,
  convertsHalves: boolean,
): Promise<Uint16Array | Float32Array> {
  const session = await openCpuSession({ threads: 1 });
  try {
    const executable = await session.load(nativeProgram(program, { convertsHalves, dotsBytes: false }));
    const y = (await executable.run(new Map([['x0', x0]]))).get('y');
    if (!(y instanceof Uint16Array || y instanceof Float32Array)) throw new Error('no result');
    return y.slice();
  } finally {
    session.close();
  }
}
