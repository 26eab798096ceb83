/** The passes over Tensor IR, in order. */
import type { Graph } from '../graph/graph.ts';
import { verifyGraph } from '../graph/verify.ts';
import { foldConstants } from './fold-constants.ts';
import { hoistFromLoops } from './hoist-from-loops.ts';
import { mergeCommon } from './merge-common.ts';
import { narrowContractions } from './narrow-contractions.ts';
import type { Pass } from './pass.ts';
import { removeDead } from './remove-dead.ts';
import { simplify } from './simplify.ts';

export type { Pass } from './pass.ts';

export const passes: readonly Pass[] = [
  simplify,
  hoistFromLoops,
  foldConstants,
  mergeCommon,
  removeDead,
  narrowContractions,
];

export interface OptimizeOptions {
  /** Check the graph after every pass; a violation is a bug of the pass, which the error names. */
  readonly verify?: boolean;
  /** Stop after the pass of this name. */
  readonly after?: string;
}

/** The graph after all passes, or after the one named. Gradients have to be taken before. */
export function optimize(graph: Graph, { verify = false, after }: OptimizeOptions = {}): Graph {
  if (after !== undefined && !passes.some(({ name }) => name === after)) throw new Error(`no pass is called ${after}`);
  let current = graph;
  for (const pass of passes) {
    current = pass.run(current);
    if (verify) {
      const problems = verifyGraph(current);
      if (problems.length > 0) throw new Error(`${pass.name} left a broken graph: ${problems.join('; ')}`);
    }
    if (pass.name === after) break;
  }
  return current;
}
