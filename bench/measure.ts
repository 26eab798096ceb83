/**
 * One measurement of Nacre in its own process: `node measure.js WHAT THREADS [TARGET]` prints a JSON line with the median
 * milliseconds. WHAT: peak, copy, matmul-N, matmul-N-bf16 (f16, tf32; -mma after it: without wgmma), softmax, layernorm, or a job of jobs.ts; TARGET: cpu, if not said.
 */
import { targetNames } from '../tools/driver/targets/index.ts';

export interface Measurement {
  readonly ms: number;
  /** GFLOP/s or GB/s, where that says more. */
  readonly rate?: number;
  readonly first_step_s?: number;
  /** On a device that queues: of a step that is begun before the results of the one before are there. */
  readonly queued_ms?: number;
  readonly kernels?: number;
}

const [what = '', threads = '1', target] = process.argv.slice(2);
const on = targetNames.find((one) => one === target) ?? 'cpu';

async function measure(): Promise<Measurement> {
  const count = Number(threads);
  if (what === 'peak') return (await import('./machine.ts')).measurePeak(count);
  if (what === 'copy') return (await import('./machine.ts')).measureCopy(count);
  if (what.startsWith('matmul-') || what === 'softmax' || what === 'layernorm')
    return (await import('./kernels.ts')).measureKernel(what, count, on);
  return (await import('./jobs.ts')).measureJob(what, count, { target: on });
}

console.log(JSON.stringify(await measure()));
