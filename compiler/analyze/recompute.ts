/** What it would bring, and take, to compute the activations of an instance again: what a memory budget chooses by. */
import { elementCount } from '../../common/elements.ts';
import type { Graph, Node } from '../graph/graph.ts';
import { nodesBehind } from '../graph/rewrite.ts';
import { concrete } from '../types/dim.ts';
import { dtypeBytes } from '../types/dtype.ts';

export interface RecomputeChoice {
  readonly path: string;
  /** Of its forward values that its backward part reads. */
  readonly bytes: number;
  /** Multiplications and additions of its forward part. */
  readonly flops: number;
}

/** The instances worth it in a training step, the most bytes for the work first. Paths must not lie within each other. */
export function rankRecompute(graph: Graph, paths: readonly string[]): RecomputeChoice[] {
  const losses = graph.outputs.filter(({ name }) => name.startsWith('loss.')).map(({ value }) => value);
  const forward = new Set(nodesBehind(graph.nodes, losses));
  const pathOf = ({ origin: { path = '' } }: Node): string | undefined =>
    paths.find((unit) => path === unit || path.startsWith(`${unit}.`));
  const readBackward = new Set(graph.nodes.filter((node) => !forward.has(node)).flatMap(({ inputs }) => inputs));
  const found = new Map(paths.map((path) => [path, { path, bytes: 0, flops: 0 }]));
  for (const node of forward) {
    const path = pathOf(node);
    const choice = path === undefined ? undefined : found.get(path);
    if (choice === undefined) continue;
    for (const value of node.outputs) {
      const elements = elementCount(concrete(value.type.shape));
      if (readBackward.has(value)) choice.bytes += elements * dtypeBytes[value.type.dtype];
      choice.flops += elements * (node.op === 'contract' ? 2 * elementCount(concrete(node.attributes.reduce)) : 1);
    }
  }
  return [...found.values()]
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => b.bytes / (b.flops + 1) - a.bytes / (a.flops + 1));
}
