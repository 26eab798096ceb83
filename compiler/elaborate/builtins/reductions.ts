/** Builtins that combine elements along axes. Without an axis, all of them. */
import type { Monoid, Value as GraphValue } from '../../graph/graph.ts';
import { product, type Dim } from '../../types/dim.ts';
import { emit } from '../context.ts';
import { int, tensor, unknown, type Value } from '../value.ts';
import {
  added,
  argument,
  axisArgument,
  axisFrom,
  boolArgument,
  tensorArgument,
  type Builtin,
  type BuiltinCall,
} from './builtin.ts';
import { pairwise } from './elementwise.ts';

const parameters = [{ name: 'x' }, { name: 'axis', optional: true }, { name: 'keep', optional: true }];

function reduction(name: Monoid | 'mean', doc: string): Builtin {
  return {
    name,
    doc,
    signature: `${name}(x, axis: all, keep: false)`,
    parameters,
    evaluate: (call) => reduce(call, name),
  };
}

/** `max(a, b)` is elementwise; `max(x)`, `max(x, axis: 1)` reduces. */
function extremum(name: 'max' | 'min', doc: string, fold: (a: number, b: number) => number): Builtin {
  return {
    name,
    doc,
    signature: `${name}(a, b) or ${name}(x, axis: all, keep: false)`,
    parameters: [
      { name: 'x' },
      { name: 'other', optional: true },
      { name: 'axis', optional: true },
      { name: 'keep', optional: true },
    ],
    evaluate: (call) => (call.arguments.has('other') ? pairwise(call, name, 'x', 'other', fold) : reduce(call, name)),
  };
}

function reduce(call: BuiltinCall, monoid: Monoid | 'mean'): Value {
  const x = tensorArgument(call, 'x');
  if (x === undefined) return unknown;
  const { shape } = x.type;
  const axes = reducedAxes(call, x);
  const keep = boolArgument(call, 'keep', false);
  const kept: Dim[] = keep
    ? shape.map((size, axis) => (axes.includes(axis) ? 1 : size))
    : shape.filter((_, axis) => !axes.includes(axis));
  const count = product(axes.map((axis) => shape[axis]));
  return added(call, (builder) => {
    const total = builder.reduce(monoid === 'mean' ? 'sum' : monoid, x, axes);
    const result =
      monoid === 'mean' && axes.length > 0
        ? builder.binary(
            'div',
            total,
            builder.constant(typeof count === 'number' ? count : 1, x.type.dtype, total.type.shape),
          )
        : total;
    return builder.reshape(result, kept);
  });
}

function reducedAxes(call: BuiltinCall, x: GraphValue): number[] {
  const given = call.arguments.get('axis');
  if (given === undefined) return x.type.shape.map((_, axis) => axis);
  const { value, span } = given;
  const chosen = value.kind === 'list' || value.kind === 'tuple' ? value.elements : [value];
  return [...new Set(chosen.map((axis) => axisFrom(call, x, axis, span)))].sort((a, b) => a - b);
}

function argReduction(name: 'argmax' | 'argmin', monoid: 'max' | 'min'): Builtin {
  return {
    name,
    doc: `Position (i32) of the first ${monoid === 'max' ? 'largest' : 'smallest'} element along the axis.`,
    signature: `${name}(x, axis: -1)`,
    parameters: [{ name: 'x' }, { name: 'axis', optional: true }],
    evaluate(call) {
      const x = tensorArgument(call, 'x');
      return x === undefined
        ? unknown
        : added(call, (builder) => builder.argreduce(monoid, x, axisArgument(call, 'axis', x, -1)));
    },
  };
}

export const reductions: readonly Builtin[] = [
  reduction('sum', 'The sum along axes.'),
  reduction('mean', 'The mean along axes.'),
  reduction('prod', 'The product along axes.'),
  extremum('max', 'The larger of two, elementwise; or the largest along axes.', Math.max),
  extremum('min', 'The smaller of two, elementwise; or the smallest along axes.', Math.min),
  argReduction('argmax', 'max'),
  argReduction('argmin', 'min'),
  {
    name: 'cumsum',
    doc: 'Running sums along the axis, from the end if `reverse`.',
    signature: 'cumsum(x, axis: -1, reverse: false)',
    parameters: [{ name: 'x' }, { name: 'axis', optional: true }, { name: 'reverse', optional: true }],
    evaluate(call) {
      const x = tensorArgument(call, 'x');
      if (x === undefined) return unknown;
      const axis = axisArgument(call, 'axis', x, -1);
      return tensor(
        emit(call.context, call.span, (builder) =>
          builder.cumulative('sum', x, axis, boolArgument(call, 'reverse', false)),
        ),
      );
    },
  },
  {
    name: 'count',
    doc: 'How many elements there are.',
    signature: 'count(x)',
    parameters: [{ name: 'x' }],
    evaluate(call) {
      const { value } = argument(call, 'x');
      if (value.kind === 'list' || value.kind === 'tuple')
        return int(value.kind === 'list' ? value.length : value.elements.length);
      const x = tensorArgument(call, 'x');
      return x === undefined ? unknown : int(product(x.type.shape));
    },
  },
];
