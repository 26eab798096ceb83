/** Schedules Loop programs for machines of several widths and compares both interpreters, and native code where it runs. */
import { expect } from 'vitest';
import { interpretLoop } from '../../compiler/loop/interpret.ts';
import type { LoopProgram } from '../../compiler/loop/loop.ts';
import { parseLoop } from '../../compiler/loop/parse.ts';
import { roundTo } from '../../compiler/ops/numeric.ts';
import { schedule } from '../../compiler/schedule/schedule.ts';
import type { Capabilities } from '../../compiler/targets/target.ts';
import { interpretTile } from '../../compiler/tile/interpret.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import { verifyTile } from '../../compiler/tile/verify.ts';
import { isFloat } from '../../compiler/types/dtype.ts';

/** Vectors of so many lanes, or threads in workgroups: as they are, in subgroups, with matrix instructions of 32 threads, and of 128. */
export type Lanes = number | 'teams' | 'subgroups' | 'matrices' | 'wide matrices';

const processor = (vectorLanes: number): Capabilities => ({
  vectorLanes,
  vectorRegisters: vectorLanes === 16 ? 32 : 16,
  workgroupThreads: 1,
  subgroupThreads: 1,
  nearMemory: 32 * 1024,
  cache: 1024 * 1024,
  units: 2,
  smallestElement: 1,
  halvesApart: false,
  dtypes: ['f32', 'f16', 'bf16', 'f64', 'i32', 'u32', 'i8', 'u8', 'bool'],
  matrices: [],
  wideMatrices: [],
  dotsBytes: vectorLanes > 1,
});

const gpu: Capabilities = { ...processor(1), workgroupThreads: 256, nearMemory: 16 * 1024, cache: 0 };

export const machine = (lanes: Lanes): Capabilities => {
  if (lanes === 'teams') return gpu;
  if (lanes === 'subgroups') return { ...gpu, subgroupThreads: 8 };
  if (lanes === 'matrices')
    return { ...gpu, subgroupThreads: 32, nearMemory: 48 * 1024, matrices: ['bf16', 'f16', 'tf32'] };
  return lanes === 'wide matrices' ? { ...machine('matrices'), wideMatrices: ['bf16', 'f16'] } : processor(lanes);
};

/** Deterministic contents for every buffer that is read from outside; integers below 4. */
export function contentsOf(
  program: LoopProgram,
  integers: Readonly<Record<string, number>> = {},
): Map<string, Float64Array> {
  let state = 7;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return new Map(
    program.buffers
      .filter(({ role }) => role !== 'temporary')
      .map(({ name, dtype, shape, data }) => {
        const size = shape.reduce((product, length) => product * length, 1);
        const contents = Float64Array.from({ length: size }, () =>
          isFloat(dtype)
            ? roundTo(dtype === 'f64' ? 'f32' : dtype, next() * 2 - 1)
            : Math.floor(next() * (dtype === 'bool' ? 2 : (integers[name] ?? 4))),
        );
        return [name, data === undefined ? contents : Float64Array.from(data)];
      }),
  );
}

export function scheduled(program: LoopProgram, lanes: Lanes): TileProgram {
  const tile = schedule(program, machine(lanes));
  expect(verifyTile(tile)).toEqual([]);
  return tile;
}

interface Options {
  readonly lanes?: readonly Lanes[];
  readonly tolerance?: number;
  /** How many values an integer buffer takes. */
  readonly integers?: Readonly<Record<string, number>>;
}

/** Fails where a scheduled program computes something else than the Loop program. */
export const expectScheduled = (text: string, options: Options = {}): void =>
  expectScheduledProgram(parseLoop(text), options);

export function expectScheduledProgram(program: LoopProgram, options: Options = {}): void {
  const tolerance = options.tolerance ?? 1e-4;
  const wanted = contentsOf(program, options.integers);
  const { outOfRange } = interpretLoop(program, wanted);
  for (const lanes of options.lanes ?? [16, 8, 4, 1, 'teams', 'subgroups']) {
    const tile = planMemory(scheduled(program, lanes));
    expect(verifyTile(tile)).toEqual([]);
    const found = contentsOf(program, options.integers);
    const { flagged } = interpretTile(tile, found);
    expect(flagged, `the flag with ${lanes}`).toBe(outOfRange);
    for (const { name, role } of program.buffers) {
      if (role === 'temporary') continue;
      const want = wanted.get(name) ?? new Float64Array(0);
      const got = found.get(name) ?? new Float64Array(0);
      want.forEach((value, at) => {
        const close = Object.is(got[at], value) || Math.abs(got[at] - value) <= tolerance * (1 + Math.abs(value));
        if (!close) throw new Error(`with ${lanes} lanes, ${name}[${at}] is ${got[at]}, expected ${value}`);
      });
    }
  }
}
