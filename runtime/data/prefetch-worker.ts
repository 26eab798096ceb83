/** The worker's side of prefetch.ts: fills the slots it is told to. */
import { parentPort, workerData } from 'node:worker_threads';
import type { PrefetchRequest, PrefetchStart } from './prefetch.ts';
import { gather } from './source.ts';

const { columns, slots }: PrefetchStart = workerData;

parentPort?.on('message', ({ slot, samples }: PrefetchRequest) => {
  columns.forEach((column, c) => gather(column, samples, slots[slot][c]));
  parentPort?.postMessage(slot);
});
