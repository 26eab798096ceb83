/** The Builder: appends nodes to a graph, running each op's type rule as it goes. */
import type { Builder } from '../graph/build.ts';
import type {
  AffineIndex,
  Attributes,
  Graph,
  GraphInput,
  GraphOutput,
  Node,
  NodeOf,
  OpName,
  Value,
} from '../graph/graph.ts';
import type { Dim } from '../types/dim.ts';
import { equal, sameShape, showShape } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';
import { at, broadcastShapes, fixed } from './affine.ts';
import { ops } from './index.ts';
import { fail, needAxis, showType } from './rules.ts';

/** Asked before a node is appended: the values to use instead, if there is something better. */
export type Instead = (
  op: OpName,
  inputs: readonly Value[],
  attributes: Attributes[OpName],
  build: Builder,
) => readonly Value[] | undefined;

/** A graph to be filled. Values made by it, and by the builders nested in it, have ids of their own. */
export const createBuilder = (name: string, instead: Instead = () => undefined): Builder =>
  makeBuilder(name, { next: 0 }, instead);

interface Counter {
  next: number;
}

function makeBuilder(name: string, ids: Counter, instead: Instead): Builder {
  const inputs: GraphInput[] = [];
  const outputs: GraphOutput[] = [];
  const nodes: Node[] = [];
  const producers = new Map<Value, Node>();

  const fresh = (type: TensorType): Value => ({ id: ids.next++, type });

  function only(values: readonly Value[]): Value {
    const [value] = values;
    if (value === undefined) throw new Error('the op has no result');
    return value;
  }

  const build: Builder = {
    origin: {},
    nodes,
    inputs,

    input(inputName, role, type) {
      const value = fresh(type);
      inputs.push({ name: inputName, role, value });
      return value;
    },
    output: (outputName, role, value) => void outputs.push({ name: outputName, role, value }),

    constant: (value, dtype, shape) =>
      only(
        build.node('constant', [], { dtype, shape: shape ?? (typeof value === 'number' ? [] : [value.length]), value }),
      ),
    iota: (shape, axis) => only(build.node('iota', [], { shape, axis })),
    random: (seed, step, stream, shape) => only(build.node('random', [seed, step], { stream, shape })),

    unary: (op, x) => only(build.node(op, [x], {})),
    binary: (op, a, b) => only(build.node(op, [a, b], {})),
    where: (condition, a, b) => only(build.node('where', [condition, a, b], {})),
    cast: (x, dtype) => (x.type.dtype === dtype ? x : only(build.node('cast', [x], { dtype }))),
    detach: (x) => only(build.node('detach', [x], {})),

    reshape: (x, shape) => (sameShape(x.type.shape, shape) ? x : only(build.node('reshape', [x], { shape }))),
    view: (x, shape, index) => only(build.node('view', [x], { shape, index })),
    broadcast: (x, shape) => (sameShape(x.type.shape, shape) ? x : build.view(x, shape, broadcastIndex(x.type, shape))),
    transpose(x, order) {
      const { shape } = x.type;
      if (order.length !== shape.length || new Set(order).size !== order.length)
        fail('rank-mismatch', `the order [${order.join(', ')}] does not name each axis of ${showType(x.type)} once`);
      const sizes = order.map((axis) => needAxis('transpose', shape, axis));
      return order.every((axis, place) => axis === place)
        ? x
        : build.view(
            x,
            sizes,
            shape.map((_, axis) => at(order.indexOf(axis))),
          );
    },
    slice(x, axis, start, size) {
      const { shape } = x.type;
      const whole = needAxis('slice', shape, axis);
      if (start === 0 && equal(size, whole)) return x;
      if (
        typeof start === 'number' &&
        typeof size === 'number' &&
        typeof whole === 'number' &&
        (start < 0 || start + size > whole)
      )
        fail('out-of-range', `elements ${start} to ${start + size} are not all in axis ${axis} of ${showType(x.type)}`);
      return build.view(
        x,
        shape.map((dim, place) => (place === axis ? size : dim)),
        shape.map((_, place) => at(place, 1, place === axis ? start : 0)),
      );
    },
    concat: (xs, axis) => only(build.node('concat', xs, { axis })),

    contract: (operands, indices, shape, reduce) => only(build.node('contract', operands, { shape, reduce, indices })),
    matmul: (a, b) => matmul(build, a, b),
    reduce: (monoid, x, axes) =>
      axes.length === 0 ? x : only(build.node('reduce', [x], { monoid, axes: [...axes].sort((p, q) => p - q) })),
    argreduce: (monoid, x, axis) => only(build.node('argreduce', [x], { monoid, axis })),
    cumulative: (monoid, x, axis, reverse) => only(build.node('cumulative', [x], { monoid, axis, reverse })),
    gather: (x, ids_, batch) => only(build.node('gather', [x, ids_], { batch })),
    scatter: (ids_, updates, batch, size) => only(build.node('scatter', [ids_, updates], { batch, size })),
    loop: (operands, attributes) => build.node('loop', operands, attributes),

    node<Name extends OpName>(op: Name, operands: readonly Value[], attributes: Attributes[Name]): readonly Value[] {
      const better = instead(op, operands, attributes, build);
      if (better !== undefined) return better;
      const types = ops[op].type(
        operands.map(({ type }) => type),
        attributes,
      );
      // The one place where the pairing of op and attributes, which the signature guarantees, is told to the union.
      const node = {
        op,
        inputs: [...operands],
        outputs: types.map(fresh),
        attributes,
        origin: build.origin,
      } as unknown as Node;
      nodes.push(node);
      for (const value of node.outputs) producers.set(value, node);
      return node.outputs;
    },

    pullback<Name extends OpName>(
      node: NodeOf<Name>,
      adjoints: readonly (Value | undefined)[],
    ): readonly (Value | undefined)[] {
      return ops[node.op].gradient?.(node, adjoints, build) ?? [];
    },

    producer: (value) => producers.get(value),
    nested(bodyName) {
      const body = makeBuilder(bodyName, ids, instead);
      body.origin = build.origin;
      return body;
    },
    finish: (): Graph => ({ name, inputs: [...inputs], nodes: [...nodes], outputs: [...outputs] }),
  };
  return build;
}

