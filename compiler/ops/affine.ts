/** Affine indices: making them, composing them, solving them, and knowing when they stay inside. */
import type { AffineIndex } from '../graph/graph.ts';
import type { Dim } from '../types/dim.ts';
import { add, divideExactly, equal, multiply } from '../types/dim.ts';

/** scale·axis + offset. */
export const at = (axis: number, scale: Dim = 1, offset: Dim = 0): AffineIndex => ({
  terms: [{ axis, scale }],
  offset,
  divisor: 1,
});

/** The same coordinate everywhere. */
export const fixed = (offset: Dim): AffineIndex => ({ terms: [], offset, divisor: 1 });

/** scale·axis + more·other + offset. */
export const pair = (axis: number, scale: Dim, other: number, more: Dim, offset: Dim = 0): AffineIndex => ({
  terms: [
    { axis, scale },
    { axis: other, scale: more },
  ],
  offset,
  divisor: 1,
});

/** Every axis read as it is: the index of a whole tensor. */
export const whole = (rank: number): AffineIndex[] => Array.from({ length: rank }, (_, axis) => at(axis));

/** NumPy's rule: axes aligned from the right, size 1 stretched; undefined where two sizes clash. */
export function broadcastShapes(a: readonly Dim[], b: readonly Dim[]): Dim[] | undefined {
  const [long, short] = a.length >= b.length ? [a, b] : [b, a];
  const shift = long.length - short.length;
  const result: Dim[] = [];
  for (const [axis, size] of long.entries()) {
    const other = axis < shift ? size : (short[axis - shift] ?? size);
    if (!equal(size, other) && size !== 1 && other !== 1) return undefined;
    result.push(size === 1 ? other : size);
  }
  return result;
}

/**
 * Equal terms joined, zero scales dropped, axes in order, divisor positive and in lowest terms: one form per function.
 */
export function normalize(index: AffineIndex): AffineIndex {
  const scales = new Map<number, Dim>();
  for (const { axis, scale } of index.terms) scales.set(axis, add(scales.get(axis) ?? 0, scale));
  let terms = [...scales]
    .filter(([, scale]) => scale !== 0)
    .sort(([a], [b]) => a - b)
    .map(([axis, scale]) => ({ axis, scale }));
  let { offset, divisor } = index;
  if (typeof divisor === 'number' && divisor !== 1) {
    const numbers = [divisor, offset, ...terms.map(({ scale }) => scale)];
    const common =
      Math.sign(divisor) * (numbers.every((n) => typeof n === 'number') ? numbers.reduce(greatestCommonDivisor) : 1);
    const reduced = (dim: Dim): Dim => divideExactly(dim, common) ?? dim;
    terms = terms.map(({ axis, scale }) => ({ axis, scale: reduced(scale) }));
    offset = reduced(offset);
    divisor = reduced(divisor);
  }
  // Adding 0 makes a 0 of -0, so that equal indices also print the same.
  return { terms, offset: add(offset, 0), divisor };
}

function greatestCommonDivisor(a: number, b: number): number {
  let [x, y] = [Math.abs(a), Math.abs(b)];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}

/** The index with every axis replaced by an affine function of other axes. */
export function compose(index: AffineIndex, inner: (axis: number) => AffineIndex): AffineIndex {
  const parts = index.terms.map(({ axis, scale }) => ({ scale, of: inner(axis) }));
  const common = parts.reduce<Dim>(
    (all, { of }) =>
      equal(all, of.divisor) || of.divisor === 1 ? all : all === 1 ? of.divisor : multiply(all, of.divisor),
    1,
  );
  const terms: { axis: number; scale: Dim }[] = [];
  let offset = multiply(index.offset, common);
  for (const { scale, of } of parts) {
    const factor = multiply(scale, divideExactly(common, of.divisor) ?? 1);
    for (const term of of.terms) terms.push({ axis: term.axis, scale: multiply(factor, term.scale) });
    offset = add(offset, multiply(factor, of.offset));
  }
  return normalize({ terms, offset, divisor: multiply(index.divisor, common) });
}

/** Is it exactly one axis, unscaled and unmoved? Then which. */
export function plainAxis({ terms, offset, divisor }: AffineIndex): number | undefined {
  const [term] = terms;
  return terms.length === 1 && term !== undefined && term.scale === 1 && offset === 0 && divisor === 1
    ? term.axis
    : undefined;
}

/** Least and greatest numerator over a box of axes; undefined where a size is not known or the box is empty. */
export function bounds(index: AffineIndex, sizes: readonly Dim[]): { least: number; greatest: number } | undefined {
  if (typeof index.offset !== 'number') return undefined;
  let [least, greatest] = [index.offset, index.offset];
  for (const { axis, scale } of index.terms) {
    const size = sizes[axis];
    if (typeof size !== 'number' || typeof scale !== 'number' || size === 0) return undefined;
    if (scale > 0) greatest += scale * (size - 1);
    else least += scale * (size - 1);
  }
  return { least, greatest };
}

/**
 * Does the coordinate stay in an axis of `size`, for every point of the box, without a rest? (False when not provable.)
 */
export function isInside(index: AffineIndex, sizes: readonly Dim[], size: Dim): boolean {
  const axis = plainAxis(index);
  const extent = axis === undefined ? undefined : sizes[axis];
  if (extent !== undefined && equal(extent, size)) return true;
  const range = bounds(index, sizes);
  return (
    range !== undefined && index.divisor === 1 && typeof size === 'number' && range.least >= 0 && range.greatest < size
  );
}

export const allInside = (index: readonly AffineIndex[], sizes: readonly Dim[], shape: readonly Dim[]): boolean =>
  index.every((coordinate, axis) => isInside(coordinate, sizes, shape[axis] ?? 0));

export const sameIndex = (a: AffineIndex, b: AffineIndex): boolean =>
  equal(a.offset, b.offset) &&
  equal(a.divisor, b.divisor) &&
  a.terms.length === b.terms.length &&
  a.terms.every(({ axis, scale }, place) => axis === b.terms[place]?.axis && equal(scale, b.terms[place].scale));
