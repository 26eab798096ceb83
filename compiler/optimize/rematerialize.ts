/**
 * Computes the activations of some instances again where the backward pass wants them, instead of keeping them: memory for time.
 *
 *   before   %3: f32[8, 4] = exp(%2)      // model.block         after   %3: f32[8, 4] = exp(%2)
 *            …                                                           …
 *            %9: f32[8, 4] = mul(%8, %3)  // model.block                 %9: f32[8, 4] = after(%2, %8)
 *                                                                        %10: f32[8, 4] = exp(%9)
 *                                                                        %11: f32[8, 4] = mul(%8, %10)
 *
 * A unit (recompute.ts) is an instance that the graph's `recompute` names, with all that is in it. Needs gradients to be taken, and
 * equal values to be merged before: it makes equal values. Exact.
 */
import type { Node } from '../graph/graph.ts';
import type { Pass } from './pass.ts';
import { recompute } from './recompute.ts';

export const rematerialize: Pass = {
  name: 'rematerialize',
  doc: 'Computes activations again for the backward pass, where `checkpoint` or --memory asks for it.',
  tolerance: 0,
  run(graph) {
    const { recompute: paths } = graph;
    if (paths === undefined) return graph;
    return recompute(graph, new Map(graph.nodes.flatMap((node) => pathsOf(node, paths))));
  },
};

/** The node with the named instance that it belongs to. */
function pathsOf(node: Node, paths: readonly string[]): (readonly [Node, string])[] {
  const { path = '' } = node.origin;
  const unit = paths.find((named) => path === named || path.startsWith(`${named}.`));
  return unit === undefined ? [] : [[node, unit]];
}
