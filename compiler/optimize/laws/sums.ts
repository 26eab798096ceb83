/**
 * Laws of contract and reduce. Exact where the interpreter's sums are (accumulated once, rounded once), except the
 * last:
 * a reduction of a product that becomes a contraction no longer rounds the products.
 */
import type { Builder } from '../../graph/build.ts';
import type { AffineIndex, Attributes, Value } from '../../graph/graph.ts';
import { allInside, at, compose, fixed, normalize, plainAxis } from '../../ops/affine.ts';
import { roundTo } from '../../ops/numeric.ts';
import type { Dim } from '../../types/dim.ts';
import { equal, multiply, product } from '../../types/dim.ts';
import type { Dtype } from '../../types/dtype.ts';
import { rule, uniform } from '../law.ts';
import type { Law } from '../law.ts';
import { throughViews } from './movement.ts';

type Contract = Attributes['contract'];

const uses = (index: readonly AffineIndex[], axis: number): boolean =>
  index.some(({ terms }) => terms.some((term) => term.axis === axis && term.scale !== 0));
const sizesOf = ({ shape, reduce }: Contract): Dim[] => [...shape, ...reduce];
const axesOf = (from: number, count: number): number[] => Array.from({ length: count }, (_, place) => from + place);

/** The contraction without the iteration axes in `gone`, which read 0 wherever they still occur. */
function without(
  inputs: readonly Value[],
  { shape, reduce, indices }: Contract,
  gone: readonly number[],
  build: Builder,
): Value {
  const rank = shape.length;
  const left = axesOf(0, rank + reduce.length).filter((axis) => !gone.includes(axis));
  const renumber = (axis: number): AffineIndex => (gone.includes(axis) ? fixed(0) : at(left.indexOf(axis)));
  const kept = indices.map((index) => index.map((coordinate) => compose(coordinate, renumber)));
  return build.contract(
    inputs,
    kept,
    shape.filter((_, axis) => !gone.includes(axis)),
    reduce.filter((_, place) => !gone.includes(rank + place)),
  );
}

/** May `count` times a value stand for a sum of so many? Only where the type holds the number exactly. */
const countable = (dtype: Dtype, count: Dim): count is number =>
  typeof count === 'number' && roundTo(dtype, count) === count;

const times = (value: Value, count: number, build: Builder): Value =>
  build.binary('mul', value, build.constant(count, value.type.dtype, value.type.shape));

/**
 * The axes of a tensor of tiles in the order of the whole they were cut from, each tile's position after its number: for
 * coordinates (j - r)/s, where r runs over the s positions and is read on its own, and plain ones.
 */
function tileOrder(
  tiles: readonly Dim[],
  index: readonly AffineIndex[],
  shape: readonly Dim[],
  reduce: readonly Dim[],
): number[] | undefined {
  const places = shape.map((): number[] => []);
  const read = new Set<number>();
  for (const [dim, coordinate] of index.entries()) {
    const plain = plainAxis(coordinate);
    if (plain !== undefined) {
      const size = plain < shape.length ? shape[plain] : reduce[plain - shape.length];
      if (read.has(plain) || !equal(size, tiles[dim])) return undefined;
      read.add(plain);
      if (plain < shape.length) places[plain].push(dim);
      continue;
    }
    const { terms, offset, divisor } = coordinate;
    const along = terms.find(({ axis, scale }) => axis < shape.length && scale === 1)?.axis;
    const within = terms.find(({ axis, scale }) => axis >= shape.length && scale === -1)?.axis;
    if (terms.length !== 2 || offset !== 0 || along === undefined || within === undefined) return undefined;
    const position = index.findIndex((other) => plainAxis(other) === within);
    const fits = equal(reduce[within - shape.length], divisor) && equal(shape[along], multiply(divisor, tiles[dim]));
    if (!fits || position < 0 || read.has(along)) return undefined;
    read.add(along);
    places[along].push(dim, position);
  }
  const order = places.flat();
  return read.size === shape.length + reduce.length && new Set(order).size === tiles.length ? order : undefined;
}

