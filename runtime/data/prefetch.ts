/** A worker thread that puts batches together ahead of the training thread, in memory that both see. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { elementCount } from '../../common/elements.ts';
import type { TypedArray } from '../program.ts';
import { allocateShared, gather, type Column } from './source.ts';

export interface Prefetch {
  /** Three batches: one in use, two being prepared. */
  readonly slots: readonly (readonly TypedArray[])[];
  /** Fills a slot with these samples; resolves to their number once it is done. */
  fill(slot: number, samples: Uint32Array): Promise<number>;
  close(): Promise<void>;
}

/** What the worker is started with, and what it is asked. */
export interface PrefetchStart {
  readonly columns: readonly Column[];
  readonly slots: readonly (readonly TypedArray[])[];
}
export interface PrefetchRequest {
  readonly slot: number;
  readonly samples: Uint32Array;
}

const slotCount = 3;

/** Starts a worker over columns that it can read (see `shareColumns`). */
export function startPrefetch(script: URL, columns: readonly Column[], capacity: number): Prefetch {
  const slots = Array.from({ length: slotCount }, () =>
    columns.map(({ field }) => allocateShared(field.dtype, capacity * elementCount(field.shape))),
  );
  const start: PrefetchStart = { columns, slots };
  const worker = new Worker(script, { workerData: start });
  // Requests are answered in the order they were made.
  const waiting: { readonly request: PrefetchRequest; readonly done: (count: number) => void }[] = [];
  let lost = false;
  const fillHere = ({ slot, samples }: PrefetchRequest): void =>
    columns.forEach((column, c) => gather(column, samples, slots[slot][c]));
  worker.on('message', () => {
    const first = waiting.shift();
    first?.done(first.request.samples.length);
  });
  // A worker that dies (memory, most likely) costs speed, not the run: what it owed is done here.
  const takeOver = (): void => {
    lost = true;
    for (const { request, done } of waiting.splice(0)) {
      fillHere(request);
      done(request.samples.length);
    }
  };
  worker.on('error', takeOver);
  worker.on('exit', takeOver);
  return {
    slots,
    fill(slot, samples) {
      const request: PrefetchRequest = { slot, samples };
      if (lost) {
        fillHere(request);
        return Promise.resolve(samples.length);
      }
      return new Promise((done) => {
        waiting.push({ request, done });
        worker.postMessage(request);
      });
    },
    async close() {
      await worker.terminate();
    },
  };
}

/**
 * The worker's script. Node runs only compiled files, so from TypeScript sources the build beside them is used; undefined
 * where neither is there, and batches are then made in the training thread.
 */
export function prefetchScript(): URL | undefined {
  const file = import.meta.url.endsWith('.ts')
    ? new URL('../../dist/runtime/data/prefetch-worker.js', import.meta.url)
    : new URL('prefetch-worker.js', import.meta.url);
  return existsSync(fileURLToPath(file)) ? file : undefined;
}
