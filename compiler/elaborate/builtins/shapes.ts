/** Builtins that rearrange, join and cut tensors, make them from lists, or tell their sizes. */
import type { Value as GraphValue } from '../../graph/graph.ts';
import {
  add,
  divide,
  divideExactly,
  equal,
  evenly,
  multiply,
  product,
  show,
  subtract,
  type Dim,
} from '../../types/dim.ts';
import { align } from '../align.ts';
import { at, emit, fail, giveUp } from '../context.ts';
import { sizeFrom } from '../indexing.ts';
import { describe, int, isNumber, list, numberOf, showType, tensor, unknown, type Value } from '../value.ts';
import {
  added,
  argument,
  axisArgument,
  axisFrom,
  elementsOf,
  sizeArgument,
  tensorArgument,
  wholeTensor,
  type Builtin,
  type BuiltinCall,
} from './builtin.ts';

/** Calls with the tensor `x`, or gives `unknown`. */
const onTensor =
  (work: (call: BuiltinCall, x: GraphValue) => Value) =>
  (call: BuiltinCall): Value => {
    const x = tensorArgument(call, 'x');
    return x === undefined ? unknown : work(call, x);
  };

/** The order that exchanges two axes. */
const exchanged = (rank: number, a: number, b: number): number[] =>
  Array.from({ length: rank }, (_, axis) => (axis === a ? b : axis === b ? a : axis));

function reshape(call: BuiltinCall, x: GraphValue): Value {
  const { context } = call;
  const wanted = elementsOf(call, 'shape');
  const place = argument(call, 'shape').span;
  if (wanted.some((size) => size.kind === 'unknown')) return unknown;
  const open = wanted.filter((size) => size.kind === 'wildcard').length;
  if (open > 1) fail(context, 'not-a-size', { found: 'a second `_`: only one size can be inferred' }, [at(place)]);
  const known = wanted.map((size) => (size.kind === 'wildcard' ? 1 : sizeFrom(context, size, place)));
  const total = product(x.type.shape);
  const rest =
    divideExactly(total, product(known)) ??
    (typeof total === 'number' && typeof product(known) === 'number' ? undefined : divide(total, product(known)));
  const exact = open > 0 || equal(total, product(known));
  if (rest === undefined || !(exact || equal(evenly(total), evenly(product(known)))))
    return fail(
      context,
      'reshape-mismatch',
      {
        from: showType(x.type),
        to: `[${wanted.map((size) => (size.kind === 'int' ? show(size.value) : '_')).join(', ')}]`,
        count: show(total),
      },
      [at(place), at(argument(call, 'x').span, `this is ${showType(x.type)}`)],
    );
  const shape = wanted.map((size, axis) => (size.kind === 'wildcard' ? rest : known[axis]));
  // Sizes that only agree where divisions come out even are symbols, in a graph that is thrown away.
  return added(call, (builder) => (exact ? builder.reshape(x, shape) : builder.constant(0, x.type.dtype, shape)));
}

function pad(call: BuiltinCall, x: GraphValue): Value {
  const axis = axisArgument(call, 'axis', x, -1);
  const [before, after] = [sizeArgument(call, 'before', 0), sizeArgument(call, 'after', 0)];
  if (before === 0 && after === 0) return tensor(x);
  const { shape, dtype } = x.type;
  const value = call.arguments.get('value')?.value;
  const filler = value !== undefined && isNumber(value) ? (numberOf(value) ?? 0) : 0;
  const sized = (size: Dim): Dim[] => shape.map((dim, place) => (place === axis ? size : dim));
  // Reads outside a view are 0, so zeros cost nothing; other values are joined on.
  if (filler !== 0)
    return added(call, (builder) =>
      builder.concat(
        [builder.constant(filler, dtype, sized(before)), x, builder.constant(filler, dtype, sized(after))],
        axis,
      ),
    );
  const index = shape.map((_, place) => ({
    terms: [{ axis: place, scale: 1 }],
    offset: place === axis ? multiply(-1, before) : 0,
    divisor: 1,
  }));
  return added(call, (builder) => builder.view(x, sized(add(shape[axis], add(before, after))), index));
}

