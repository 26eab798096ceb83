/**
 * `node dist/bench/passes.js [JOB…] [--threads N]`: what each pass of the compiler is worth. The jobs' training steps with one pass
 * left out at a time: kernels, bytes read and written, the arena, milliseconds.
 */
import { parseArgs } from 'node:util';
import { analyze } from '../compiler/analyze/analyze.ts';
import { Diagnostics } from '../compiler/base/diagnostics.ts';
import { buildStep } from '../compiler/elaborate/step.ts';
import { passes } from '../compiler/optimize/index.ts';
import { compile } from '../compiler/pipeline.ts';
import { hostCapabilities } from '../tools/driver/machine.ts';
import { measureJob, openJob } from './jobs.ts';

const { values, positionals } = parseArgs({
  options: { threads: { type: 'string', default: '2' } },
  allowPositionals: true,
});
const threads = Number(values.threads);
const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(bytes < 2 ** 20 ? 2 : 1);

console.log('| job | left out | kernels | MiB moved | arena, MiB | ms |\n|---|---|---|---|---|---|');
for (const job of positionals.length > 0 ? positionals : ['mlp', 'gpt', 'resnet']) {
  const { block, plan, data } = await openJob(job);
  const capabilities = await hostCapabilities(threads);
  const graph = buildStep(block, data.train, plan.batch, 'only', new Diagnostics());
  // A pass that is not asked for anything does nothing.
  const working = passes.filter((pass) => pass.run(graph) !== graph);
  for (const without of [[], ...working.map(({ name }) => [name])]) {
    const { loop, tile } = compile(graph, capabilities, { without });
    const { kernels, traffic } = analyze(loop, tile, capabilities);
    const { ms } = await measureJob(job, threads, without);
    const cells = [
      job,
      without.join() || '–',
      kernels.length,
      mebibytes(traffic),
      mebibytes(tile.arena),
      ms.toFixed(2),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}
