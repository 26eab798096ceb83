/**
 * Bytes of activations of a training step, from its Tile IR: temporaries whose first axis is the batch, each alive from its
 * first use to its last; the most that are alive at once.
 *
 *   nacre ir FILE --stage tile | node dist/bench/activations.js
 */
import { readFileSync } from 'node:fs';
import { parseTile } from '../compiler/tile/parse.ts';
import type { TileProgram, TileStep } from '../compiler/tile/tile.ts';
import { dtypeBytes } from '../compiler/types/dtype.ts';

/** `batch`: the first axis of the fields. */
export function activationBytes({ buffers, steps }: TileProgram): { readonly peak: number; readonly all: number } {
  const batch = buffers.find(({ role }) => role === 'batch')?.shape[0];
  const order = launches(steps);
  const spans = buffers
    .filter(({ role, shape }) => role === 'temporary' && shape[0] === batch)
    .map(({ name, dtype, shape }) => ({
      bytes: dtypeBytes[dtype] * shape.reduce((a, b) => a * b, 1),
      from: order.findIndex((used) => used.includes(name)),
      to: order.findLastIndex((used) => used.includes(name)),
    }));
  const alive = order.map((_, at) =>
    spans.reduce((sum, { bytes, from, to }) => (from <= at && at <= to ? sum + bytes : sum), 0),
  );
  return { peak: Math.max(0, ...alive), all: spans.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** The buffers of every launch, in order. */
const launches = (steps: readonly TileStep[]): (readonly string[])[] =>
  steps.flatMap((step) => (step.kind === 'launch' ? [step.buffers] : launches(step.body)));

if (process.argv[1]?.includes('activations') === true) console.log(activationBytes(parseTile(readFileSync(0, 'utf8'))));