function join(call: BuiltinCall, stacked: boolean): Value {
  const { context, span } = call;
  const place = argument(call, 'xs').span;
  const values = elementsOf(call, 'xs');
  if (values.some((value) => value.kind === 'unknown')) return unknown;
  const tensors = values.flatMap((value) => wholeTensor(call, value, place) ?? []);
  if (tensors.length === 0)
    return fail(
      context,
      'wrong-kind',
      { what: `\`${call.builtin.name}\``, wanted: 'given at least one tensor', found: 'an empty list' },
      [at(place)],
    );
  const [first] = tensors;
  const axis = axisArgument(call, 'axis', first, 0, first.type.shape.length + (stacked ? 1 : 0));
  const { value: given } = argument(call, 'xs');
  if (given.kind === 'list' && typeof given.length !== 'number') {
    // One element stands for any number of them; the graph of a generic check is thrown away.
    const { shape, dtype } = first.type;
    const { length } = given;
    const joined = stacked
      ? [...shape.slice(0, axis), length, ...shape.slice(axis)]
      : shape.map((size, place) => (place === axis ? multiply(size, length) : size));
    return added(call, (builder) => builder.constant(0, dtype, joined));
  }
  for (const x of tensors) {
    const alike =
      x.type.dtype === first.type.dtype &&
      x.type.shape.length === first.type.shape.length &&
      x.type.shape.every((size, place) => (!stacked && place === axis) || equal(size, first.type.shape[place]));
    if (!alike)
      fail(
        context,
        'parts-differ',
        {
          callee: call.builtin.name,
          first: showType(first.type),
          other: showType(x.type),
          but: stacked ? '' : ` but axis ${axis}`,
        },
        [at(place)],
      );
  }
  const parts = stacked
    ? tensors.map((x) =>
        emit(context, span, (builder) =>
          builder.reshape(x, [...x.type.shape.slice(0, axis), 1, ...x.type.shape.slice(axis)]),
        ),
      )
    : tensors;
  return added(call, (builder) => builder.concat(parts, axis));
}

/** Into `n` equal parts, or parts of the sizes in a list. */
function split(call: BuiltinCall, x: GraphValue): Value {
  const { context, span } = call;
  const { value: parts, span: place } = argument(call, 'parts');
  const axis = axisArgument(call, 'axis', x, -1);
  const whole = x.type.shape[axis];
  let sizes: Dim[];
  if (parts.kind === 'list') {
    sizes = parts.elements.map((size) => sizeFrom(context, size, place));
    const total = sizes.reduce(add, 0);
    const difference = subtract(total, whole);
    if (typeof difference === 'number' && difference !== 0)
      fail(
        context,
        'split-mismatch',
        { type: showType(x.type), axis, size: show(whole), parts: `sizes that add up to ${show(total)}` },
        [at(place), at(argument(call, 'x').span, `this is ${showType(x.type)}`)],
      );
  } else {
    const count = sizeFrom(context, parts, place);
    if (typeof count !== 'number') return giveUp();
    const each =
      count === 0
        ? undefined
        : (divideExactly(whole, count) ?? (typeof whole === 'number' ? undefined : divide(whole, count)));
    if (each === undefined)
      return fail(
        context,
        'split-mismatch',
        { type: showType(x.type), axis, size: show(whole), parts: `${count} equal parts` },
        [at(place), at(argument(call, 'x').span, `this is ${showType(x.type)}`)],
      );
    sizes = Array.from({ length: count }, () => each);
  }
  let start: Dim = 0;
  const elements = sizes.map((size): Value => {
    const from = start;
    start = add(start, size);
    return tensor(emit(context, span, (builder) => builder.slice(x, axis, from, size)));
  });
  return { kind: 'tuple', elements };
}

/** Nested lists of numbers as a constant: i32 when all are whole numbers written without a point. */
function fromList(call: BuiltinCall): Value {
  const { value, span } = argument(call, 'elements');
  const { context } = call;
  const numbers: number[] = [];
  let whole = true;
  const shape: number[] = [];
  const visit = (element: Value, depth: number): void => {
    if (element.kind === 'list' || element.kind === 'tuple') {
      shape[depth] ??= element.elements.length;
      if (shape[depth] !== element.elements.length)
        fail(context, 'ragged-list', { wanted: String(shape[depth]), found: String(element.elements.length) }, [
          at(span),
        ]);
      for (const inner of element.elements) visit(inner, depth + 1);
    } else if (isNumber(element)) {
      if (depth !== shape.length) fail(context, 'ragged-list', { wanted: 'a list', found: 'a number' }, [at(span)]);
      if (element.kind === 'float') whole = false;
      numbers.push(numberOf(element) ?? 0);
    } else if (element.kind !== 'unknown')
      fail(context, 'wrong-kind', { what: 'An element', wanted: 'a number', found: describe(element) }, [at(span)]);
  };
  visit(value, 0);
  return added(call, (builder) =>
    builder.constant(shape.length === 0 ? (numbers[0] ?? 0) : numbers, whole ? 'i32' : 'f32', shape),
  );
}

function oneHot(call: BuiltinCall, ids: GraphValue): Value {
  const classes = sizeArgument(call, 'classes');
  const shape = [...ids.type.shape, classes];
  return added(call, (builder) => {
    const wide = builder.broadcast(builder.reshape(ids, [...ids.type.shape, 1]), shape);
    const position = builder.cast(builder.iota(shape, shape.length - 1), ids.type.dtype);
    return builder.cast(builder.binary('eq', wide, position), 'f32');
  });
}

const x = { name: 'x' };

