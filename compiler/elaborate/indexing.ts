/**
 * Square brackets after a value: `x[:, 1..4]`, `x[..., target]`, `table[ids]`, `x[b, 2*i + u]` inside index notation,
 * `blocks[0]`, and shapes: `zeros[B, hidden]`, `normal(std: 0.1)[3]`.
 */
import type { Index } from '../../grammar/ast.ts';
import type { Span } from '../base/source.ts';
import type { AffineIndex, Value as GraphValue } from '../graph/graph.ts';
import { add, equal, show, subtract, type Dim } from '../types/dim.ts';
import { at, emit, fail, type Context } from './context.ts';
import { gatherRead } from './indexed.ts';
import { createIndexScope, restAxis } from './index-ranges.ts';
import type { Scope } from './scope.ts';
import { describe, showType, tensor, unknown, type IndexedValue, type IndexValue, type Value } from './value.ts';

type Item =
  | { readonly kind: 'rest'; readonly span: Span }
  | { readonly kind: 'all'; readonly span: Span }
  | { readonly kind: 'at'; readonly value: Value; readonly span: Span };

export function evaluateIndex(context: Context, node: Index, scope: Scope): Value {
  const { evaluator } = context;
  const target = context.index?.targets.get(node.target) ?? evaluator.evaluate(context, scope, node.target);
  const items = node.items.map((item): Item =>
    item.kind === 'at' ? { kind: 'at', value: evaluator.evaluate(context, scope, item.value), span: item.span } : item,
  );
  if (target.kind === 'unknown' || items.some((item) => item.kind === 'at' && item.value.kind === 'unknown'))
    return unknown;
  switch (target.kind) {
    case 'tensor':
      return indexTensor(context, target.value, items, node.span);
    case 'list':
    case 'tuple':
      return element(context, target, items, node.span);
    case 'builtin':
    case 'function':
    case 'initializer':
      return evaluator.ofShape(context, target, shapeOf(context, items), node.span);
    default:
      return fail(context, 'not-indexable', { found: describe(target) }, [at(node.target.span)]);
  }
}

function shapeOf(context: Context, items: readonly Item[]): Dim[] {
  return items.map((item) => {
    if (item.kind !== 'at')
      return fail(context, 'not-a-size', { found: item.kind === 'rest' ? '`...`' : '`:`' }, [at(item.span)]);
    return sizeFrom(context, item.value, item.span);
  });
}

/** A value as a size: a whole number that is not negative. */
export function sizeFrom(context: Context, value: Value, span: Span): Dim {
  if (value.kind !== 'int') return fail(context, 'not-a-size', { found: describe(value) }, [at(span)]);
  if (typeof value.value === 'number' && value.value < 0)
    fail(context, 'negative-size', { size: show(value.value) }, [at(span)]);
  return value.value;
}

function element(
  context: Context,
  target: Extract<Value, { kind: 'list' | 'tuple' }>,
  items: readonly Item[],
  span: Span,
): Value {
  const [item] = items;
  if (items.length !== 1 || item.kind !== 'at' || item.value.kind !== 'int')
    return fail(
      context,
      'bad-index',
      { found: items.length === 1 && item.kind === 'at' ? describe(item.value) : 'several positions' },
      [at(span)],
    );
  const position = item.value.value;
  if (target.kind === 'list' && typeof target.length !== 'number') return target.elements[0] ?? unknown;
  if (typeof position !== 'number') return target.elements[0] ?? unknown;
  const place = position < 0 ? position + target.elements.length : position;
  return (
    target.elements[place] ??
    fail(context, 'index-out-of-range', { index: show(position), size: String(target.elements.length), axis: 0 }, [
      at(item.span),
    ])
  );
}

function indexTensor(context: Context, value: GraphValue, items: readonly Item[], span: Span): Value {
  const explicit = items.filter((item) => item.kind !== 'rest').length;
  const { shape } = value.type;
  const rests = items.length - explicit;
  if (explicit > shape.length || rests > 1)
    return fail(context, 'too-many-indices', { type: showType(value.type), given: explicit }, [at(span)]);
  const notation = items.some(
    (item) => item.kind === 'at' && (item.value.kind === 'index' || item.value.kind === 'indexed'),
  );
  // Axes after the last item are taken whole.
  const complete: readonly Item[] =
    rests === 1 || notation || explicit === shape.length ? items : [...items, { kind: 'rest', span }];
  return notation ? readElement(context, value, complete, span) : takePart(context, value, complete, span);
}