export const sumLaws: readonly Law[] = [
  rule({
    says: 'a contraction reads through views',
    op: 'contract',
    to(inputs, attributes, build) {
      const reads = inputs.map((value, place) =>
        throughViews(value, attributes.indices[place], sizesOf(attributes), build),
      );
      if (reads.every(({ value }, place) => value === inputs[place])) return undefined;
      return build.contract(
        reads.map(({ value }) => value),
        reads.map(({ index }) => index),
        attributes.shape,
        attributes.reduce,
      );
    },
  }),
  rule({
    says: 'a factor that is 1 everywhere it is read is none',
    op: 'contract',
    to(inputs, attributes, build) {
      const needless = inputs.findIndex(
        (value, place) =>
          uniform(value, build) === 1 && allInside(attributes.indices[place], sizesOf(attributes), value.type.shape),
      );
      if (needless < 0 || inputs.length === 1) return undefined;
      const others = <Item>(items: readonly Item[]): Item[] => items.filter((_, place) => place !== needless);
      return build.contract(others(inputs), others(attributes.indices), attributes.shape, attributes.reduce);
    },
  }),
  rule({
    says: 'summing tiles back to where they were cut is laying them side by side',
    op: 'contract',
    to([x, ...more], { shape, reduce, indices }, build) {
      if (more.length > 0 || reduce.length === 0) return undefined;
      const order = tileOrder(x.type.shape, indices[0], shape, reduce);
      return order === undefined ? undefined : build.reshape(build.transpose(x, order), shape);
    },
  }),
  rule({
    says: 'summing over an axis of size 1 is reading at 0',
    op: 'contract',
    to(inputs, attributes, build) {
      const rank = attributes.shape.length;
      const gone = axesOf(rank, attributes.reduce.length).filter((axis) => attributes.reduce[axis - rank] === 1);
      return gone.length === 0 ? undefined : without(inputs, attributes, gone, build);
    },
  }),
  rule({
    says: 'summing n times the same is n times it',
    op: 'contract',
    to(inputs, attributes, build) {
      const rank = attributes.shape.length;
      const axis = axesOf(rank, attributes.reduce.length).find(
        (candidate) => !attributes.indices.some((index) => uses(index, candidate)),
      );
      const count = axis === undefined ? undefined : attributes.reduce[axis - rank];
      if (axis === undefined || count === undefined || !countable(inputs[0].type.dtype, count)) return undefined;
      return times(without(inputs, attributes, [axis], build), count, build);
    },
  }),
  rule({
    says: 'a contraction that does not depend on an axis is computed once and stretched',
    op: 'contract',
    to(inputs, attributes, build) {
      const { shape, indices } = attributes;
      const gone = axesOf(0, shape.length).filter((axis) => !indices.some((index) => uses(index, axis)));
      if (gone.length === 0 || shape.includes(0)) return undefined;
      const smaller = without(inputs, attributes, gone, build);
      return build.view(
        smaller,
        shape,
        axesOf(0, shape.length)
          .filter((axis) => !gone.includes(axis))
          .map((axis) => at(axis)),
      );
    },
  }),
  rule({
    says: 'a contraction of one tensor that sums nothing is a view',
    op: 'contract',
    to: (inputs, { shape, reduce, indices }, build) =>
      inputs.length === 1 && reduce.length === 0 ? build.view(inputs[0], shape, indices[0]) : undefined,
  }),
  rule({
    says: 'a contraction of one tensor that sums whole axes is a reduction',
    op: 'contract',
    to(inputs, attributes, build) {
      const { shape, reduce, indices } = attributes;
      if (inputs.length !== 1) return undefined;
      const [x] = inputs;
      const index = indices[0].map(normalize);
      // Axes of x read by exactly one summed axis, in full, which nothing else reads.
      const summed = index.flatMap((coordinate, place) => {
        const axis = plainAxis(coordinate);
        if (axis === undefined || axis < shape.length || !equal(reduce[axis - shape.length], x.type.shape[place]))
          return [];
        return index.some((other, elsewhere) => elsewhere !== place && uses([other], axis)) ? [] : [{ place, axis }];
      });
      if (summed.length === 0) return undefined;
      const sum = build.reduce(
        'sum',
        x,
        summed.map(({ place }) => place),
      );
      const rest = { ...attributes, indices: [index.filter((_, place) => !summed.some((one) => one.place === place))] };
      return without(
        [sum],
        rest,
        summed.map(({ axis }) => axis),
        build,
      );
    },
  }),
  rule({
    says: 'reducing nothing is nothing',
    op: 'reduce',
    to: ([x], { axes }) => (axes.length === 0 ? x : undefined),
  }),
  rule({
    says: 'reducing only axes of size 1 drops them',
    op: 'reduce',
    to([x], { axes }, build) {
      const { shape } = x.type;
      return axes.every((axis) => shape[axis] === 1)
        ? build.reshape(
            x,
            shape.filter((_, axis) => !axes.includes(axis)),
          )
        : undefined;
    },
  }),
  rule({
    says: 'a sum of negatives is the negative of the sum',
    op: 'reduce',
    to([x], { monoid, axes }, build) {
      const node = build.producer(x);
      return monoid === 'sum' && node?.op === 'neg'
        ? build.unary('neg', build.reduce('sum', node.inputs[0], axes))
        : undefined;
    },
  }),
  rule({
    says: 'reducing an axis a value was stretched along: once is enough (n times for a sum)',
    op: 'reduce',
    to([x], { monoid, axes }, build) {
      const node = build.producer(x);
      if (node?.op !== 'view' || monoid === 'prod') return undefined;
      const { shape, index } = node.attributes;
      const axis = axes.find((candidate) => !uses(index, candidate));
      const count = axis === undefined ? undefined : shape[axis];
      if (axis === undefined || count === undefined || count === 0 || !countable(x.type.dtype, count)) return undefined;
      const lower = (one: number): number => (one > axis ? one - 1 : one);
      const narrow = build.view(
        node.inputs[0],
        shape.filter((_, place) => place !== axis),
        index.map((coordinate) => compose(coordinate, (one) => at(lower(one)))),
      );
      const reduced = build.reduce(monoid, narrow, axes.filter((one) => one !== axis).map(lower));
      return monoid === 'sum' ? times(reduced, count, build) : reduced;
    },
  }),
  rule({
    says: 'the sum, maximum or minimum of one number everywhere is a number',
    op: 'reduce',
    to([x], { monoid, axes }, build) {
      const value = uniform(x, build);
      const count = product(axes.map((axis) => x.type.shape[axis]));
      if (value === undefined || monoid === 'prod' || count === 0 || !countable(x.type.dtype, count)) return undefined;
      const shape = x.type.shape.filter((_, axis) => !axes.includes(axis));
      const single = build.constant(value, x.type.dtype, shape);
      return monoid === 'sum' ? times(single, count, build) : single;
    },
  }),
  rule({
    says: 'the sum of products of stretched tensors is a contraction',
    op: 'reduce',
    to([x], { monoid, axes }, build) {
      const node = build.producer(x);
      if (node?.op !== 'mul' || monoid !== 'sum') return undefined;
      const { shape } = x.type;
      const kept = axesOf(0, shape.length).filter((axis) => !axes.includes(axis));
      const place = (axis: number): AffineIndex =>
        at(axes.includes(axis) ? kept.length + axes.indexOf(axis) : kept.indexOf(axis));
      const reads = node.inputs.map((value) => {
        const read = throughViews(
          value,
          shape.map((_, axis) => at(axis)),
          shape,
          build,
        );
        return {
          value: read.value,
          index: read.index,
          stretched: kept.some((axis) => shape[axis] !== 1 && !uses(read.index, axis)),
        };
      });
      // Both have to miss an axis of the result, and share the summed ones: otherwise the product is cheap as it is.
      if (!reads.every(({ stretched, index }) => stretched && axes.every((axis) => uses(index, axis))))
        return undefined;
      return build.contract(
        reads.map(({ value }) => value),
        reads.map(({ index }) => index.map((coordinate) => compose(coordinate, place))),
        kept.map((axis) => shape[axis]),
        axes.map((axis) => shape[axis]),
      );
    },
  }),
];
