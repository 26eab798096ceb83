/**
 * Computes the scores of attention, and their softmax, again where the backward pass wants them: one short product more, and no
 * tensor with a row for each query and a column for each key is kept. What softmax found of a row is kept.
 *
 *   before   %3: f32[2, 8, 8] = sum[k: 4] %1[i, j, k] * %2[i, l, k]      after   the same, and where the backward pass reads %6:
 *            %4: f32[2, 8] = reduce max over 2 (%3)                              %9 = after(%1, %8)
 *            %6: f32[2, 8, 8] = exp(sub(%3, %4…))                                %10 = sum[k: 4] %9[i, j, k] * %2[i, l, k]
 *            … %7 of the forward pass, %8 a gradient                             %11 = exp(sub(%10, %4…))
 *            %9: f32[2, 8, 8] = mul(%8, %6)                                      %12 = mul(%8, %11)
 *
 * Only where forward and backward then become chains (fuse/chain-groups.ts): blocks of rows divide them, and what reads tensors of
 * that shape is elementwise, a product, or a sum along the rows. Needs equal values to be merged before. Exact.
 */
import { binaryOps, unaryOps } from '../graph/graph.ts';
import type { Graph, Node, NodeOf, OpName, Value } from '../graph/graph.ts';
import { blockOfRows, isScores, leastPoints } from '../graph/scores.ts';
import { concrete } from '../types/dim.ts';
import type { Pass } from './pass.ts';
import { forwardNodes, producersOf, recompute } from './recompute.ts';

export const recomputeScores: Pass = {
  name: 'recompute-scores',
  doc: "Computes attention's scores again for the backward pass, instead of keeping them.",
  tolerance: 0,
  run(graph) {
    const units = findUnits(graph);
    return units.size === 0 ? graph : recompute(graph, units);
  },
};

/** What becomes of a tensor element by element. */
const pointwise: ReadonlySet<OpName> = new Set([
  ...unaryOps,
  ...binaryOps,
  'where',
  'cast',
  'view',
  'detach',
  'random',
]);

/** For each product with scores: what is computed again, and what reads it. */
function findUnits(graph: Graph): Map<Node, string> {
  const forward = forwardNodes(graph);
  const neighbours = neighboursIn(graph);
  const outputs = new Set(graph.outputs.map(({ value }) => value));
  const units = new Map<Node, string>();
  for (const seed of graph.nodes) {
    if (!isScores(seed) || !forward.has(seed)) continue;
    const shape = concrete(seed.attributes.shape);
    const [rows, columns] = shape.slice(-2);
    const points = shape.slice(0, -2).reduce((product, size) => product * size, 1);
    // Scores, their softmax and their gradients.
    if (points < leastPoints || blockOfRows(rows, 4 * 4 * columns) === undefined) continue;
    const around = reachable(seed, neighbours);
    const isWanted = [...around].some(({ outputs: [value] }) => isSame(value, seed) && outputs.has(value));
    if (isWanted || ![...around].every((node) => isAllowed(node, seed))) continue;
    for (const node of around) {
      const isKept = forward.has(node) && node !== seed && !pointwise.has(node.op);
      if (!isKept) units.set(node, `scores ${seed.outputs[0].id}`);
    }
  }
  return units;
}

const isSame = (value: Value, seed: NodeOf<'contract'>): boolean => {
  const [shape, wanted] = [value.type.shape, seed.attributes.shape].map((sizes) => concrete(sizes));
  return shape.length === wanted.length && shape.every((size, axis) => size === wanted[axis]);
};

/** Does a chain have room for it? It makes or reads a tensor of the seed's shape. */
function isAllowed(node: Node, seed: NodeOf<'contract'>): boolean {
  const last = seed.attributes.shape.length - 1;
  if (node.op === 'reduce') return node.attributes.axes.length === 1 && node.attributes.axes[0] === last;
  // A product of rows with other rows needs all of them.
  if (node.op === 'contract') return node.inputs.filter((value) => isSame(value, seed)).length < 2;
  return pointwise.has(node.op) && isSame(node.outputs[0], seed);
}

/**
 * From a node to those that write or read a tensor of its kind: one made of scores, or of random numbers. What is made of neither
 * (a mask) may belong to many, and costs nothing.
 */
function neighboursIn(graph: Graph): (node: Node, seed: NodeOf<'contract'>) => readonly Node[] {
  const producers = producersOf(graph);
  const readers = new Map<Value, Node[]>();
  const made = new Set<Value>();
  for (const node of graph.nodes) {
    for (const value of new Set(node.inputs)) readers.set(value, [...(readers.get(value) ?? []), node]);
    const isMade = isScores(node) || node.op === 'random' || node.inputs.some((value) => made.has(value));
    if (isMade && (pointwise.has(node.op) || isScores(node))) made.add(node.outputs[0]);
  }
  return (node, seed) => {
    const own = (values: readonly Value[]): Value[] => values.filter((value) => made.has(value) && isSame(value, seed));
    return [
      ...own(node.inputs).flatMap((value) => producers.get(value) ?? []),
      ...own(node.outputs).flatMap((value) => readers.get(value) ?? []),
    ];
  };
}

function reachable(
  seed: NodeOf<'contract'>,
  neighbours: (node: Node, seed: NodeOf<'contract'>) => readonly Node[],
): ReadonlySet<Node> {
  const found = new Set<Node>([seed]);
  for (const node of found) for (const other of neighbours(node, seed)) found.add(other);
  return found;
}
