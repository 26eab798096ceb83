/** Laws of moving elements: reshape, view and concat. All exact. */
import type { Builder } from '../../graph/build.ts';
import type { AffineIndex, Value } from '../../graph/graph.ts';
import { allInside, at, bounds, compose, isInside, normalize, plainAxis, sameIndex, whole } from '../../ops/affine.ts';
import { stridesOf } from '../../ops/numeric.ts';
import type { Dim } from '../../types/dim.ts';
import { equal, sameShape } from '../../types/dim.ts';
import { rule, uniform } from '../law.ts';
import type { Law } from '../law.ts';

/** A value read at an index, traced back through the views it was made by as far as that changes nothing. */
export function throughViews(
  value: Value,
  index: readonly AffineIndex[],
  sizes: readonly Dim[],
  build: Builder,
): { value: Value; index: readonly AffineIndex[] } {
  const node = build.producer(value);
  if (node?.op !== 'view') return { value, index };
  const inner = node.attributes.index.map(normalize);
  const [source] = node.inputs;
  const same = index.every((coordinate, axis) => keepsZeros(coordinate, axis, sizes, value, inner, source));
  if (!same) return { value, index };
  return throughViews(
    source,
    inner.map((coordinate) => compose(coordinate, (axis) => index[axis])),
    sizes,
    build,
  );
}

/**
 * Where `coordinate` leaves the view's axis the view would give 0. That is kept if it never leaves it, or if the view
 * reads its source along that axis, one to one, so that outside the view is outside the source too.
 */
function keepsZeros(
  coordinate: AffineIndex,
  axis: number,
  sizes: readonly Dim[],
  view: Value,
  inner: readonly AffineIndex[],
  source: Value,
): boolean {
  const extent = view.type.shape[axis];
  if (isInside(coordinate, sizes, extent)) return true;
  return inner.some(({ terms, offset, divisor }, place) => {
    const [term] = terms;
    const size = source.type.shape[place];
    if (terms.length !== 1 || term.axis !== axis || divisor !== 1) return false;
    if (term.scale === 1 && offset === 0 && equal(size, extent)) return true;
    if (typeof offset !== 'number' || typeof size !== 'number' || typeof extent !== 'number') return false;
    if (term.scale === 1) return offset <= 0 && size - 1 - offset < extent;
    return term.scale === -1 && offset - size + 1 >= 0 && offset < extent;
  });
}

/**
 * A reshape that only splits axes, or adds or drops axes of size 1, as an index; undefined if axes are joined.
 * Each old axis has to be the row-major product of some neighbouring new ones.
 */
export function reshapeIndex(from: readonly Dim[], to: readonly Dim[]): AffineIndex[] | undefined {
  const index: AffineIndex[] = [];
  let next = 0;
  for (const size of from) {
    const first = next;
    if (size === 1) {
      index.push({ terms: [], offset: 0, divisor: 1 });
      continue;
    }
    while (to[next] === 1) next++;
    if (to[next] !== undefined && equal(to[next], size)) {
      index.push(at(next++));
      continue;
    }
    if (typeof size !== 'number' || size === 0) return undefined;
    const parts: number[] = [];
    next = first;
    for (let product = 1; product < size; next++) {
      const part = to[next];
      if (typeof part !== 'number') return undefined;
      parts.push(part);
      product *= part;
      if (product > size) return undefined;
    }
    const strides = stridesOf(parts);
    index.push(
      normalize({
        terms: parts.map((part, place) => ({ axis: first + place, scale: part === 1 ? 0 : strides[place] })),
        offset: 0,
        divisor: 1,
      }),
    );
  }
  return to.slice(next).every((size) => size === 1) ? index : undefined;
}

/** Only axes of size 1 come or go. */
const drops = (shape: readonly Dim[]): Dim[] => shape.filter((size) => size !== 1);

