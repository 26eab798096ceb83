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
import { numbers } from '../support/numbers.ts';

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
  return lanes === 'wide matrices'
    ? { ...machine('matrices'), wideMatrices: ['bf16', 'f16', 'tf32'] }
    : processor(lanes);
};

/** Deterministic contents for every buffer that is read from outside; integers below 4. */
export function contentsOf(
  program: LoopProgram,
  integers: Readonly<Record<string, number>> = {},
): Map<string, Float64Array> {
  const next = numbers(7);
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

export const scheduled = (program: LoopProgram, lanes: Lanes): TileProgram => scheduledFor(program, machine(lanes));

export function scheduledFor(program: LoopProgram, capabilities: Capabilities): TileProgram {
  const tile = schedule(program, capabilities);
  expect(verifyTile(tile)).toEqual([]);
  return tile;
}

interface Meaning {
  readonly tolerance?: number;
  /** How many values an integer buffer takes. */
  readonly integers?: Readonly<Record<string, number>>;
}

interface Options extends Meaning {
  readonly lanes?: readonly Lanes[];
}

/** Fails where a scheduled program computes something else than the Loop program. */
export const expectScheduled = (text: string, options: Options = {}): void =>
  expectScheduledProgram(parseLoop(text), options);

export function expectScheduledProgram(program: LoopProgram, options: Options = {}): void {
  const expectSame = sameAs(program, options);
  for (const lanes of options.lanes ?? [16, 8, 4, 1, 'teams', 'subgroups'])
    expectSame(scheduled(program, lanes), `${lanes} lanes`);
}

/** A check of Tile programs, on machines with a name: do they compute what the Loop program does? */
export function sameAs(
  program: LoopProgram,
  { tolerance = 1e-4, integers }: Meaning = {},
): (tile: TileProgram, machine: string) => void {
  const wanted = contentsOf(program, integers);
  const { outOfRange } = interpretLoop(program, wanted);
  return (unplanned, machine) => {
    const tile = planMemory(unplanned);
    expect(verifyTile(tile)).toEqual([]);
    const found = contentsOf(program, integers);
    const { flagged } = interpretTile(tile, found);
    expect(flagged, `the flag with ${machine}`).toBe(outOfRange);
    for (const { name, role } of program.buffers) {
      if (role === 'temporary') continue;
      const want = wanted.get(name) ?? new Float64Array(0);
      const got = found.get(name) ?? new Float64Array(0);
      want.forEach((value, at) => {
        const close = Object.is(got[at], value) || Math.abs(got[at] - value) <= tolerance * (1 + Math.abs(value));
        if (!close) throw new Error(`with ${machine}, ${name}[${at}] is ${got[at]}, expected ${value}`);
      });
    }
  };
}
