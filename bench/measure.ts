/**
 * One measurement of Nacre in its own process: `node measure.js WHAT THREADS` prints a JSON line with the median
 * milliseconds. WHAT: peak, copy, matmul-N, softmax, layernorm, or a job of jobs.ts.
 */
export interface Measurement {
  readonly ms: number;
  /** GFLOP/s or GB/s, where that says more. */
  readonly rate?: number;
  readonly first_step_s?: number;
  readonly kernels?: number;
}

const [what = '', threads = '1'] = process.argv.slice(2);

async function measure(): Promise<Measurement> {
  const count = Number(threads);
  if (what === 'peak') return (await import('./machine.ts')).measurePeak(count);
  if (what === 'copy') return (await import('./machine.ts')).measureCopy(count);
  if (what.startsWith('matmul-') || what === 'softmax' || what === 'layernorm')
    return (await import('./kernels.ts')).measureKernel(what, count);
  return (await import('./jobs.ts')).measureJob(what, count);
}

console.log(JSON.stringify(await measure()));
