/**
 * `npm run bench:js -- DIR [--rounds N]`: the wasm target beside jax-js, the fastest of the JavaScript peers, in turn. DIR is a copy
 * of ../shared/peers/js in which `npm install --ignore-scripts` was run. Prints medians and ratios (its time / ours).
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from './time.ts';

const { values: flags, positionals } = parseArgs({
  options: { rounds: { type: 'string', default: '3' } },
  allowPositionals: true,
});
const [folder = ''] = positionals;
const measure = fileURLToPath(new URL('./measure.js', import.meta.url));

/** Our job, and what jax-js calls it. */
const jobs = [
  ['mlp', 'mlp'],
  ['gpt-small', 'gpt'],
  ['matmul-1024', 'matmul'],
] as const;

const ours = (job: string, threads: number): number =>
  JSON.parse(execFileSync(process.execPath, [measure, job, String(threads), 'wasm'], { encoding: 'utf8' })).ms;

/** Milliseconds; it reports steps or GFLOP a second. */
function theirs(job: string): number {
  const text = execFileSync(process.execPath, ['jaxjs_node.mjs', job, 'wasm'], { cwd: folder, encoding: 'utf8' });
  const { median: rate, error } = JSON.parse(text);
  if (error !== undefined) throw new Error(`jax-js: ${error}`);
  return job === 'matmul' ? (2 * 1024 ** 3) / rate / 1e6 : 1000 / rate;
}

console.log('job          threads  ours, ms  jax-js, ms  ratio');
for (const [job, peer] of jobs) {
  const times = { one: [] as number[], two: [] as number[], peer: [] as number[] };
  for (let round = 0; round < Number(flags.rounds); round++) {
    times.one.push(ours(job, 1));
    times.peer.push(theirs(peer));
    times.two.push(ours(job, 2));
  }
  for (const [threads, own] of [
    [1, times.one],
    [2, times.two],
  ] as const) {
    const [mine, other] = [median(own), median(times.peer)];
    const cells = [mine.toFixed(2).padStart(8), other.toFixed(2).padStart(10), (other / mine).toFixed(2).padStart(5)];
    console.log(`${job.padEnd(12)} ${String(threads).padStart(7)}  ${cells.join('  ')}`);
  }
}