/** Inside index notation. */
function readElement(context: Context, value: GraphValue, items: readonly Item[], span: Span): IndexedValue {
  const { shape } = value.type;
  const explicit = items.filter((item) => item.kind !== 'rest').length;
  if (explicit === items.length && explicit < shape.length)
    fail(context, 'missing-indices', { type: showType(value.type), given: explicit, rank: shape.length }, [at(span)]);
  const positions: (IndexValue | IndexedValue)[] = [];
  for (const item of items) {
    if (item.kind === 'rest') {
      const index = context.index ?? createIndexScope();
      const count = shape.length - explicit;
      for (let place = 0; place < count; place++) {
        const axis = restAxis(context, index, count - place - 1, shape[positions.length], span);
        positions.push({ kind: 'index', terms: [{ axis, scale: 1 }], offset: 0 });
      }
      continue;
    }
    if (item.kind === 'all')
      return fail(context, 'bad-index', { found: '`:`, and every axis needs an index here' }, [at(item.span)]);
    const position = item.value;
    if (position.kind === 'index' || position.kind === 'indexed') positions.push(position);
    else if (position.kind === 'int')
      positions.push({
        kind: 'index',
        terms: [],
        offset: fromStart(context, position.value, shape[positions.length], positions.length, item.span),
      });
    else if (position.kind === 'tensor' && position.value.type.shape.length === 0)
      positions.push({ kind: 'indexed', value: position.value, index: [] });
    else
      return fail(
        context,
        'index-not-affine',
        {},
        [at(item.span, `this is ${describe(position)}`)],
        position.kind === 'tensor' ? { hint: 'Say which element: `ids[i]`.' } : {},
      );
  }
  if (positions.some((position) => position.kind === 'indexed')) return gatherRead(context, value, positions, span);
  return {
    kind: 'indexed',
    value,
    index: positions.flatMap((position) => (position.kind === 'index' ? [position] : [])),
  };
}

/** A fixed position; negative ones count from the end. */
function fromStart(context: Context, position: Dim, size: Dim, axis: number, span: Span): Dim {
  const place = typeof position === 'number' && position < 0 ? add(size, position) : position;
  const tooFar = subtract(place, size);
  if ((typeof place === 'number' && place < 0) || (typeof tooFar === 'number' && tooFar >= 0))
    fail(context, 'index-out-of-range', { index: show(position), size: show(size), axis }, [at(span)]);
  return place;
}

/** Outside of index notation: fixed positions and ranges as one view, then i32 positions as a gather. */
function takePart(context: Context, value: GraphValue, items: readonly Item[], span: Span): Value {
  const { shape } = value.type;
  const explicit = items.filter((item) => item.kind !== 'rest').length;
  const index: AffineIndex[] = [];
  const kept: Dim[] = [];
  const whole = (size: Dim, offset: Dim = 0): void => {
    index.push({ terms: [{ axis: kept.length, scale: 1 }], offset, divisor: 1 });
    kept.push(size);
  };
  let ids: { value: GraphValue; axis: number; span: Span } | undefined;
  for (const item of items) {
    const size = shape[index.length];
    if (item.kind === 'rest') for (let count = shape.length - explicit; count > 0; count--) whole(shape[index.length]);
    else if (item.kind === 'all') whole(size);
    else if (item.value.kind === 'int')
      index.push({
        terms: [],
        offset: fromStart(context, item.value.value, size, index.length, item.span),
        divisor: 1,
      });
    else if (item.value.kind === 'range') {
      const { from, to } = item.value;
      const end = typeof to === 'number' && to < 0 ? add(size, to) : to;
      const start = typeof from === 'number' && from < 0 ? add(size, from) : from;
      const [length, left] = [subtract(end, start), subtract(size, end)];
      if ([start, length, left].some((dim) => typeof dim === 'number' && dim < 0))
        fail(
          context,
          'index-out-of-range',
          { index: `${show(from)}..${show(to)}`, size: show(size), axis: index.length },
          [at(item.span)],
        );
      whole(length, start);
    } else if (item.value.kind === 'tensor' && item.value.value.type.dtype === 'i32') {
      if (ids !== undefined)
        fail(context, 'bad-index', { found: 'a second tensor of positions' }, [at(item.span)], {
          hint: 'Use index notation: `let y[i] = x[a[i], b[i]]`.',
        });
      ids = { value: item.value.value, axis: kept.length, span: item.span };
      whole(size);
    } else
      return fail(context, 'bad-index', { found: describe(item.value) }, [at(item.span)], {
        hint: 'A whole axis is `:`, and all axes that are not named are `...`.',
      });
  }
  const unchanged =
    kept.length === shape.length && index.every(({ offset }, axis) => offset === 0 && equal(kept[axis], shape[axis]));
  const part = unchanged ? value : emit(context, span, (builder) => builder.view(value, kept, index));
  return tensor(ids === undefined ? part : gatherAlong(context, part, ids, span));
}

/** `x[..., ids]`: the axes before are shared with the ids; without axes before, whole rows are taken; one id takes one slice. */
function gatherAlong(
  context: Context,
  source: GraphValue,
  ids: { value: GraphValue; axis: number; span: Span },
  span: Span,
): GraphValue {
  const { shape } = source.type;
  if (ids.axis > 0 && ids.value.type.shape.length === 0) {
    const order = [ids.axis, ...shape.map((_, axis) => axis).filter((axis) => axis !== ids.axis)];
    return emit(context, span, (builder) => builder.gather(builder.transpose(source, order), ids.value, 0));
  }
  const leading = shape.slice(0, ids.axis);
  leading.forEach((size, axis) => {
    const own = ids.value.type.shape[axis];
    if (own === undefined || !equal(own, size))
      fail(
        context,
        'gather-mismatch',
        { source: showType(source.type), ids: showType(ids.value.type), axis, wanted: show(size) },
        [at(ids.span, `this is ${showType(ids.value.type)}`), at(span, `from ${showType(source.type)}`)],
      );
  });
  return emit(context, span, (builder) => builder.gather(source, ids.value, ids.axis));
}
