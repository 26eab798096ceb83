/**
 * The scores of attention: a product of two tensors for every point of some batch axes, with a row for each query and a column
 * for each key. They are large (rows × columns) and cheap (a short sum), so they are kept for a block of rows at a time.
 */
import { elementCount } from '../../common/elements.ts';
import { binaryOps, unaryOps } from './graph.ts';
import type { Node, NodeOf, OpName, Value } from './graph.ts';
import { concrete } from '../types/dim.ts';
import { isProduct } from './products.ts';

/** What becomes of a tensor element by element. */
export const pointwise: ReadonlySet<OpName> = new Set([
  ...unaryOps,
  ...binaryOps,
  'where',
  'cast',
  'view',
  'detach',
  'after',
  'random',
]);

export interface Scores {
  /** The largest first: what is small and looks like scores may be read with larger ones. */
  readonly products: ReadonlySet<NodeOf<'contract'>>;
  /**
   * They, random numbers, and what is made of either element by element. What is made of neither (a mask) may belong to many, and
   * costs nothing.
   */
  readonly made: ReadonlySet<Value>;
}

/** All scores among nodes that are in order. What is multiplied with scores gives none, whatever its shape. */
export function findScores(nodes: readonly Node[]): Scores {
  const products = new Set<NodeOf<'contract'>>();
  const made = new Set<Value>();
  for (const node of nodes) {
    // What a node only waits for it is not made of.
    const operands = node.op === 'after' ? node.inputs.slice(0, 1) : node.inputs;
    const isOfMade = operands.some((value) => made.has(value));
    if (isBatchedProduct(node) && !isOfMade) {
      products.add(node);
      made.add(node.outputs[0]);
    } else if (node.op === 'random' || (isOfMade && pointwise.has(node.op) && keepsElements(node)))
      made.add(node.outputs[0]);
  }
  const largestFirst = [...products].sort((a, b) => sizeOf(b.outputs[0]) - sizeOf(a.outputs[0]));
  return { products: new Set(largestFirst), made };
}

/** A view may spread elements, or leave some out. */
const keepsElements = ({ op, inputs: [input], outputs: [output] }: Node): boolean =>
  op !== 'view' || sizeOf(input) === sizeOf(output);

const sizeOf = ({ type }: Value): number => elementCount(concrete(type.shape));

/** Have both the same rows, columns and batch? Axes of one point say nothing. */
export function isSameShape(one: Value, other: Value): boolean {
  const [a, b] = [one, other].map(({ type }) =>
    concrete(type.shape).filter((size, axis, shape) => size !== 1 || axis >= shape.length - 2),
  );
  return a.join() === b.join();
}

/** Are its last two axes the rows of one operand and the columns of the other, and do both have a batch? */
function isBatchedProduct(node: Node): node is NodeOf<'contract'> {
  if (!isProduct(node) || node.attributes.bytes === true) return false;
  const rank = node.attributes.shape.length;
  const [left, right] = node.attributes.indices.map(
    (index) => new Set(index.flatMap(({ terms }) => terms.map(({ axis }) => axis))),
  );
  const ofOne = (axis: number): boolean => left.has(axis) !== right.has(axis);
  const isBatched = node.attributes.shape.some((size, axis) => size !== 1 && left.has(axis) && right.has(axis));
  return isBatched && ofOne(rank - 2) && ofOne(rank - 1) && left.has(rank - 2) !== left.has(rank - 1);
}

/** Of the second-level cache, what a block may take, if it has enough rows. */
const mostBytes = 2 ** 19;
/** More rows share little more of what is packed for them. */
const mostRows = 64;
/** Fewer share too little of it, however long they are. */
const leastRows = 16;

/** Rows that are worked on together: `count` blocks of `size`, and the `rest` of them, fewer. */
export interface Blocks {
  readonly size: number;
  readonly count: number;
  readonly rest: number;
}

/** Rows in blocks that fit the cache: of a size that divides them, or all in one, or as even as they can be. */
export function blocksOf(rows: number, bytesPerRow: number): Blocks {
  const most = Math.max(leastRows, Math.min(mostRows, Math.floor(mostBytes / bytesPerRow)));
  for (let size = Math.min(most, rows); size >= Math.min(leastRows, rows); size--)
    if (rows % size === 0) return { size, count: rows / size, rest: 0 };
  if (2 * rows <= 3 * most) return { size: rows, count: 1, rest: 0 };
  const size = Math.ceil(rows / Math.ceil(rows / most));
  const count = Math.floor(rows / size);
  return { size, count, rest: rows - count * size };
}