/** Axes aligned from the right; an axis of size 1 is read at 0 everywhere. */
function broadcastIndex(type: TensorType, shape: readonly Dim[]): AffineIndex[] {
  const shift = shape.length - type.shape.length;
  return type.shape.map((size, axis) => {
    const target = shape[axis + shift];
    if (target !== undefined && equal(size, target)) return at(axis + shift);
    if (target === undefined || size !== 1)
      return fail('size-mismatch', `${showType(type)} cannot be stretched to ${showShape(shape)}`);
    return fixed(0);
  });
}

/** a[…, m, k] · b[…, k, n]; a vector on the left has no m, one on the right no n. */
function matmul(build: Builder, a: Value, b: Value): Value {
  const [left, right] = [a.type.shape, b.type.shape];
  const inner = left.at(-1);
  const outer = right.length === 1 ? right[0] : right.at(-2);
  if (inner === undefined || outer === undefined)
    return fail(
      'rank-mismatch',
      `a matrix product takes at least one axis on each side, not ${showType(a.type)} and ${showType(b.type)}`,
    );
  if (!equal(inner, outer))
    fail(
      'size-mismatch',
      `the sides of a matrix product do not fit: ${showType(a.type)} ends in ${showShape([inner])}, ${showType(b.type)} begins with ${showShape([outer])}`,
    );
  const leading = broadcastShapes(left.slice(0, -2), right.slice(0, -2));
  if (leading === undefined)
    return fail('size-mismatch', `the leading axes of ${showType(a.type)} and ${showType(b.type)} do not fit together`);
  const rows = left.length === 1 ? [] : left.slice(-2, -1);
  const columns = right.length === 1 ? [] : right.slice(-1);
  const shape = [...leading, ...rows, ...columns];
  const k = at(shape.length);
  const lead = (own: readonly Dim[]): AffineIndex[] =>
    own.map((size, axis) =>
      size === 1 && leading[axis + leading.length - own.length] !== 1
        ? fixed(0)
        : at(axis + leading.length - own.length),
    );
  const readA = [...lead(left.slice(0, -2)), ...rows.map(() => at(leading.length)), k];
  const readB = [...lead(right.slice(0, -2)), k, ...columns.map(() => at(shape.length - 1))];
  return build.contract([a, b], [readA, readB], shape, [inner]);
}
