/**
 * The scores of attention: a product of two tensors for every point of some batch axes, with a row for each query and a column
 * for each key. They are large (rows × columns) and cheap (a short sum), so they are kept for a block of rows at a time.
 */
import type { Node, NodeOf } from './graph.ts';
import { isProduct } from './products.ts';

/** Is it such a product? Its last two axes are the rows and the columns, whichever operand has which. */
export function isScores(node: Node): node is NodeOf<'contract'> {
  if (!isProduct(node) || node.attributes.bytes === true) return false;
  const rank = node.attributes.shape.length;
  const [left, right] = node.attributes.indices.map(
    (index) => new Set(index.flatMap(({ terms }) => terms.map(({ axis }) => axis))),
  );
  const ofOne = (axis: number): boolean => left.has(axis) !== right.has(axis);
  const isBatched = node.attributes.shape.some((size, axis) => size !== 1 && left.has(axis) && right.has(axis));
  return isBatched && ofOne(rank - 2) && ofOne(rank - 1) && left.has(rank - 2) !== left.has(rank - 1);
}

/** Fewer points of the batch axes do not keep the threads of a machine busy: a gradient's chain is dealt by them. */
export const leastPoints = 8;

/** Of the second-level cache, what a block may take. */
const mostBytes = 2 ** 19;
/** More rows share little more of what is packed for them. */
const mostRows = 64;
/** Fewer share too little of it. */
const leastRows = 16;

/** Rows that are worked on together, a number that divides them all; undefined where no such block fits the cache. */
export function blockOfRows(rows: number, bytesPerRow: number): number | undefined {
  const fits = (count: number): boolean => count * bytesPerRow <= mostBytes;
  for (let count = Math.min(mostRows, rows); count >= Math.min(leastRows, rows); count--)
    if (rows % count === 0 && fits(count)) return count;
  return fits(rows) ? rows : undefined;
}
