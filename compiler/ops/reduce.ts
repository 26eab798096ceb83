/** Reductions over axes: reduce (sum, prod, max, min) and argreduce. */
import type { Builder } from '../graph/build.ts';
import type { NodeOf, Value } from '../graph/graph.ts';
import type { Op, Sample } from '../graph/op.ts';
import { concrete } from '../types/dim.ts';
import type { Dim } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';
import { at } from './affine.ts';
import { arithmetic } from './arithmetic.ts';
import { linesOf } from './lines.ts';
import { combine, identity } from './monoid.ts';
import { blank, roundAll, stridesOf } from './numeric.ts';
import { fail, needAxis, needNumber, one, showType } from './rules.ts';

/** A reduced value in the shape it was reduced from. */
export function spread(build: Builder, reduced: Value, shape: readonly Dim[], axes: readonly number[]): Value {
  const kept = shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  return build.view(
    reduced,
    shape,
    kept.map((axis) => at(axis)),
  );
}

/** A sum goes to every element; a maximum or minimum to those that reach it, in equal shares. */
function gradientOfReduce(node: NodeOf<'reduce'>, adjoint: Value, build: Builder): Value {
  const { multiply, divide, same, filled } = arithmetic(build);
  const { monoid, axes } = node.attributes;
  const x = one('reduce', node.inputs);
  const { shape } = x.type;
  const over = (reduced: Value): Value => spread(build, reduced, shape, axes);
  if (monoid === 'sum') return over(adjoint);
  if (monoid === 'prod') {
    // The product of the others: p / x where nothing is 0; where exactly one element is 0, only that one gets anything.
    const zero = filled(x, 0);
    const isZero = same(x, zero);
    const safe = build.where(isZero, filled(x, 1), x);
    const rest = build.reduce('prod', safe, axes);
    const zeros = over(build.reduce('sum', build.where(isZero, filled(x, 1), zero), axes));
    const others = build.where(
      same(zeros, zero),
      divide(over(rest), safe),
      build.where(build.binary('and', isZero, same(zeros, filled(x, 1))), over(rest), zero),
    );
    return multiply(over(adjoint), others);
  }
  const reached = build.cast(same(x, over(node.outputs[0])), x.type.dtype);
  // One at least: a GPU that adds and multiplies at once may compute x anew in other last bits than its maximum, and none would be equal.
  const count = build.reduce('sum', reached, axes);
  const share = divide(adjoint, build.binary('max', count, filled(count, 1)));
  return multiply(over(share), reached);
}

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

