/**
 * Elements of index notation: reads that stay reads until something needs the elements, so that a sum of products of
 * reads becomes one `contract` and a transposing read one `view`.
 */
import type { Span } from '../base/source.ts';
import type { AffineIndex, Monoid, Value as GraphValue } from '../graph/graph.ts';
import { equal, multiply, product, type Dim } from '../types/dim.ts';
import { isFloat, isInteger, type Dtype } from '../types/dtype.ts';
import { at, emit, fail, giveUp, type Context } from './context.ts';
import type { Axis, IndexedValue, IndexValue, Value } from './value.ts';

/** The index variables a read depends on, in their order. */
export function freeAxes(value: IndexedValue): Axis[] {
  const found = new Set<Axis>();
  for (const { terms } of value.index) for (const { axis } of terms) found.add(axis);
  return [...found].sort((a, b) => a.order - b.order);
}

/** All index variables that some elements depend on, in their order. */
export function unionAxes(values: readonly Value[]): Axis[] {
  const found = new Set<Axis>();
  for (const value of values) if (value.kind === 'indexed') for (const axis of freeAxes(value)) found.add(axis);
  return [...found].sort((a, b) => a.order - b.order);
}

export function sizeOf(context: Context, axis: Axis): Dim {
  if (axis.size !== undefined) return axis.size;
  if (context.index?.undecided === true) giveUp();
  return fail(context, 'index-range-unknown', { name: axis.name }, [at(axis.span)], {
    hint: `Say it: \`${axis.name} in 0..n\`.`,
  });
}

/** Each axis of `value` is one index variable. */
export const elementOf = (value: GraphValue, axes: readonly Axis[]): IndexedValue => ({
  kind: 'indexed',
  value,
  index: axes.map((axis) => ({ kind: 'index', terms: [{ axis, scale: 1 }], offset: 0 })),
});

/** Positions in terms of a list of axes: what views and contractions carry. */
export function affine(index: readonly IndexValue[], axes: readonly Axis[]): AffineIndex[] {
  return index.map(({ terms, offset }) => ({
    terms: terms.map(({ axis, scale }) => ({ axis: axes.indexOf(axis), scale })).sort((a, b) => a.axis - b.axis),
    offset,
    divisor: 1,
  }));
}

/** The elements over exactly these axes, as a tensor of their sizes. */
export function materialize(context: Context, value: IndexedValue, axes: readonly Axis[], span: Span): GraphValue {
  const shape = axes.map((axis) => sizeOf(context, axis));
  const plain =
    value.index.length === axes.length &&
    value.index.every(({ terms, offset }, place) => {
      const [term] = terms;
      const size = value.value.type.shape[place];
      return (
        terms.length === 1 &&
        offset === 0 &&
        term.axis === axes[place] &&
        term.scale === 1 &&
        size !== undefined &&
        equal(size, shape[place])
      );
    });
  if (plain) return value.value;
  return emit(context, span, (builder) => builder.view(value.value, shape, affine(value.index, axes)));
}

/** A position as numbers of an element type: index variables may be used as numbers. */
export function toIndexed(context: Context, value: IndexValue, dtype: Dtype, span: Span): IndexedValue {
  const axes = value.terms.map(({ axis }) => axis).sort((a, b) => a.order - b.order);
  const shape = axes.map((axis) => sizeOf(context, axis));
  const whole: Dtype = isInteger(dtype) ? dtype : 'i32';
  const scaled = value.terms.map(({ axis, scale }) =>
    emit(context, span, (builder) => {
      const counted = builder.cast(builder.iota(shape, axes.indexOf(axis)), whole);
      return scale === 1 ? counted : builder.binary('mul', counted, builder.constant(numeric(scale), whole, shape));
    }),
  );
  const sum = emit(context, span, (builder) => {
    const [first, ...more] =
      value.offset === 0 && scaled.length > 0
        ? scaled
        : [...scaled, builder.constant(numeric(value.offset), whole, shape)];
    return builder.cast(
      more.reduce((total, next) => builder.binary('add', total, next), first),
      isFloat(dtype) ? dtype : whole,
    );
  });
  return elementOf(sum, axes);
}

/** A symbolic number stands for any: the graph of a generic check is thrown away. */
const numeric = (dim: Dim): number => (typeof dim === 'number' ? dim : 1);

/** Combines over index variables. `mean` is a sum over the number of elements. */
export function reduceOver(
  context: Context,
  monoid: Monoid,
  value: IndexedValue,
  over: readonly Axis[],
  span: Span,
): IndexedValue {
  const kept = freeAxes(value).filter((axis) => !over.includes(axis));
  const all = [...kept, ...over];
  const elements = materialize(context, value, all, span);
  return elementOf(
    emit(context, span, (builder) =>
      builder.reduce(
        monoid,
        elements,
        over.map((_, place) => kept.length + place),
      ),
    ),
    kept,
  );
}

