/** Which sample comes when: slices, takes and shuffles as functions from position to sample number. */
import { UserError } from '../errors.ts';
import { permutation } from '../philox.ts';
import type { DataPlan } from '../program.ts';

export interface Order {
  readonly count: number;
  /** The sample at each position of an epoch. */
  inEpoch(epoch: number): (position: number) => number;
}

const longestShuffle = 2 ** 28;

/** The order a plan gives the `available` samples of its source. */
export function orderSamples(plan: DataPlan, available: number): Order {
  switch (plan.kind) {
    case 'slice': {
      const inner = orderSamples(plan.of, available);
      // 0.29 · 100 is a hair below 29 in binary; a part of 29 % means 29.
      const at = (fraction: number): number => Math.floor(fraction * inner.count + 1e-9);
      return part(inner, at(plan.start), at(plan.end));
    }
    case 'take': {
      const inner = orderSamples(plan.of, available);
      return part(inner, 0, Math.min(plan.count, inner.count));
    }
    case 'shuffle':
      return shuffled(orderSamples(plan.of, available), plan.seed);
    case 'batch':
      return orderSamples(plan.of, available);
    default:
      return { count: available, inEpoch: () => (position) => position };
  }
}

function part(inner: Order, start: number, end: number): Order {
  // A split must stay the same split in every epoch, or what was held out would be trained on.
  const place = inner.inEpoch(0);
  return { count: Math.max(0, end - start), inEpoch: () => (position) => place(start + position) };
}

function shuffled(inner: Order, seed: number): Order {
  let latest: { readonly epoch: number; readonly order: Uint32Array } | undefined;
  return {
    count: inner.count,
    inEpoch(epoch) {
      if (inner.count > longestShuffle) {
        throw new UserError(
          'data-shuffle',
          `A shuffle of ${inner.count} samples would need too much memory; the limit is ${longestShuffle}.`,
        );
      }
      const place = inner.inEpoch(epoch);
      if (latest?.epoch !== epoch) latest = { epoch, order: permutation(inner.count, seed, epoch) };
      const { order } = latest;
      return (position) => place(order[position]);
    },
  };
}