export const reduce: Op<'reduce'> = {
  name: 'reduce',
  doc:
    'Combines all elements along the axes, which are dropped. Of nothing: 0, 1, the least, the greatest. Sums are ' +
    'accumulated in f64 by the interpreter and rounded once; ties of max and min share the gradient.',
  type(inputs, { monoid, axes }) {
    const x = one('reduce', inputs);
    if (monoid === 'sum' || monoid === 'prod') needNumber(monoid, x);
    for (const axis of axes) needAxis(monoid, x.shape, axis);
    if (new Set(axes).size !== axes.length) fail('axis-out-of-range', `${monoid} names an axis twice`);
    return [{ dtype: x.dtype, shape: x.shape.filter((_, axis) => !axes.includes(axis)) }];
  },
  interpret(inputs, { monoid, axes }, [type], context) {
    const x = one('reduce', inputs);
    const result = blank(type);
    const out = result.data.fill(identity(monoid, type.dtype));
    const shape = concrete(x.type.shape);
    const kept = shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
    const keptStrides = stridesOf(kept.map((axis) => shape[axis]));
    const strides = shape.map((_, axis) => (kept.includes(axis) ? keptStrides[kept.indexOf(axis)] : 0));
    const last = shape.length - 1;
    const length = last < 0 ? 1 : shape[last];
    const stride = last < 0 ? 0 : strides[last];
    const step = combine(monoid, type.dtype);
    const counter = shape.map(() => 0);
    let target = 0;
    for (let start = 0; start < x.data.length; start += length) {
      if (stride === 0) {
        let value = out[target];
        if (monoid === 'sum') for (let i = 0; i < length; i++) value += x.data[start + i];
        else for (let i = 0; i < length; i++) value = step(value, x.data[start + i]);
        out[target] = value;
      } else if (monoid === 'sum') for (let i = 0; i < length; i++) out[target + i * stride] += x.data[start + i];
      else
        for (let i = 0; i < length; i++) out[target + i * stride] = step(out[target + i * stride], x.data[start + i]);
      for (let axis = last - 1; axis >= 0; axis--) {
        target += strides[axis];
        if (++counter[axis] < shape[axis]) break;
        target -= strides[axis] * shape[axis];
        counter[axis] = 0;
      }
    }
    roundAll(out, type.dtype, context);
    return [result];
  },
  gradient: (node, [adjoint], build) => [adjoint && gradientOfReduce(node, adjoint, build)],
  samples: (['sum', 'prod', 'max', 'min'] as const).flatMap((monoid): Sample<'reduce'>[] => [
    { inputs: [f32(5)], attributes: { monoid, axes: [0] } },
    { inputs: [f32(3, 4, 5)], attributes: { monoid, axes: [1] } },
    { inputs: [f32(3, 4, 5)], attributes: { monoid, axes: [0, 2] } },
    { inputs: [f32(3, 1)], attributes: { monoid, axes: [1] } },
    { inputs: [f32(3, 0)], attributes: { monoid, axes: [1] } },
    { inputs: [f32(0, 3)], attributes: { monoid, axes: [1] } },
    { inputs: [{ dtype: 'i32', shape: [4, 3] }], attributes: { monoid, axes: [0] }, integers: [-5, 5] },
    { inputs: [{ dtype: 'bf16', shape: [4, 3] }], attributes: { monoid, axes: [1] } },
  ]),
};

export const argreduce: Op<'argreduce'> = {
  name: 'argreduce',
  doc:
    'The position (i32) of the first largest or smallest element along an axis, which is dropped. NaN is never ' +
    'chosen unless there is nothing else.',
  type(inputs, { monoid, axis }) {
    const x = one(`arg${monoid}`, inputs);
    needNumber(`arg${monoid}`, x);
    if (needAxis(`arg${monoid}`, x.shape, axis) === 0)
      fail('size-mismatch', `arg${monoid} of ${showType(x)} along axis ${axis}: there is nothing to choose from`);
    return [{ dtype: 'i32', shape: x.shape.filter((_, place) => place !== axis) }];
  },
  interpret(inputs, { monoid, axis }, [type]) {
    const { data, type: operand } = one('argreduce', inputs);
    const result = blank(type);
    const lines = linesOf(concrete(operand.shape), axis);
    for (let line = 0; line < lines.count; line++) {
      let best = monoid === 'max' ? -Infinity : Infinity;
      let place = 0;
      let chosen = false;
      for (let i = 0, p = lines.start(line); i < lines.length; i++, p += lines.stride) {
        const value = data[p];
        if (monoid === 'max' ? value > best : value < best) [best, place, chosen] = [value, i, true];
        else if (!chosen && value === best) [place, chosen] = [i, true];
      }
      result.data[line] = place;
    }
    return [result];
  },
  samples: (['max', 'min'] as const).flatMap((monoid): Sample<'argreduce'>[] => [
    { inputs: [f32(5)], attributes: { monoid, axis: 0 } },
    { inputs: [f32(3, 4, 5)], attributes: { monoid, axis: 1 } },
    { inputs: [f32(0, 3)], attributes: { monoid, axis: 1 } },
    { inputs: [{ dtype: 'i32', shape: [3, 1] }], attributes: { monoid, axis: 1 } },
  ]),
};
