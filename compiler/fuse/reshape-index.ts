/** The coordinates of a reshaped element in the shape it had before: merges are sums, splits are exact divisions of affine forms. */
import { elementCount } from '../../common/elements.ts';
import { affine, combine, constantAt, numeratorRange, rowMajorStrides } from '../loop/build.ts';
import type { Affine } from '../loop/build.ts';
import type { Axis, Coordinate } from '../loop/loop.ts';

/** The coordinates; or an axis that has to be cut into (size / inner, inner) first; or undefined: not affine. */
export type Reshaped = readonly Coordinate[] | { readonly axis: Axis; readonly inner: number } | undefined;

export function reshapeIndex(index: readonly Coordinate[], from: readonly number[], to: readonly number[]): Reshaped {
  if (from.length === to.length && from.every((size, axis) => size === to[axis])) return index;
  // A coordinate of an axis of size 1 that may leave it says where zeros are read: no other shape can say that.
  if (index.some((at, axis) => from[axis] === 1 && !(at.kind === 'affine' && at.terms.length === 0 && at.offset === 0)))
    return undefined;
  if (elementCount(from) === 0) return to.map(() => constantAt(0));
  const result: Coordinate[] = [];
  for (const block of blocks(from, to)) {
    const source = block.from.filter((axis) => from[axis] !== 1);
    const target = block.to.filter((axis) => to[axis] !== 1);
    let found: readonly Coordinate[];
    if (source.length === 1 && target.length === 1) found = [index[source[0]]];
    else {
      const linear = linearize(
        source.map((axis) => index[axis]),
        source.map((axis) => from[axis]),
      );
      if (linear === undefined) return undefined;
      const split = splitInto(
        linear,
        target.map((axis) => to[axis]),
      );
      if (split === undefined || 'axis' in split) return split;
      found = split;
    }
    const next = found[Symbol.iterator]();
    for (const axis of block.to) result.push(to[axis] === 1 ? constantAt(0) : (next.next().value ?? constantAt(0)));
  }
  return result;
}

/** Runs of axes on both sides that hold the same number of elements, as short as possible. */
function blocks(from: readonly number[], to: readonly number[]): { readonly from: number[]; readonly to: number[] }[] {
  const found: { from: number[]; to: number[] }[] = [];
  let [i, j] = [0, 0];
  while (i < from.length || j < to.length) {
    const block: { from: number[]; to: number[] } = { from: [], to: [] };
    let [left, right] = [1, 1];
    const takeLeft = (): void => {
      left *= from[i];
      block.from.push(i++);
    };
    const takeRight = (): void => {
      right *= to[j];
      block.to.push(j++);
    };
    if (i < from.length) takeLeft();
    if (j < to.length) takeRight();
    while (left !== right) {
      if (left < right) takeLeft();
      else takeRight();
    }
    found.push(block);
  }
  return found;
}

/** The row-major position as one affine form; undefined when a coordinate is computed or divided. */
export function linearize(index: readonly Coordinate[], shape: readonly number[]): Affine | undefined {
  const strides = rowMajorStrides(shape);
  const parts: { at: Affine; scale: number }[] = [];
  for (const [axis, at] of index.entries()) {
    if (at.kind !== 'affine' || at.divisor !== 1) return undefined;
    parts.push({ at, scale: strides[axis] });
  }
  return combine(parts, 0);
}

function splitInto(linear: Affine, sizes: readonly number[]): Reshaped {
  const result: Affine[] = [];
  let left = linear;
  for (let at = sizes.length - 1; at > 0; at--) {
    const size = sizes[at];
    const rest = left.terms.filter(({ scale }) => scale % size !== 0);
    const [low, high] = numeratorRange(affine(rest, left.offset));
    const whole = Math.floor(low / size);
    if (high - whole * size >= size) return cut(left, size);
    result.unshift(affine(rest, left.offset - whole * size));
    left = affine(
      left.terms.filter(({ scale }) => scale % size === 0).map(({ axis, scale }) => ({ axis, scale: scale / size })),
      whole,
    );
  }
  return sizes.length === 0 ? result : [left, ...result];
}

/** The axis that runs across a border of `size`, if cutting it there comes out even. */
function cut(linear: Affine, size: number): Reshaped {
  for (const { axis, scale } of linear.terms) {
    if (scale <= 0 || scale >= size || size % scale !== 0) continue;
    const inner = size / scale;
    if (axis.size > inner && axis.size % inner === 0) return { axis, inner };
  }
  return undefined;
}
