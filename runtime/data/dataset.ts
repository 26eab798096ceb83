/** Batches of a data plan, in order, from any point of any epoch. */
import { elementCount } from '../../common/elements.ts';
import { UserError } from '../errors.ts';
import type { Files } from '../files.ts';
import { elementBytes, type DataPlan, type TypedArray } from '../program.ts';
import { loadSharedSource, loadSource, sourceOf } from './load.ts';
import { orderSamples } from './order.ts';
import { prefetchScript, startPrefetch, type Prefetch } from './prefetch.ts';
import { allocate, gather, type Column, type DataDescription } from './source.ts';

/** Samples side by side. The arrays are filled again two batches later. */
export interface Batch {
  /** Position within the epoch, from 0. */
  readonly index: number;
  readonly size: number;
  readonly fields: ReadonlyMap<string, TypedArray>;
}

export interface Dataset {
  readonly description: DataDescription;
  readonly batchesPerEpoch: number;
  /** How large they are: see `batchSizes`. */
  readonly sizes: readonly number[];
  /** Whether a worker thread assembles the batches. */
  readonly prefetching: boolean;
  /** The batches of an epoch, from batch `from` on; the same ones whenever asked. One iteration at a time. */
  batches(epoch: number, from?: number): AsyncGenerator<Batch, void>;
  close(): Promise<void>;
}

export interface DatasetOptions {
  /** Samples in a batch where the plan has no `batch` stage. */
  readonly batch?: number;
  /** Batches assembled by a worker thread: always, never, or (default) where they are large enough to gain from it. */
  readonly prefetch?: boolean;
}

/**
 * Bytes of a batch from which a worker thread pays: gathering 1 MiB costs about 0.3 ms in this thread, the messages to and
 * from a worker 0.05 ms, and a small batch 0.02 ms (EPYC, two cores, Node 20, November 2026).
 */
const worthAWorker = 2 ** 20;

/** How large the batches of an epoch are: all alike but perhaps the last. */
export function batchSizes(plan: DataPlan, count: number, batch: number): readonly number[] {
  const size = Math.min(batch, count);
  const rest = count % size;
  return rest === 0 || (plan.kind === 'batch' && plan.last === 'drop') ? [size] : [size, rest];
}

/** Opens the samples of a plan, reading its files. */
export async function openData(plan: DataPlan, files: Files, options: DatasetOptions = {}): Promise<Dataset> {
  for (let stage = plan; 'of' in stage; stage = stage.of) {
    if (stage.of.kind === 'batch') {
      throw new UserError('data-batch', `batch has to be the last stage of the data; a ${stage.kind} comes after it.`);
    }
  }
  let source = await loadSource(sourceOf(plan), files);
  const order = orderSamples(plan, source.description.count);
  const size = plan.kind === 'batch' ? plan.size : options.batch;
  if (size === undefined || !Number.isInteger(size) || size < 1) {
    throw new UserError(
      'data-batch',
      `A batch has a whole number of samples, at least 1${size === undefined ? '' : `; not ${size}`}.`,
    );
  }
  if (order.count === 0) throw new UserError('data-empty', 'The data set has no samples.');
  const drop = plan.kind === 'batch' && plan.last === 'drop';
  const batchesPerEpoch = drop ? Math.floor(order.count / size) : Math.ceil(order.count / size);
  if (batchesPerEpoch === 0) {
    throw new UserError(
      'data-batch',
      `The data set has ${order.count} samples, fewer than one batch of ${size}, and smaller batches are dropped.`,
    );
  }
  const capacity = Math.min(size, order.count);
  const bytes = batchBytes(source.columns, capacity);
  const wanted = options.prefetch ?? bytes >= worthAWorker;
  const script = wanted ? prefetchScript() : undefined;
  if (script !== undefined) source = await loadSharedSource(sourceOf(plan), files);
  const { columns, description } = source;
  const prefetch = script === undefined ? undefined : startPrefetch(script, columns, capacity);
  const slots = prefetch?.slots ?? [0, 1].map(() => allocateSlot(columns, capacity));

  async function* batches(epoch: number, from = 0): AsyncGenerator<Batch, void> {
    const sampleAt = order.inEpoch(epoch);
    const samplesOf = (index: number): Uint32Array => {
      const start = index * capacity;
      const samples = new Uint32Array(Math.min(capacity, order.count - start));
      for (let k = 0; k < samples.length; k++) samples[k] = sampleAt(start + k);
      return samples;
    };
    if (prefetch !== undefined) yield* fromWorker(prefetch, columns, samplesOf, from, batchesPerEpoch);
    else yield* fromHere(slots, columns, samplesOf, from, batchesPerEpoch);
  }

  return {
    description: { ...description, count: order.count },
    batchesPerEpoch,
    sizes: batchSizes(plan, order.count, size),
    prefetching: prefetch !== undefined,
    batches,
    close: async () => {
      await prefetch?.close();
    },
  };
}

type Slot = readonly TypedArray[];

const allocateSlot = (columns: readonly Column[], capacity: number): Slot =>
  columns.map(({ field }) => allocate(field.dtype, capacity * elementCount(field.shape)));

const batchBytes = (columns: readonly Column[], capacity: number): number =>
  columns.reduce((sum, { field }) => sum + capacity * elementCount(field.shape) * elementBytes[field.dtype], 0);

/** The part of a slot that `size` samples fill, by field name. */
function fieldsOf(columns: readonly Column[], slot: Slot, size: number): Map<string, TypedArray> {
  return new Map(
    columns.map(({ field }, c) => {
      const elements = size * elementCount(field.shape);
      return [field.name, slot[c].length === elements ? slot[c] : slot[c].subarray(0, elements)];
    }),
  );
}

async function* fromHere(
  slots: readonly Slot[],
  columns: readonly Column[],
  samplesOf: (index: number) => Uint32Array,
  from: number,
  end: number,
): AsyncGenerator<Batch, void> {
  for (let index = from; index < end; index++) {
    const slot = slots[index % slots.length];
    const samples = samplesOf(index);
    columns.forEach((column, c) => gather(column, samples, slot[c]));
    yield { index, size: samples.length, fields: fieldsOf(columns, slot, samples.length) };
  }
}

async function* fromWorker(
  prefetch: Prefetch,
  columns: readonly Column[],
  samplesOf: (index: number) => Uint32Array,
  from: number,
  end: number,
): AsyncGenerator<Batch, void> {
  const { slots } = prefetch;
  const pending: Promise<number>[] = [];
  let asked = from;
  try {
    for (let index = from; index < end; index++) {
      // The batch in the consumer's hands keeps its slot; all other slots are being filled.
      while (asked < end && asked < index + slots.length - 1) {
        pending.push(prefetch.fill(asked % slots.length, samplesOf(asked)));
        asked++;
      }
      const size = (await pending.shift()) ?? 0;
      yield { index, size, fields: fieldsOf(columns, slots[index % slots.length], size) };
    }
  } finally {
    // Whoever stops early must not find the worker still writing into the slots of the next iteration.
    await Promise.all(pending);
  }
}
