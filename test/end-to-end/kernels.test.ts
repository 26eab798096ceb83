/** How many kernels a training step of the benchmark's jobs has, and what they hold. */
import { describe, expect, it } from 'vitest';
import { join } from 'node:path';
import { kernelsOf } from '../../compiler/analyze/cost.ts';
import { analyze, type ProgramAnalysis } from '../../compiler/analyze/analyze.ts';
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildStep } from '../../compiler/elaborate/step.ts';
import { parseLoop } from '../../compiler/loop/parse.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { compile, type Stages } from '../../compiler/pipeline.ts';
import { capabilitiesOf } from '../../compiler/targets/llvm/features.ts';
import { parseTile } from '../../compiler/tile/parse.ts';
import { printTile } from '../../compiler/tile/text.ts';
import { jobs } from '../../bench/jobs.ts';
import { openProject } from '../../tools/driver/project.ts';

/** A machine with AVX-512, whatever this one has. */
const capabilities = capabilitiesOf({ architecture: 'x86_64', features: '+avx512f,+avx512bw,+avx512vl,+fma' }, 2);

async function compiled(name: string): Promise<Stages> {
  const { train, fields } = jobs[name];
  const path = join(import.meta.dirname, `../../bench/jobs/${name}.model`);
  const project = await openProject(path, { describe: () => ({ count: 1_000, fields }) });
  const { block, plan, data } = await project.train(train);
  return compile(buildStep(block, data.train, plan.batch, 'only', new Diagnostics()), capabilities);
}

async function analysisOf(name: string): Promise<ProgramAnalysis> {
  const { loop, tile } = await compiled(name);
  return analyze(loop, tile, capabilities);
}

describe('a training step', () => {
  it.each([
    ['mlp', 15],
    ['gpt', 120],
    ['resnet', 160],
  ])('of %s has at most %i kernels', async (name, most) => {
    const { kernels } = await analysisOf(name);
    expect(kernels.reduce((sum, { runs }) => sum + runs, 0)).toBeLessThanOrEqual(most);
  });

  it('of gpt has one kernel for the attention of a block, and one for its gradient; no tensor of scores is in memory', async () => {
    const { loop } = await compiled('gpt');
    const kernels = kernelsOf(loop.steps).map(({ kernel }) => kernel);
    const chains = kernels.filter(({ segments }) => segments.some(({ kind }) => kind === 'chain'));
    const paths = chains.flatMap(({ origins }) => [...new Set(origins.map(({ path }) => path))]);
    const blocks = [0, 1, 2, 3].map((block) => `model.blocks.${block}.attn`);
    expect(paths).toEqual([...blocks, ...blocks.toReversed()]);
    expect(loop.buffers.filter(({ shape }) => shape.join() === '16,4,128,128')).toEqual([]);
  });

  it.each(['gpt', 'resnet', 'bilstm'])('of %s reads back from its text, at every level', async (name) => {
    const { loop, tile } = await compiled(name);
    const [kernels, schedule] = [printLoop(loop), printTile(tile)];
    expect(printLoop(parseLoop(kernels))).toBe(kernels);
    expect(printTile(parseTile(schedule))).toBe(schedule);
  });

  it('of gpt updates all its parameters in one kernel', async () => {
    const { kernels } = await analysisOf('gpt');
    const updates = kernels.filter(({ cost }) => [...cost.writes.keys()].some(({ role }) => role === 'param'));
    expect(updates).toHaveLength(1);
    expect([...updates[0].cost.writes.keys()].filter(({ role }) => role === 'param').length).toBeGreaterThan(40);
  });
});
