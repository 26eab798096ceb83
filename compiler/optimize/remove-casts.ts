/**
 * Drops casts that cancel exactly: bf16 → f32 → bf16 is nothing, f32 → bf16 → f32 is a rounding and stays.
 *
 *   before   %1: bf16[8] = cast(%0)                        after   %1: bf16[8] = cast(%0)
 *            %2: f32[8] = cast(%1)                                  result y = %1
 *            %3: bf16[8] = cast(%2)
 *            result y = %3
 *
 * Exact. What insert-casts leaves where one product reads what another wrote.
 */
import { copyNode, nodesBehind, rebuild } from '../graph/rewrite.ts';
import { createBuilder } from '../ops/builder.ts';
import { obeying } from './law.ts';
import { castLaws } from './laws/casts.ts';
import type { Pass } from './pass.ts';

export const removeCasts: Pass = {
  name: 'remove-casts',
  doc: 'Drops casts that cancel exactly.',
  tolerance: 0,
  run(graph) {
    const build = createBuilder(graph.name, obeying(castLaws));
    const next = rebuild(graph, build, (node, values, inner) => void copyNode(inner, node, values));
    return {
      ...next,
      nodes: nodesBehind(
        next.nodes,
        next.outputs.map(({ value }) => value),
      ),
    };
  },
};
