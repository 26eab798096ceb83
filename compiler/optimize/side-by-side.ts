/** Sums of paddings that do not overlap — the gradient of slices — are tensors laid side by side. */
import type { Node, NodeOf, Value } from '../graph/graph.ts';

/**
 * The paddings that a sum of two or more is made of, where at every point at most one of them is not 0 because it is
 * outside; undefined for any other sum. `inner`: the node of a value that only the sum reads.
 */
export function paddingsOf(
  sum: Node,
  inner: (value: Value) => Node | undefined,
): readonly NodeOf<'view'>[] | undefined {
  const leaves: NodeOf<'view'>[] = [];
  const collect = (value: Value): boolean => {
    const node = inner(value);
    if (node?.op === 'add') return node.inputs.every(collect);
    if (node?.op !== 'view') return false;
    leaves.push(node);
    return true;
  };
  if (sum.op !== 'add' || !sum.inputs.every(collect)) return undefined;
  const ranges = leaves.map(rangeOf);
  const sorted = ranges.flatMap((range) => range ?? []).sort((a, b) => a.from - b.from);
  const apart = sorted.every(
    ({ axis, from }, at) => at === 0 || (axis === sorted[0].axis && from >= sorted[at - 1].to),
  );
  return sorted.length === leaves.length && apart ? leaves : undefined;
}

/** Where along which axis a padded tensor lies. */
function rangeOf({
  inputs: [x],
  attributes: { shape, index },
}: NodeOf<'view'>): { axis: number; from: number; to: number } | undefined {
  const axis = shape.findIndex((size, at) => size !== x.type.shape[at]);
  const straight = index.every(
    ({ terms, offset, divisor }, at) =>
      divisor === 1 &&
      terms.length === 1 &&
      terms[0].axis === at &&
      terms[0].scale === 1 &&
      (at === axis || (offset === 0 && shape[at] === x.type.shape[at])),
  );
  if (axis < 0 || index.length !== shape.length || !straight) return undefined;
  const from = -Number(index[axis].offset);
  return { axis, from, to: from + Number(x.type.shape[axis]) };
}