/**
 * Σ over index variables of a product of reads: contractions of two at a time, left to right. A variable is summed as soon
 * as nothing to the right reads it.
 */
export function contractOver(
  context: Context,
  factors: readonly IndexedValue[],
  over: readonly Axis[],
  span: Span,
): IndexedValue {
  let [left, ...rest] = factors;
  while (rest.length > 0) {
    const [right, ...later] = rest;
    const needed = unionAxes(later);
    const both = unionAxes([left, right]);
    const summed = both.filter((axis) => over.includes(axis) && !needed.includes(axis));
    const kept = both.filter((axis) => !summed.includes(axis));
    const all = [...kept, ...summed];
    const operands = [left, right];
    const value = emit(context, span, (builder) =>
      builder.contract(
        operands.map((operand) => operand.value),
        operands.map((operand) => affine(operand.index, all)),
        kept.map((axis) => sizeOf(context, axis)),
        summed.map((axis) => sizeOf(context, axis)),
      ),
    );
    left = elementOf(value, kept);
    rest = later;
  }
  const open = over.filter((axis) => freeAxes(left).includes(axis));
  return open.length === 0 ? left : reduceOver(context, 'sum', left, open, span);
}

/** How many elements index variables run over together. */
export const countOf = (context: Context, axes: readonly Axis[]): Dim =>
  product(axes.map((axis) => sizeOf(context, axis)));

/**
 * A read whose positions include elements of i32 tensors (`table[ids[b, t], d]`): a gather. Several such positions are
 * folded into one over the product of their axes.
 */
export function gatherRead(
  context: Context,
  source: GraphValue,
  positions: readonly (IndexValue | IndexedValue)[],
  span: Span,
): IndexedValue {
  const fromData = positions.flatMap((position, place) => (position.kind === 'indexed' ? [{ position, place }] : []));
  const plain = positions.flatMap((position) =>
    position.kind === 'index' ? position.terms.map(({ axis }) => axis) : [],
  );
  const idAxes = unionAxes(fromData.map(({ position }) => position));
  const own = [...new Set(plain)].sort((a, b) => a.order - b.order);
  const batch = own.filter((axis) => idAxes.includes(axis));
  const trailing = own.filter((axis) => !idAxes.includes(axis));
  const free = idAxes.filter((axis) => !batch.includes(axis));
  const ids = [...batch, ...free];

  // The source over batch axes, then the axes that data choose from, then the rest.
  const chosen = fromData.map(({ place }): Axis => ({
    name: `axis ${place}`,
    span,
    order: 0,
    size: source.type.shape[place],
  }));
  let next = 0;
  const index = positions.map((position): IndexValue =>
    position.kind === 'index' ? position : { kind: 'index', terms: [{ axis: chosen[next++], scale: 1 }], offset: 0 },
  );
  const arranged = materialize(
    context,
    { kind: 'indexed', value: source, index },
    [...batch, ...chosen, ...trailing],
    span,
  );
  const shape = [
    ...batch.map((axis) => sizeOf(context, axis)),
    countOf(context, chosen),
    ...trailing.map((axis) => sizeOf(context, axis)),
  ];
  const idShape = ids.map((axis) => sizeOf(context, axis));
  const elements = fromData.map(({ position }) => {
    const { dtype } = position.value.type;
    if (dtype !== 'i32')
      fail(context, 'dtype-mismatch', { what: 'A position', wanted: 'i32', found: dtype }, [at(span)]);
    return materialize(context, position, ids, span);
  });
  const gathered = emit(context, span, (builder) => {
    let combined = elements[0];
    elements.slice(1).forEach((element, place) => {
      const size = builder.constant(numeric(chosen[place + 1].size ?? 1), 'i32', idShape);
      combined = builder.binary('add', builder.binary('mul', combined, size), element);
    });
    return builder.gather(builder.reshape(arranged, shape), combined, batch.length);
  });
  return elementOf(gathered, [...ids, ...trailing]);
}

/** index + index, index · number: still a position. */
export function combineIndex(a: IndexValue, b: IndexValue, sign: 1 | -1, add: (x: Dim, y: Dim) => Dim): IndexValue {
  const terms = [...a.terms];
  for (const { axis, scale } of b.terms) {
    const place = terms.findIndex((term) => term.axis === axis);
    const signed = multiply(sign, scale);
    if (place < 0) terms.push({ axis, scale: signed });
    else terms[place] = { axis, scale: add(terms[place].scale, signed) };
  }
  return {
    kind: 'index',
    terms: terms.filter(({ scale }) => scale !== 0),
    offset: add(a.offset, multiply(sign, b.offset)),
  };
}
