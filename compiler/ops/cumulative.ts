/** cumulative: the running sum, product, maximum or minimum along an axis. */
import type { Builder } from '../graph/build.ts';
import type { NodeOf, Value } from '../graph/graph.ts';
import type { Op, Sample } from '../graph/op.ts';
import { concrete } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';
import { at } from './affine.ts';
import { arithmetic } from './arithmetic.ts';
import { linesOf } from './lines.ts';
import { combine, identity } from './monoid.ts';
import { blank, roundAll } from './numeric.ts';
import { needAxis, needNumber, one } from './rules.ts';

function gradientOfCumulative(node: NodeOf<'cumulative'>, adjoint: Value, build: Builder): Value {
  const { monoid, axis, reverse } = node.attributes;
  const x = one('cumulative', node.inputs);
  if (monoid === 'sum') return build.cumulative('sum', adjoint, axis, !reverse);
  return monoid === 'prod'
    ? gradientOfProduct(x, adjoint, axis, reverse, build)
    : gradientOfExtreme(node, x, adjoint, build);
}

/**
 * dx[k] = Σ_i g[i] · (the product up to i without x[k]). Written with one running product per k (x[k] replaced by 1),
 * so
 * that zeros need no care; quadratic in the length of the axis.
 */
function gradientOfProduct(x: Value, adjoint: Value, axis: number, reverse: boolean, build: Builder): Value {
  const rank = x.type.shape.length;
  const shape = [...x.type.shape, x.type.shape[axis]];
  const along = x.type.shape.map((_, place) => at(place));
  const wide = (value: Value): Value => build.view(value, shape, along);
  const walked = build.iota(shape, axis);
  const left = build.iota(shape, rank);
  const without = build.where(build.binary('eq', walked, left), build.constant(1, x.type.dtype, shape), wide(x));
  const running = build.cumulative('prod', without, axis, reverse);
  const counts = reverse ? build.binary('le', walked, left) : build.binary('le', left, walked);
  const terms = build.where(
    counts,
    build.binary('mul', wide(adjoint), running),
    build.constant(0, x.type.dtype, shape),
  );
  const total = build.reduce('sum', terms, [axis]);
  // The axis of k is last now; it belongs where the walked one was.
  const order = x.type.shape.map((_, place) => (place < axis ? place : place === axis ? rank - 1 : place - 1));
  return build.transpose(total, order);
}

/** Each position's extreme was last reached somewhere: its adjoint is added there. */
function gradientOfExtreme(node: NodeOf<'cumulative'>, x: Value, adjoint: Value, build: Builder): Value {
  const { axis, reverse } = node.attributes;
  const { shape } = x.type;
  const rank = shape.length;
  const { same } = arithmetic(build);
  const reached = same(x, node.outputs[0]);
  const place = build.iota(shape, axis);
  // Positions not reached must lose: -1 against a running maximum, the greatest number against a running minimum.
  const losing = build.constant(reverse ? 2147483647 : -1, 'i32', shape);
  const source = build.cumulative(reverse ? 'min' : 'max', build.where(reached, place, losing), axis, reverse);
  const last = [...shape.keys()].filter((other) => other !== axis).concat(axis);
  const summed = build.scatter(build.transpose(source, last), build.transpose(adjoint, last), rank - 1, shape[axis]);
  return build.transpose(
    summed,
    [...shape.keys()].map((other) => last.indexOf(other)),
  );
}

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

export const cumulative: Op<'cumulative'> = {
  name: 'cumulative',
  doc:
    'The running combination along an axis, each element included; from the end if reversed. The gradient of a ' +
    'running maximum or minimum goes to the element that reached it last.',
  type(inputs, { monoid, axis }) {
    const x = one(`cumulative ${monoid}`, inputs);
    needNumber(`cumulative ${monoid}`, x);
    needAxis(`cumulative ${monoid}`, x.shape, axis);
    return [x];
  },
  interpret(inputs, { monoid, axis, reverse }, [type], context) {
    const { data } = one('cumulative', inputs);
    const result = blank(type);
    const lines = linesOf(concrete(type.shape), axis);
    const step = combine(monoid, type.dtype);
    for (let line = 0; line < lines.count; line++) {
      let value = identity(monoid, type.dtype);
      const start = lines.start(line);
      for (let n = 0; n < lines.length; n++) {
        const p = start + (reverse ? lines.length - 1 - n : n) * lines.stride;
        value = step(value, data[p]);
        result.data[p] = value;
      }
    }
    roundAll(result.data, type.dtype, context);
    return [result];
  },
  gradient: (node, [adjoint], build) => [adjoint && gradientOfCumulative(node, adjoint, build)],
  samples: (['sum', 'prod', 'max', 'min'] as const).flatMap((monoid): Sample<'cumulative'>[] => [
    { inputs: [f32(5)], attributes: { monoid, axis: 0, reverse: false } },
    { inputs: [f32(2, 4, 3)], attributes: { monoid, axis: 1, reverse: true } },
    { inputs: [f32(2, 4, 3)], attributes: { monoid, axis: 0, reverse: false } },
    { inputs: [f32(3, 1)], attributes: { monoid, axis: 1, reverse: false } },
    { inputs: [f32(0, 3)], attributes: { monoid, axis: 1, reverse: true } },
    { inputs: [{ dtype: 'i32', shape: [4, 3] }], attributes: { monoid, axis: 0, reverse: true }, integers: [-5, 5] },
  ]),
};
