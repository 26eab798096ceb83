/** What fusion tells about its choices. */
import type { Node } from '../graph/graph.ts';

/** One choice of fusion, for people: what it saved or why it was refused. */
export interface FusionDecision {
  readonly producer: string;
  readonly consumer: string;
  readonly fused: boolean;
  readonly reason: string;
  /** Of memory traffic in a run of the program: what is not written any more, and what is not read again (traffic.ts); 0 where nothing was fused. */
  readonly bytesSaved: number;
}

/** The node as `ir` prints its value, and the instance it is of. */
export const nameOfNode = ({ op, outputs, origin }: Node): string =>
  `${op} %${outputs[0].id}${origin.path === undefined ? '' : ` of ${origin.path}`}`;