export const movementLaws: readonly Law[] = [
  rule({
    says: 'a reshape to the shape it has is nothing',
    op: 'reshape',
    to: ([x], { shape }) => (sameShape(x.type.shape, shape) ? x : undefined),
  }),
  rule({
    says: 'a constant in another shape is a constant',
    op: 'reshape',
    to([x], { shape }, build) {
      const value = uniform(x, build);
      return value === undefined ? undefined : build.constant(value, x.type.dtype, shape);
    },
  }),
  rule({
    says: 'a reshape of a reshape is one reshape',
    op: 'reshape',
    to([x], { shape }, build) {
      const node = build.producer(x);
      return node?.op === 'reshape' ? build.reshape(node.inputs[0], shape) : undefined;
    },
  }),
  rule({
    says: 'a reshape that joins no axes is a view',
    op: 'reshape',
    to([x], { shape }, build) {
      const index = reshapeIndex(x.type.shape, shape);
      return index === undefined ? undefined : build.view(x, shape, index);
    },
  }),
  rule({
    says: 'a reshape of a view that only adds axes of size 1 needs no view',
    op: 'reshape',
    to([x], { shape }, build) {
      const node = build.producer(x);
      const source = node?.op === 'view' ? node.inputs[0] : undefined;
      if (source === undefined || node?.op !== 'view' || !sameShape(drops(source.type.shape), drops(x.type.shape)))
        return undefined;
      const index = reshapeIndex(source.type.shape, x.type.shape);
      return index?.every((coordinate, axis) => sameIndex(coordinate, normalize(node.attributes.index[axis]))) === true
        ? build.reshape(source, shape)
        : undefined;
    },
  }),
  rule({
    says: 'a view of everything as it is, is nothing',
    op: 'view',
    to: ([x], { shape, index }) =>
      sameShape(x.type.shape, shape) && index.every((coordinate, axis) => isSelf(coordinate, axis, shape))
        ? x
        : undefined,
  }),
  rule({
    says: 'a view of one number everywhere is that number (0 even where it reads outside)',
    op: 'view',
    to([x], { shape, index }, build) {
      const value = uniform(x, build);
      return value === undefined || (value !== 0 && !allInside(index, shape, x.type.shape))
        ? undefined
        : build.constant(value, x.type.dtype, shape);
    },
  }),
  rule({
    says: 'a view of a view is one view',
    op: 'view',
    to([x], { shape, index }, build) {
      const read = throughViews(x, index, shape, build);
      return read.value === x ? undefined : build.view(read.value, shape, read.index);
    },
  }),
  rule({
    says: 'a view of coordinates is coordinates, where it moves none',
    op: 'view',
    to([x], { shape, index }, build) {
      const node = build.producer(x);
      if (node?.op !== 'iota' || !allInside(index, shape, x.type.shape)) return undefined;
      const axis = plainAxis(normalize(index[node.attributes.axis]));
      return axis === undefined ? undefined : build.iota(shape, axis);
    },
  }),
  rule({
    says: 'a piece within one part of a concatenation is a piece of that part',
    op: 'view',
    to([x], { shape, index }, build) {
      const node = build.producer(x);
      if (node?.op !== 'concat') return undefined;
      const { axis } = node.attributes;
      const range = bounds(index[axis], shape);
      if (range === undefined || index[axis].divisor !== 1) return undefined;
      let start = 0;
      for (const part of node.inputs) {
        const size = part.type.shape[axis];
        if (typeof size !== 'number') return undefined;
        if (range.least >= start && range.greatest < start + size) {
          const shifted = { ...index[axis], offset: Number(index[axis].offset) - start };
          return build.view(
            part,
            shape,
            index.map((coordinate, place) => (place === axis ? shifted : coordinate)),
          );
        }
        start += size;
      }
      return undefined;
    },
  }),
  rule({
    says: 'a gather at 0, 1, 2, … is a slice',
    op: 'gather',
    to([x, ids], { batch }, build) {
      const shape = [...ids.type.shape, ...x.type.shape.slice(1)];
      const index = x.type.shape.map((_, axis) => at(axis));
      return batch === 0 && isCounting(ids, build) && allInside(index, shape, x.type.shape)
        ? build.view(x, shape, index)
        : undefined;
    },
  }),
  rule({
    says: 'a scatter to 0, 1, 2, … is what it scatters, then zeros',
    op: 'scatter',
    to([ids, updates], { batch, size }, build) {
      const [rows, ...rest] = updates.type.shape;
      const fits = equal(rows, size) || (typeof rows === 'number' && typeof size === 'number' && rows <= size);
      return batch === 0 && isCounting(ids, build) && fits
        ? build.view(
            updates,
            [size, ...rest],
            updates.type.shape.map((_, axis) => at(axis)),
          )
        : undefined;
    },
  }),
  rule({
    says: 'a scatter of one row per batch is a selection (the gather it is the adjoint of has checked the positions)',
    op: 'scatter',
    to([ids, updates], { batch, size }, build) {
      if (ids.type.shape.length !== batch) return undefined;
      const shape = [...ids.type.shape, size, ...updates.type.shape.slice(batch)];
      const spread = (value: Value, axes: readonly number[]): Value =>
        build.view(
          value,
          shape,
          axes.map((axis) => at(axis)),
        );
      const rows = ids.type.shape.map((_, axis) => axis);
      const chosen = build.binary('eq', build.iota(shape, batch), spread(ids, rows));
      const update = spread(
        updates,
        updates.type.shape.map((_, axis) => (axis < batch ? axis : axis + 1)),
      );
      return build.where(chosen, update, build.constant(0, updates.type.dtype, shape));
    },
  }),
  rule({
    says: 'a concatenation of one is that one',
    op: 'concat',
    to: ([first, ...rest]) => (rest.length === 0 ? first : undefined),
  }),
  rule({
    says: 'parts of size 0 add nothing to a concatenation',
    op: 'concat',
    to(parts, { axis }, build) {
      const kept = parts.filter(({ type }) => type.shape[axis] !== 0);
      return kept.length === parts.length || kept.length === 0 ? undefined : build.concat(kept, axis);
    },
  }),
];

/** Is it the vector 0, 1, 2, …? */
const isCounting = (ids: Value, build: Builder): boolean =>
  ids.type.shape.length === 1 && build.producer(ids)?.op === 'iota';

/** The axis itself; anything that is always 0 will do for an axis of size 1. */
const isSelf = (coordinate: AffineIndex, axis: number, shape: readonly Dim[]): boolean => {
  if (sameIndex(normalize(coordinate), whole(axis + 1)[axis])) return true;
  const range = shape[axis] === 1 ? bounds(coordinate, shape) : undefined;
  return range !== undefined && range.least === 0 && range.greatest === 0 && coordinate.divisor === 1;
};