export const shapes: readonly Builtin[] = [
  {
    name: 'reshape',
    doc: 'The same elements in row-major order in another shape; one size may be `_`.',
    signature: 'reshape(x, [sizes])',
    parameters: [x, { name: 'shape' }],
    evaluate: onTensor(reshape),
  },
  {
    name: 'flatten',
    doc: 'All axes but the first as one.',
    signature: 'flatten(x)',
    parameters: [x],
    evaluate: onTensor((call, value) =>
      added(call, (builder) => builder.reshape(value, [value.type.shape[0] ?? 1, product(value.type.shape.slice(1))])),
    ),
  },
  {
    name: 'transpose',
    doc: 'Two axes exchanged, the last two unless said otherwise.',
    signature: 'transpose(x, a: -2, b: -1)',
    parameters: [x, { name: 'a', optional: true }, { name: 'b', optional: true }],
    evaluate: onTensor((call, value) => {
      const [a, b] = [axisArgument(call, 'a', value, -2), axisArgument(call, 'b', value, -1)];
      return added(call, (builder) => builder.transpose(value, exchanged(value.type.shape.length, a, b)));
    }),
  },
  {
    name: 'permute',
    doc: 'The axes in another order.',
    signature: 'permute(x, [axes])',
    parameters: [x, { name: 'order' }],
    evaluate: onTensor((call, value) => {
      const order = elementsOf(call, 'order').map((axis) => axisFrom(call, value, axis, argument(call, 'order').span));
      return added(call, (builder) => builder.transpose(value, order));
    }),
  },
  {
    name: 'flip',
    doc: 'The axis from its end to its beginning.',
    signature: 'flip(x, axis: -1)',
    parameters: [x, { name: 'axis', optional: true }],
    evaluate: onTensor((call, value) => {
      const flipped = axisArgument(call, 'axis', value, -1);
      const { shape } = value.type;
      const index = shape.map((size, axis) => ({
        terms: [{ axis, scale: axis === flipped ? -1 : 1 }],
        offset: axis === flipped ? subtract(size, 1) : 0,
        divisor: 1,
      }));
      return added(call, (builder) => builder.view(value, shape, index));
    }),
  },
  {
    name: 'concat',
    doc: 'Tensors one after the other along an axis.',
    signature: 'concat([xs], axis: 0)',
    parameters: [{ name: 'xs' }, { name: 'axis', optional: true }],
    evaluate: (call) => join(call, false),
  },
  {
    name: 'stack',
    doc: 'Tensors of one shape along a new axis.',
    signature: 'stack([xs], axis: 0)',
    parameters: [{ name: 'xs' }, { name: 'axis', optional: true }],
    evaluate: (call) => join(call, true),
  },
  {
    name: 'pad',
    doc: 'More elements before and after along an axis, zeros unless said otherwise.',
    signature: 'pad(x, axis: -1, before: 0, after: 0, value: 0)',
    parameters: [x, ...['axis', 'before', 'after', 'value'].map((name) => ({ name, optional: true }))],
    evaluate: onTensor(pad),
  },
  {
    name: 'iota',
    doc: '0, 1, … as i32[n].',
    signature: 'iota(n)',
    parameters: [{ name: 'n' }],
    evaluate: (call) =>
      argument(call, 'n').value.kind === 'unknown'
        ? unknown
        : added(call, (builder) => builder.iota([sizeArgument(call, 'n')], 0)),
  },
  {
    name: 'one_hot',
    doc: '1 at the position of each id along a new last axis, 0 elsewhere.',
    signature: 'one_hot(x, classes)',
    parameters: [x, { name: 'classes' }],
    evaluate: onTensor(oneHot),
  },
  {
    name: 'tensor',
    doc: 'Nested lists of numbers as a tensor.',
    signature: 'tensor([…])',
    parameters: [{ name: 'elements' }],
    evaluate: fromList,
  },
  {
    name: 'size',
    doc: 'The size of an axis.',
    signature: 'size(x, axis)',
    parameters: [x, { name: 'axis' }],
    evaluate: onTensor((call, value) => int(value.type.shape[axisArgument(call, 'axis', value, 0)])),
  },
  {
    name: 'shape',
    doc: 'All sizes, as a list.',
    signature: 'shape(x)',
    parameters: [x],
    evaluate: onTensor((_, value) => list(value.type.shape.map(int))),
  },
  {
    name: 'broadcast',
    doc: 'Stretched to a shape, by the rule that operators follow.',
    signature: 'broadcast(x, [sizes])',
    parameters: [x, { name: 'shape' }],
    evaluate(call) {
      const place = argument(call, 'shape').span;
      const sizes = elementsOf(call, 'shape').map((size) => sizeFrom(call.context, size, place));
      const aligned = align(call.context, 'broadcast', [argument(call, 'x')], call.span);
      return aligned === undefined ? unknown : added(call, (builder) => builder.broadcast(aligned.values[0], sizes));
    },
  },
];

export { split };
