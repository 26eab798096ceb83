/**
 * `npm run bench [-- --json] [--rounds N] [--threads 1,2] [--only REGEX] [--no-torch] [--peers DIR]`
 *
 * Runs Nacre and PyTorch in turn, each measurement in a fresh process of this one's tree, several rounds, and prints medians
 * and ratios (peer's time / ours: above 1 we are faster). The jobs' PyTorch side is torch_jobs.py in the peers' folder.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import type { Measurement } from './measure.ts';
import { median } from './time.ts';

const execute = promisify(execFile);

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: '1,2' },
    only: { type: 'string', default: '.' },
    'no-torch': { type: 'boolean', default: false },
    peers: { type: 'string', default: '../shared/peers' },
  },
});

const kernels = ['matmul-256', 'matmul-512', 'matmul-1024', 'matmul-2048', 'softmax', 'layernorm'];
const jobs = ['mlp', 'mlp-wide', 'gpt', 'bilstm', 'resnet'];
/** Jobs that only we do: what they are worth is seen beside those of the same file. */
const ownJobs = ['gpt-checkpoint'];
const machine = ['peak', 'copy'];

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const kernelsScript = here('../../bench/torch_kernels.py');
const jobsScript = `${flags.peers}/torch_jobs.py`;

interface Row {
  readonly job: string;
  readonly peer: string | null;
  readonly mode: 'eager' | 'compile' | null;
  readonly threads: number;
  readonly ms: number;
  readonly peer_ms: number | null;
  /** Peer's median over ours. */
  readonly ratio: number | null;
  /** GFLOP/s or GB/s. */
  readonly rate: number | null;
  readonly first_step_s: number | null;
}

async function ours(job: string, threads: number): Promise<Measurement> {
  const { stdout } = await execute(process.execPath, [here('./measure.js'), job, String(threads)]);
  return JSON.parse(stdout);
}

async function torch(job: string, threads: number, mode: string): Promise<{ ms: number; peer: string }> {
  const isJob = jobs.includes(job);
  const command = isJob
    ? [jobsScript, job, '--threads', String(threads), '--mode', mode, '--steps', job.startsWith('gpt') ? '8' : '30']
    : [kernelsScript, job, String(threads), mode];
  const { stdout } = await execute('python3', command, { maxBuffer: 2 ** 26 });
  const line = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  return { ms: line.ms ?? line.ms_per_step, peer: line.peer };
}

async function findTorch(): Promise<boolean> {
  if (flags['no-torch']) return false;
  try {
    await execute('python3', ['-c', 'import torch']);
    return true;
  } catch {
    return false;
  }
}

function print(row: Row): void {
  if (flags.json) return console.log(JSON.stringify(row));
  const cell = (text: string, width: number): string => text.padStart(width);
  const rate =
    row.rate === null
      ? ''
      : `${row.rate.toFixed(1)} ${row.job === 'peak' || row.job.startsWith('matmul') ? 'GFLOP/s' : 'GB/s'}`;
  console.log(
    [
      row.job.padEnd(12),
      cell(String(row.threads), 3),
      cell(`${row.ms.toFixed(2)} ms`, 12),
      cell(rate, 16),
      row.peer === null
        ? ''
        : `${cell(`${row.peer} ${row.mode}`, 26)} ${cell(`${row.peer_ms?.toFixed(2)} ms`, 12)} ${cell(`${row.ratio?.toFixed(2)}×`, 8)}`,
      row.first_step_s === null ? '' : ` first step ${row.first_step_s.toFixed(1)} s`,
    ].join(' '),
  );
}

const hasTorch = await findTorch();
if (!hasTorch && !flags['no-torch'])
  console.error('PyTorch was not found (pip install torch==2.13.0 numpy): only Nacre is measured.');
if (hasTorch && !existsSync(jobsScript))
  console.error(`${jobsScript} was not found (--peers DIR): jobs are measured without their peer.`);

for (const threads of flags.threads.split(',').map(Number)) {
  for (const job of [...machine, ...kernels, ...jobs, ...ownJobs].filter((name) => new RegExp(flags.only).test(name))) {
    const modes =
      !hasTorch || machine.includes(job) || ownJobs.includes(job) || (jobs.includes(job) && !existsSync(jobsScript))
        ? []
        : job.startsWith('matmul')
          ? (['eager'] as const)
          : (['eager', 'compile'] as const);
    const own: Measurement[] = [];
    const peers = new Map(modes.map((mode) => [mode, [] as { ms: number; peer: string }[]]));
    for (let round = 0; round < Number(flags.rounds); round++) {
      own.push(await ours(job, threads));
      for (const [mode, times] of peers) times.push(await torch(job, threads, mode));
    }
    const ms = median(own.map((measured) => measured.ms));
    const rates = own.flatMap(({ rate }) => (rate === undefined ? [] : [rate]));
    const firsts = own.flatMap(({ first_step_s: first }) => (first === undefined ? [] : [first]));
    const common = {
      job,
      threads,
      ms,
      rate: rates.length === 0 ? null : median(rates),
      first_step_s: firsts.length === 0 ? null : median(firsts),
    };
    if (peers.size === 0) print({ ...common, peer: null, mode: null, peer_ms: null, ratio: null });
    for (const [mode, times] of peers) {
      const peer_ms = median(times.map((time) => time.ms));
      print({ ...common, peer: times[0].peer, mode, peer_ms, ratio: peer_ms / ms });
    }
  }
}
