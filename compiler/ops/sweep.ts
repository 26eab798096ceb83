/** Reverse-mode differentiation of a list of nodes: adjoints from the results back to the operands. */
import type { Builder } from '../graph/build.ts';
import type { Node, Value } from '../graph/graph.ts';
import { isFloat } from '../types/dtype.ts';

/**
 * Given the adjoints of some values, appends those of everything before them that depends on `wanted`, and returns the
 * map grown by these. Each value's adjoint is complete when its producer is reached, since nodes come in order.
 */
export function sweep(
  build: Builder,
  nodes: readonly Node[],
  seeds: ReadonlyMap<Value, Value>,
  wanted: Iterable<Value>,
): Map<Value, Value> {
  const adjoints = new Map(seeds);
  const depends = new Set(wanted);
  for (const node of nodes)
    if (node.inputs.some((value) => depends.has(value))) for (const value of node.outputs) depends.add(value);
  const before = build.origin;
  for (const node of [...nodes].reverse()) {
    const incoming = node.outputs.map((value) => adjoints.get(value));
    if (incoming.every((adjoint) => adjoint === undefined) || !node.outputs.some((value) => depends.has(value)))
      continue;
    build.origin = node.origin;
    const outgoing = build.pullback(node, incoming);
    node.inputs.forEach((value, place) => {
      const more = outgoing[place];
      if (more === undefined || !isFloat(value.type.dtype) || !depends.has(value)) return;
      const sum = adjoints.get(value);
      adjoints.set(value, sum === undefined ? more : build.binary('add', sum, more));
    });
  }
  build.origin = before;
  return adjoints;
}
