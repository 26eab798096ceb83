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
 * Only where forward and backward then become chains (fuse/chain-groups.ts): what reads tensors of that shape is elementwise, a
 * product, a sum along the rows, or a sum that nothing of that shape is made of. Needs equal values to be merged before. Exact.
 */
import type { Graph, Node, NodeOf, Value } from '../graph/graph.ts';
import { findScores, isSameShape, pointwise } from '../graph/scores.ts';
import type { Scores } from '../graph/scores.ts';
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

/** For each product with scores: what is computed again, and what reads it. */
function findUnits(graph: Graph): Map<Node, string> {
  const forward = forwardNodes(graph);
  const scores = findScores(graph.nodes);
  const outputs = new Set(graph.outputs.map(({ value }) => value));
  const readers = readersOf(graph);
  const producers = producersOf(graph);
  const units = new Map<Node, string>();
  for (const seed of scores.products) {
    if (!forward.has(seed) || units.has(seed)) continue;
    const isOwn = (value: Value): boolean => scores.made.has(value) && isSameShape(value, seed.outputs[0]);
    const around = new Set<Node>([seed]);
    for (const node of around) {
      for (const value of node.inputs.filter(isOwn)) {
        const producer = producers.get(value);
        if (producer !== undefined) around.add(producer);
      }
      for (const value of node.outputs.filter(isOwn)) for (const reader of readers.get(value) ?? []) around.add(reader);
    }
    const isWanted = [...around].some((node) => node.outputs.some((value) => isOwn(value) && outputs.has(value)));
    const isRead = (value: Value): boolean => (readers.get(value) ?? []).some((node) => around.has(node));
    if (isWanted || ![...around].every((node) => isAllowed(node, seed, isOwn, isRead))) continue;
    for (const node of around) {
      const isKept = forward.has(node) && !isProductOf(node, scores) && !pointwise.has(node.op);
      if (!isKept) units.set(node, `scores ${seed.outputs[0].id}`);
    }
  }
  return units;
}

function readersOf({ nodes }: Graph): ReadonlyMap<Value, readonly Node[]> {
  const readers = new Map<Value, Node[]>();
  for (const node of nodes)
    for (const value of new Set(node.inputs)) readers.set(value, [...(readers.get(value) ?? []), node]);
  return readers;
}

const isProductOf = (node: Node, { products }: Scores): boolean => node.op === 'contract' && products.has(node);

/** Does a chain have room for it? It makes or reads a tensor of the seed's kind (`isOwn`). */
function isAllowed(
  node: Node,
  seed: NodeOf<'contract'>,
  isOwn: (value: Value) => boolean,
  isRead: (value: Value) => boolean,
): boolean {
  const last = seed.attributes.shape.length - 1;
  // What is summed over more than a row is there after the last one: nothing of the chain may want it.
  if (node.op === 'reduce') return node.attributes.axes.join() === `${last}` || !isRead(node.outputs[0]);
  // A product of rows with other rows needs all of them.
  if (node.op === 'contract') return node.inputs.filter(isOwn).length < 2;
  return pointwise.has(node.op) && isSameShape(node.outputs[0], seed.outputs[0]);
}
