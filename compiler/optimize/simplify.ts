/**
 * Applies the laws of arithmetic, movement and sums wherever they hold.
 *
 *   before   %3[i, j]: f32[64, 128] = %2[j]              after   %4[j]: f32[128] = reduce.sum(%9, axes: [0])
 *            %4[j]: f32[128] = sum[k: 64] %9[k, j]
 *
 * Needs gradients to be taken (detach disappears). Leaves dead nodes behind. Rounding changes only where a law of sums
 * says so: a sum of products that becomes a contraction no longer rounds the products.
 */
import type { Graph } from '../graph/graph.ts';
import { copyNode, rebuild } from '../graph/rewrite.ts';
import { createBuilder } from '../ops/builder.ts';
import { obeying } from './law.ts';
import type { Law } from './law.ts';
import { arithmeticLaws } from './laws/arithmetic.ts';
import { castLaws } from './laws/casts.ts';
import { movementLaws } from './laws/movement.ts';
import { sumLaws } from './laws/sums.ts';
import type { Pass } from './pass.ts';

export const laws: readonly Law[] = [...arithmeticLaws, ...castLaws, ...movementLaws, ...sumLaws];

export const simplify: Pass = {
  name: 'simplify',
  doc: 'Applies the laws of arithmetic, views and sums.',
  tolerance: 1e-4,
  run: (graph: Graph) =>
    rebuild(
      graph,
      createBuilder(graph.name, obeying(laws)),
      (node, values, build) => void copyNode(build, node, values),
    ),
};
