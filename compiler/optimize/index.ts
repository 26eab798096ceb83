/** The passes over Tensor IR, in order. */
import type { Graph } from '../graph/graph.ts';
import { verifyGraph } from '../graph/verify.ts';
import { byteProducts } from './byte-products.ts';
import { foldConstants } from './fold-constants.ts';
import { hoistFromLoops } from './hoist-from-loops.ts';
import { insertCasts } from './insert-casts.ts';
import { mergeCommon } from './merge-common.ts';
import { narrowContractions } from './narrow-contractions.ts';
import { packBytes } from './pack-bytes.ts';
import type { Pass } from './pass.ts';
import { recomputeScores } from './recompute-scores.ts';
import { rematerialize } from './rematerialize.ts';
import { removeCasts } from './remove-casts.ts';
import { removeDead } from './remove-dead.ts';
import { simplify } from './simplify.ts';

export type { Pass } from './pass.ts';

export const passes: readonly Pass[] = [
  simplify,
  insertCasts,
  removeCasts,
  hoistFromLoops,
  packBytes,
  byteProducts,
  foldConstants,
  mergeCommon,
  removeDead,
  rematerialize,
  recomputeScores,
  narrowContractions,
];

export interface OptimizeOptions {
  /** Check the graph after every pass; a violation is a bug of the pass, which the error names. */
  readonly verify?: boolean;
  /** Stop after the pass of this name. */
  readonly after?: string;
  /** Leave these out. */
  readonly without?: readonly string[];
  /** Run no others. */
  readonly only?: readonly string[];
  /** Told of every pass that ran, with the milliseconds it took. */
  readonly observe?: (pass: Pass, before: Graph, after: Graph, milliseconds: number) => void;
}

/** The graph after all passes, or after the one named. Gradients have to be taken before. */
export function optimize(
  graph: Graph,
  { verify = false, after, without = [], only, observe }: OptimizeOptions = {},
): Graph {
  for (const named of [...(after === undefined ? [] : [after]), ...without, ...(only ?? [])])
    if (!passes.some(({ name }) => name === named)) throw new Error(`no pass is called ${named}`);
  let current = graph;
  for (const pass of passes) {
    if (!without.includes(pass.name) && (only === undefined || only.includes(pass.name))) {
      // The graphs that passes make know nothing of what was asked for.
      const before = { ...current, ...askedOf(pass, graph) };
      const started = performance.now();
      current = pass.run(before);
      observe?.(pass, before, current, performance.now() - started);
    }
    if (verify) {
      const problems = verifyGraph(current);
      if (problems.length > 0) throw new Error(`${pass.name} left a broken graph: ${problems.join('; ')}`);
    }
    if (pass.name === after) break;
  }
  return current;
}

/** What the graph asks a pass for. */
function askedOf(pass: Pass, { precision, recompute }: Graph): Partial<Graph> {
  if (pass === insertCasts && precision !== undefined) return { precision };
  return pass === rematerialize && recompute !== undefined ? { recompute } : {};
}
