/** Whole training steps: fused, scheduled, and compared with the Loop interpreter; the same bits on any number of threads. */
import { describe, expect, test } from 'vitest';
import { fuse } from '../../compiler/fuse/fuse.ts';
import { parseLoop } from '../../compiler/loop/parse.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { schedule } from '../../compiler/schedule/schedule.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import { mlp } from '../fuse/networks.ts';
import { networks } from '../support/networks.ts';
import { randomGraph } from '../support/random-graph.ts';
import { loadNative, nativeProblem } from '../tile/native.ts';
import { contentsOf, expectScheduledProgram, machine } from './support.ts';

test.each([
  [4, [6, 5, 4, 3]],
  [17, [33, 20, 3]],
  [64, [40, 48, 10]],
])('a perceptron with Adam: batch %i, widths %j', (batch, widths) => {
  expectScheduledProgram(fuse(mlp(batch, widths)).program, { tolerance: 1e-3, integers: { y: 3, step: 5 } });
});

test.each(Object.entries(networks))('a step of %s', (_, build) => {
  expectScheduledProgram(fuse(build()).program, { lanes: [16, 4, 'teams', 'subgroups'], tolerance: 2e-3 });
});

test('random graphs with their gradients', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const { program } = fuse(randomGraph(seed));
    try {
      expectScheduledProgram(program, {
        lanes: [seed % 2 === 0 ? 16 : 8, 1, seed % 2 === 0 ? 'teams' : 'subgroups'],
        tolerance: 2e-3,
      });
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}\n${printLoop(program)}`);
    }
  }
});

/** Reductions that are cut, long sums, a softmax: whatever could depend on who computes what. */
const mixed = `program mixed {
  buffer %x: f32[70, 1300] batch
  buffer %w: f32[1300, 90] batch
  buffer %y: f32[70, 90] result
  buffer %p: f32[70, 90] result
  buffer %s: f32[] result
  buffer %c: f32[1300] result
  kernel k0 { contraction for i in 70, j in 90 sum k in 1300 {
    s: f32 = %x[i, k] . %w[k, j]
    %y[i, j] = tanh(s)
  } }
  kernel k1 { region for i in 70 {
    reduce for k in 90 { m: f32 = max %y[i, k] }
    reduce for k in 90 { s: f32 = sum exp(%y[i, k] - m) }
    store for j in 90 { %p[i, j] = exp(%y[i, j] - m) / s }
  } }
  kernel k2 { region {
    reduce for k in 70, j in 1300 { s: f32 = sum exp(%x[k, j]) }
    store { %s[] = s }
  } }
  kernel k3 { region for j in 1300 {
    reduce for i in 70 { s: f32 = sum %x[i, j] }
    store { %c[j] = s }
  } }
}`;

describe.skipIf(nativeProblem !== undefined)('natively', () => {
  test('one, two and five threads give the same bits, close to the interpreter', async () => {
    const program = parseLoop(mixed);
    const contents = contentsOf(program);
    const inputs = new Map(
      program.buffers
        .filter(({ role }) => role === 'batch')
        .map(({ name }) => [name, Float32Array.from(contents.get(name) ?? [])]),
    );
    const runs = [];
    for (const threads of [1, 2, 5]) {
      const { session, executable } = await loadNative(
        planMemory(schedule(program, { ...machine(8), units: threads })),
        { threads, guard: true, apart: threads === 2 },
      );
      runs.push(await executable.run(inputs));
      session.close();
    }
    for (const run of runs.slice(1)) for (const [name, data] of run) expect(data, name).toEqual(runs[0].get(name));
    let total = 0;
    inputs.get('x')?.forEach((value) => (total += Math.exp(value)));
    expect(runs[0].get('s')?.[0]).toBeCloseTo(total, 0);
  });
});
