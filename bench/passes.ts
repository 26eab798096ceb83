/**
 * `node dist/bench/passes.js [JOB…] [--threads N] [--rounds N]`: what each pass of the compiler is worth. The jobs' training steps with one pass
 * left out at a time: kernels, bytes read and written, the arena, and the time as a multiple of what it is with all of them
 * (`--rounds 0`: not measured).
 */
import { parseArgs } from 'node:util';
import { analyze } from '../compiler/analyze/analyze.ts';
import { Diagnostics } from '../compiler/base/diagnostics.ts';
import { buildStep } from '../compiler/elaborate/step.ts';
import type { Graph } from '../compiler/graph/graph.ts';
import { printGraph } from '../compiler/graph/text.ts';
import { optimize } from '../compiler/optimize/index.ts';
import { compile, passesLeft } from '../compiler/pipeline.ts';
import { hostCapabilities } from '../tools/driver/host.ts';
import { measureJob, openJob } from './jobs.ts';

const { values, positionals } = parseArgs({
  options: { threads: { type: 'string', default: '2' }, rounds: { type: 'string', default: '3' } },
  allowPositionals: true,
});
const threads = Number(values.threads);
const rounds = Number(values.rounds);
const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(bytes < 2 ** 20 ? 2 : 1);

/** The graph without the numbers of its values, which every pass gives anew. */
const outline = (graph: Graph): string => printGraph(graph, { origins: false }).replace(/%\d+/g, '%');

/** Passes that change this graph where they stand. */
function working(graph: Graph, without: readonly string[]): string[] {
  const names: string[] = [];
  optimize(graph, {
    without,
    observe({ name }, before, after) {
      if (outline(before) !== outline(after)) names.push(name);
    },
  });
  return names;
}

console.log('| job | left out | kernels | MiB moved | arena, MiB | time |\n|---|---|---|---|---|---|');
for (const job of positionals.length > 0 ? positionals : ['mlp', 'gpt', 'resnet', 'bilstm']) {
  const { block, plan, data } = await openJob(job);
  const capabilities = await hostCapabilities(threads);
  const graph = buildStep(block, data.train, plan.batch, 'only', new Diagnostics());
  const row = (left: string, without: readonly string[], time: string): void => {
    const { loop, tile } = compile(graph, capabilities, { without });
    const { kernels, traffic } = analyze(loop, tile, capabilities);
    const cells = [job, left, kernels.length, mebibytes(traffic), mebibytes(tile.arena), time];
    console.log(`| ${cells.join(' | ')} |`);
  };
  row('–', [], rounds === 0 ? '' : '1');
  for (const name of [...working(graph, passesLeft(capabilities)), 'fuse']) {
    // In turn, so that what else the machine does falls on both.
    const times = { with: Infinity, without: Infinity };
    for (let round = 0; round < rounds; round++) {
      times.with = Math.min(times.with, (await measureJob(job, threads)).ms);
      times.without = Math.min(times.without, (await measureJob(job, threads, { without: [name] })).ms);
    }
    row(name, [name], rounds === 0 ? '' : `${(times.without / times.with).toFixed(2)}×`);
  }
}
