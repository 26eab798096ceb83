/** How many kernels a training step of the benchmark's jobs has, and what they hold. */
import { describe, expect, it } from 'vitest';
import { join } from 'node:path';
import { analyze, type ProgramAnalysis } from '../../compiler/analyze/analyze.ts';
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildStep } from '../../compiler/elaborate/step.ts';
import { compile } from '../../compiler/pipeline.ts';
import { capabilitiesOf } from '../../compiler/targets/llvm/features.ts';
import { jobs } from '../../bench/jobs.ts';
import { openProject } from '../../tools/driver/project.ts';

/** A machine with AVX-512, whatever this one has. */
const capabilities = capabilitiesOf({ architecture: 'x86_64', features: '+avx512f,+avx512bw,+avx512vl,+fma' }, 2);

async function analysisOf(name: string): Promise<ProgramAnalysis> {
  const { train, fields } = jobs[name];
  const path = join(import.meta.dirname, `../../bench/jobs/${name}.model`);
  const project = await openProject(path, { describe: () => ({ count: 1_000, fields }) });
  const { block, plan, data } = await project.train(train);
  const { loop, tile } = compile(buildStep(block, data.train, plan.batch, 'only', new Diagnostics()), capabilities);
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

  it('of gpt updates all its parameters in one kernel', async () => {
    const { kernels } = await analysisOf('gpt');
    const updates = kernels.filter(({ cost }) => [...cost.writes.keys()].some(({ role }) => role === 'param'));
    expect(updates).toHaveLength(1);
    expect([...updates[0].cost.writes.keys()].filter(({ role }) => role === 'param').length).toBeGreaterThan(40);
  });
});
