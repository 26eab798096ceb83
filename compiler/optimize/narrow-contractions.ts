/**
 * A contraction of which only a piece is read, or which is read in another order of axes, computes just that.
 *
 *   before   %7[i, j]: f32[18, 16] = sum[k: 5, l: 32] %5[i - k, l] * %6[k, j, l]
 *            %8[i, j]: f32[14, 16] = %7[i + 2, j]
 *   after    %8[i, j]: f32[14, 16] = sum[k: 5, l: 32] %5[i + 2 - k, l] * %6[k, j, l]
 *
 * Only where nothing else reads the contraction, so it needs dead nodes gone. Exact. Convolutions leave such slices
 * behind: the gradient of a padded image, of which the padding is dropped.
 */
import type { Builder } from '../graph/build.ts';
import type { Graph, Node, NodeOf } from '../graph/graph.ts';
import { copyNode, countUses, mapped, rebuild } from '../graph/rewrite.ts';
import type { ValueMap } from '../graph/rewrite.ts';
import { allInside, at, compose } from '../ops/affine.ts';
import { createBuilder } from '../ops/builder.ts';
import type { Pass } from './pass.ts';

export const narrowContractions: Pass = {
  name: 'narrow-contractions',
  doc: 'Computes only the piece of a contraction that is read, in the order it is read.',
  tolerance: 0,
  run: (graph) => narrow(graph, createBuilder(graph.name)),
};

function narrow(graph: Graph, build: Builder): Graph {
  const uses = countUses(graph);
  const contractions = new Map(
    graph.nodes.flatMap((node) =>
      node.op === 'contract' && node.attributes.bytes !== true && uses.get(node.outputs[0]) === 1
        ? [[node.outputs[0], node] as const]
        : [],
    ),
  );
  /** Views that take the place of their contraction. */
  const pieces = new Map<Node, NodeOf<'contract'>>();
  for (const node of graph.nodes) {
    const contraction = node.op === 'view' ? contractions.get(node.inputs[0]) : undefined;
    if (node.op === 'view' && contraction !== undefined && isPiece(node)) pieces.set(node, contraction);
  }
  const replaced = new Set<Node>(pieces.values());
  return rebuild(graph, build, (node, values) => {
    const contraction = pieces.get(node);
    if (node.op === 'view' && contraction !== undefined) append(node, contraction, values, build);
    else if (node.op === 'loop') {
      const body = narrow(node.attributes.body, build.nested(node.attributes.body.name));
      build.origin = node.origin;
      const results = build.loop(
        node.inputs.map((value) => mapped(values, value)),
        { ...node.attributes, body },
      );
      node.outputs.forEach((value, place) => values.set(value, results[place]));
    } else if (!replaced.has(node)) copyNode(build, node, values);
  });
}

/** Each axis read once, moved but not stretched, never outside: no element is computed twice. */
function isPiece({ inputs: [x], attributes: { shape, index } }: NodeOf<'view'>): boolean {
  const axes = index.flatMap(({ terms }) => terms.map(({ axis }) => axis));
  const single = index.every(
    ({ terms, divisor }) =>
      terms.length <= 1 && divisor === 1 && terms.every(({ scale }) => scale === 1 || scale === -1),
  );
  const covers = shape.every((size, axis) => size === 1 || axes.includes(axis));
  return single && covers && new Set(axes).size === axes.length && allInside(index, shape, x.type.shape);
}

function append(
  { outputs: [result], attributes: { shape, index } }: NodeOf<'view'>,
  contraction: NodeOf<'contract'>,
  values: ValueMap,
  build: Builder,
): void {
  const { reduce, indices, shape: whole } = contraction.attributes;
  const read = (axis: number) => (axis < whole.length ? index[axis] : at(axis - whole.length + shape.length));
  build.origin = contraction.origin;
  const operands = contraction.inputs.map((value) => mapped(values, value));
  values.set(
    result,
    build.contract(
      operands,
      indices.map((one) => one.map((coordinate) => compose(coordinate, read))),
      shape,
      reduce,
    ),
  );
}
