/**
 * The builder of a loop's body, seen from inside: values of the surrounding graph that the body uses become constant
 * operands of the loop, each once.
 */
import type { Builder } from '../graph/build.ts';
import type { Node, Value } from '../graph/graph.ts';

export interface CapturingBuilder {
  readonly builder: Builder;
  /** Values from outside, in the order of their inputs in the body. */
  readonly captured: readonly Value[];
}

/** Inputs made before the first capture are the loop's carried and scanned ones. */
export function capturing(body: Builder): CapturingBuilder {
  const own = new Set<Value>();
  const inside = new Map<Value, Value>();
  const captured: Value[] = [];

  const keep = (value: Value): Value => (own.add(value), value);
  const use = (value: Value): Value => {
    if (own.has(value)) return value;
    const known = inside.get(value);
    if (known !== undefined) return known;
    const input = keep(body.input(`captured.${captured.length}`, 'batch', value.type));
    captured.push(value);
    inside.set(value, input);
    return input;
  };
  const useAll = (values: readonly Value[]): Value[] => values.map(use);

  const builder: Builder = {
    get origin() {
      return body.origin;
    },
    set origin(origin) {
      body.origin = origin;
    },
    input: (name, role, type) => keep(body.input(name, role, type)),
    output: (name, role, value) => body.output(name, role, use(value)),
    constant: (value, dtype, shape) => keep(body.constant(value, dtype, shape)),
    iota: (shape, axis) => keep(body.iota(shape, axis)),
    random: (seed, step, stream, shape) => keep(body.random(use(seed), use(step), stream, shape)),
    unary: (op, x) => keep(body.unary(op, use(x))),
    binary: (op, a, b) => keep(body.binary(op, use(a), use(b))),
    where: (condition, a, b) => keep(body.where(use(condition), use(a), use(b))),
    cast: (x, dtype) => keep(body.cast(use(x), dtype)),
    detach: (x) => keep(body.detach(use(x))),
    reshape: (x, shape) => keep(body.reshape(use(x), shape)),
    view: (x, shape, index) => keep(body.view(use(x), shape, index)),
    broadcast: (x, shape) => keep(body.broadcast(use(x), shape)),
    transpose: (x, order) => keep(body.transpose(use(x), order)),
    slice: (x, axis, start, size) => keep(body.slice(use(x), axis, start, size)),
    concat: (xs, axis) => keep(body.concat(useAll(xs), axis)),
    contract: (operands, indices, shape, reduce) => keep(body.contract(useAll(operands), indices, shape, reduce)),
    matmul: (a, b) => keep(body.matmul(use(a), use(b))),
    reduce: (monoid, x, axes) => keep(body.reduce(monoid, use(x), axes)),
    argreduce: (monoid, x, axis) => keep(body.argreduce(monoid, use(x), axis)),
    cumulative: (monoid, x, axis, reverse) => keep(body.cumulative(monoid, use(x), axis, reverse)),
    gather: (x, ids, batch) => keep(body.gather(use(x), use(ids), batch)),
    scatter: (ids, updates, batch, size) => keep(body.scatter(use(ids), use(updates), batch, size)),
    loop: (operands, attributes) => body.loop(useAll(operands), attributes).map(keep),
    node: (op, operands, attributes) => body.node(op, useAll(operands), attributes).map(keep),
    pullback: (node, adjoints) =>
      body
        .pullback(
          node,
          adjoints.map((value) => (value === undefined ? undefined : use(value))),
        )
        .map((value) => (value === undefined ? undefined : keep(value))),
    producer: (value): Node | undefined => body.producer(value),
    get nodes() {
      return body.nodes;
    },
    get inputs() {
      return body.inputs;
    },
    nested: (name) => body.nested(name),
    finish: () => body.finish(),
  };
  return { builder, captured };
}
