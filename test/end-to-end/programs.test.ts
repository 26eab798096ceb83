/**
 * Every program of every example: its text of each level reads back and goes on the same, and each pass — alone, left out, all
 * together — keeps what a step means within the tolerance it states.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildEvaluation, buildInit, buildStep } from '../../compiler/elaborate/step.ts';
import { buildCalibration, buildQuantize } from '../../compiler/elaborate/quantize.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { parseGraph } from '../../compiler/graph/parse-text.ts';
import { printGraph } from '../../compiler/graph/text.ts';
import { parseLoop } from '../../compiler/loop/parse.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { optimize } from '../../compiler/optimize/index.ts';
import { compile } from '../../compiler/pipeline.ts';
import { schedule } from '../../compiler/schedule/schedule.ts';
import { parseTile } from '../../compiler/tile/parse.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import { printTile } from '../../compiler/tile/text.ts';
import { parseSettings } from '../../tools/cli/settings.ts';
import { asTrained } from '../../tools/driver/compact.ts';
import { openProject, type RunnableTrain } from '../../tools/driver/project.ts';
import { machine } from '../schedule/support.ts';
import { describeExample } from '../support/examples.ts';
import { expectSame, ways } from '../support/passes.ts';
import { numbers } from '../support/numbers.ts';
import { draw } from '../support/samples.ts';

const examples = join(import.meta.dirname, '../../examples');

/** Widths that the interpreter has done with soon. */
const small: Readonly<Record<string, readonly string[]>> = {
  'chars.model': ['model.dim=16', 'model.depth=1', 'model.vocab=9'],
  'sequence.model': ['model.hidden=6'],
};

async function open(file: string, name: string, settings: readonly string[] = []): Promise<RunnableTrain> {
  const project = await openProject(join(examples, file), {
    describe: (plan) => describeExample(plan, 12),
    overrides: parseSettings(settings),
  });
  return asTrained(await project.train(name));
}

const blocks = await Promise.all(
  readdirSync(examples)
    .filter((file) => file.endsWith('.model'))
    .map(async (file) => (await openProject(join(examples, file))).trains.map((name) => [file, name] as const)),
);

/** All programs of a train block, on batches of this size. */
function programsOf({ block, plan, data }: RunnableTrain, batch: number): Graph[] {
  const diagnostics = new Diagnostics();
  return [
    buildInit(block, diagnostics),
    buildStep(block, data.train, batch, 'only', diagnostics),
    ...(plan.quantization === undefined
      ? []
      : [buildQuantize(block), buildCalibration(block, data.train, batch, diagnostics)]),
    ...plan.evaluations.map((_, at) => buildEvaluation(block, at, data.evaluations[at], batch, diagnostics)),
  ];
}

/** Weights of both signs, and states as they come to be: positive ones, so that roots of them are numbers. */
function inputsOf(graph: Graph): Map<string, Tensor> {
  const next = numbers(7);
  return new Map(
    graph.inputs.map(({ name, role, value }) => [
      name,
      draw(value.type, next, { range: role === 'state' ? [0.05, 1] : [-0.3, 0.3], integers: [0, 8] }),
    ]),
  );
}

describe.each(blocks.flat())('%s %s', (file, name) => {
  it('reads back from the text of every level', async () => {
    const runnable = await open(file, name);
    for (const graph of programsOf(runnable, runnable.plan.batch)) {
      const { optimized, loop, tile } = compile(graph, machine(16));
      const text = printGraph(optimized, { origins: false });
      expect(printGraph(parseGraph(text), { origins: false })).toBe(text);
      const readLoop = parseLoop(printLoop(loop));
      expect(printLoop(readLoop)).toBe(printLoop(loop));
      expect(printTile(planMemory(schedule(readLoop, machine(16))))).toBe(printTile(tile));
      expect(printTile(parseTile(printTile(tile)))).toBe(printTile(tile));
    }
  });

  it('means the same whichever passes run', async () => {
    const runnable = await open(file, name, small[file]);
    for (const graph of programsOf(runnable, 1)) {
      const inputs = inputsOf(graph);
      const run = (of: Graph) => interpretGraph(of, inputs, { precision: 'as-written' });
      const expected = run(graph);
      for (const { data } of expected.values()) expect(data.some(Number.isNaN)).toBe(false);
      const seen = new Map<string, ReturnType<typeof run>>();
      for (const { name: way, options, tolerance } of ways) {
        const after = optimize(graph, { ...options, verify: true });
        // Most passes have nothing to do on most graphs.
        const text = printGraph(after, { origins: false });
        const results = seen.get(text) ?? run(after);
        seen.set(text, results);
        expectSame(expected, results, tolerance, () => `${graph.name} ${way}`);
      }
    }
  });
});
