/** What a pass is: a value, so that the list of passes can be printed, stopped after and left out. */
import type { Graph } from '../graph/graph.ts';

export interface Pass {
  /** What `--after` calls it; also the name of its file. */
  readonly name: string;
  /** One line for people. */
  readonly doc: string;
  /** How far results may be from what they were, as a part of the largest element of each tensor; 0: bit for bit the same. */
  readonly tolerance: number;
  run(graph: Graph): Graph;
}
