/** Which contractions are products of two tensors with rows and columns of their own; any other is a sum like others. */
import type { Node, NodeOf } from './graph.ts';

export function isProduct(node: Node): node is NodeOf<'contract'> {
  if (node.op !== 'contract' || node.inputs.length !== 2) return false;
  const { shape, indices } = node.attributes;
  const [left, right] = indices.map((index) => new Set(index.flatMap(({ terms }) => terms.map(({ axis }) => axis))));
  const sizeWhere = (wanted: (axis: number) => boolean): number =>
    shape.reduce<number>((size, dim, axis) => (wanted(axis) && typeof dim === 'number' ? size * dim : size), 1);
  return (
    sizeWhere((axis) => left.has(axis) && !right.has(axis)) > 1 &&
    sizeWhere((axis) => right.has(axis) && !left.has(axis)) > 1
  );
}
