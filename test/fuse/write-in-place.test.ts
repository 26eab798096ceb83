/** Temporaries written where others were read: which, as text; and that nothing else comes of it, on any machine. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fuse, type FuseOptions } from '../../compiler/fuse/fuse.ts';
import { writeInPlace } from '../../compiler/fuse/write-in-place.ts';
import { interpretLoop } from '../../compiler/loop/interpret.ts';
import type { LoopProgram } from '../../compiler/loop/loop.ts';
import { parseLoop } from '../../compiler/loop/parse.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { verifyLoop } from '../../compiler/loop/verify.ts';
import { schedule } from '../../compiler/schedule/schedule.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import { interpretTile } from '../../compiler/tile/interpret.ts';
import { verifyTile } from '../../compiler/tile/verify.ts';
import type { TypedArray } from '../../runtime/program.ts';
import { contentsOf, type Lanes, machine } from '../schedule/support.ts';
import { runCases } from '../support/cases.ts';
import { randomGraph } from '../support/random-graph.ts';
import { nativeProblem, runNative } from '../tile/native.ts';
import { together } from '../tile/programs.ts';

const machines: readonly Lanes[] = [16, 8, 1, 'teams', 'subgroups', 'matrices', 'wide matrices'];

/** Of rows that random graphs gather. */
const integers = { ids: 2 };

type Contents = ReadonlyMap<string, Float64Array | undefined>;

/** What the driver sees after a run: every buffer but the temporaries. */
function resultsOf(program: LoopProgram, run: (contents: Map<string, Float64Array>) => void): Contents {
  const contents = contentsOf(program, integers);
  run(contents);
  return new Map(
    program.buffers.flatMap(({ name, role }) => (role === 'temporary' ? [] : [[name, contents.get(name)]])),
  );
}

const interpreted = (program: LoopProgram): Contents =>
  resultsOf(program, (contents) => void interpretLoop(program, contents));

const scheduledOn = (program: LoopProgram, lanes: Lanes): Contents =>
  resultsOf(program, (contents) => void interpretTile(planMemory(schedule(program, machine(lanes))), contents));

const twoThreads = { threads: 2, guard: true };

/** What a native run is given, by names that begin with `prefix`. */
function inputsOf({ buffers, ...program }: LoopProgram, prefix = ''): Record<string, TypedArray> {
  const contents = contentsOf({ buffers, ...program }, integers);
  const given = buffers.filter(({ role }) => role === 'batch' || role === 'scalar' || role === 'param');
  return Object.fromEntries(
    given.map(({ name, dtype }): [string, TypedArray] => {
      const array = dtype === 'i32' ? Int32Array : dtype === 'u32' ? Uint32Array : Float32Array;
      return [`${prefix}${name}`, array.from(contents.get(name) ?? [])];
    }),
  );
}

describe('write-in-place.case', () =>
  runCases(join(import.meta.dirname, 'write-in-place.case'), async (text) => {
    const before = parseLoop(text);
    const after = writeInPlace(before);
    for (const program of [before, after]) expect(verifyLoop(program)).toEqual([]);
    expect(interpreted(after)).toEqual(interpreted(before));
    // The interpreters of Tile IR object where work items or threads meet at an element that one of them writes.
    for (const lanes of machines) expect(scheduledOn(after, lanes), `on ${lanes}`).toEqual(scheduledOn(before, lanes));
    if (nativeProblem === undefined) {
      const [one, other] = [before, after].map((program) => planMemory(schedule(program, machine(8))));
      expect(verifyTile(other)).toEqual([]);
      expect(other.arena).toBeLessThanOrEqual(one.arena);
      const inputs = inputsOf(before);
      expect(await runNative(other, inputs, twoThreads)).toEqual(await runNative(one, inputs, twoThreads));
    }
    return printLoop(after);
  }));

describe('random graphs come to the same bits', () => {
  const pairs = (seed: number, options: FuseOptions): readonly LoopProgram[] => {
    const graph = randomGraph(seed, { size: 14 });
    return [false, true].map((inPlace) => fuse(graph, { ...options, inPlace }).program);
  };

  test('interpreted, and as every machine would run them', () => {
    let saved = 0;
    for (let seed = 1; seed <= 80; seed++) {
      const [before, after] = pairs(seed, { apart: seed % 2 === 0, wholeChains: seed % 3 === 0 });
      saved += before.buffers.length - after.buffers.length;
      try {
        expect(interpreted(after)).toEqual(interpreted(before));
        const lanes = machines[seed % machines.length];
        if (seed % 3 !== 0 && typeof lanes !== 'number') continue;
        expect(scheduledOn(after, lanes), `on ${lanes}`).toEqual(scheduledOn(before, lanes));
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}\n${printLoop(after)}`);
      }
    }
    expect(saved).toBeGreaterThan(80);
  });

  test.skipIf(nativeProblem !== undefined)('natively, where temporaries share memory', async () => {
    const all = Array.from({ length: 40 }, (_, seed) => pairs(seed, { apart: seed % 2 === 0 })).filter(
      ([before, after]) => before.buffers.length > after.buffers.length,
    );
    const inputs = Object.assign({}, ...all.map(([program], place) => inputsOf(program, `${place}.`)));
    const run = (which: 0 | 1) => {
      const program = together(all.map((pair) => schedule(pair[which], machine(8))));
      return runNative(program, inputs, twoThreads);
    };
    expect(await run(1)).toEqual(await run(0));
  });
});
