/**
 * Where the largest temporary of a program comes from. Its name is of the compiler's own making and leads nowhere in the file, and it is
 * what a device that has no room speaks of.
 */
import { showPlace } from '../base/source.ts';
import type { Kernel, LoopProgram } from '../loop/loop.ts';
import { bytesOf } from '../tile/plan-memory.ts';
import type { TileBuffer, TileProgram } from '../tile/tile.ts';
import { costOf, kernelsOf } from './cost.ts';
import { layerOf } from './layer.ts';

/** The program with the `source` of its largest temporary. `smallest`: bytes that an element takes at least. */
export function explainLargest(tile: TileProgram, loop: LoopProgram, smallest: number): TileProgram {
  const temporaries = tile.buffers.filter(({ role }) => role === 'temporary');
  if (temporaries.length === 0) return tile;
  const largest = temporaries.reduce((most, one) => (bytesOf(one, smallest) > bytesOf(most, smallest) ? one : most));
  const writer = kernelsOf(loop.steps).find(({ kernel }) => writes(kernel, largest));
  if (writer === undefined) return tile;
  const source = sourceOf(writer.kernel);
  return { ...tile, buffers: tile.buffers.map((buffer) => (buffer === largest ? { ...buffer, source } : buffer)) };
}

const writes = ({ segments }: Kernel, { name }: TileBuffer): boolean =>
  [...costOf(segments).writes.keys()].some((buffer) => buffer.name === name);

function sourceOf(kernel: Kernel): string {
  const layer = layerOf(kernel);
  const span = kernel.origins.find(({ span, path = '' }) => span !== undefined && path === layer)?.span;
  const what = layer === '' ? 'is computed' : `${layer === 'optimizer' ? 'the optimizer' : layer} computes`;
  return `what ${what}${span === undefined ? '' : ` at ${showPlace(span)}`}`;
}
