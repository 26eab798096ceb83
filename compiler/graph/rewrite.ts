/** Rebuilding graphs: what passes and the differentiator are made of. Needs only the Builder, so it knows no op. */
import type { Builder } from './build.ts';
import type { Graph, Node, NodeOf, OpName, Value } from './graph.ts';

/** What became of the values of an old graph in a new one. */
export type ValueMap = Map<Value, Value>;

export function mapped(values: ValueMap, value: Value): Value {
  const now = values.get(value);
  if (now === undefined) throw new Error(`%${value.id} is used before it is defined`);
  return now;
}

/**
 * Appends the node as it is (the body of a loop node by node), reading the mapped operands; its results are entered
 * into the map.
 */
export function copyNode<Name extends OpName>(build: Builder, node: NodeOf<Name>, values: ValueMap): readonly Value[] {
  build.origin = node.origin;
  const inputs = node.inputs.map((value) => mapped(values, value));
  const attributes = isLoop(node)
    ? { ...node.attributes, body: copyBody(build, node.attributes.body) }
    : node.attributes;
  const results = build.node(node.op, inputs, attributes);
  node.outputs.forEach((old, place) => values.set(old, results[place]));
  return results;
}

const isLoop = (node: NodeOf<OpName>): node is NodeOf<'loop'> => node.op === 'loop';

/** The body of a loop with values of its own. */
const copyBody = (build: Builder, body: Graph): Graph =>
  rebuild(body, build.nested(body.name), (node, values, inner) => void copyNode(inner, node, values));

/** Rebuilds a graph node by node; `visit` appends what each node becomes and enters its results (copyNode keeps it). */
export function rebuild(
  graph: Graph,
  build: Builder,
  visit: (node: Node, values: ValueMap, build: Builder) => void,
): Graph {
  const values: ValueMap = new Map();
  for (const { name, role, value } of graph.inputs) values.set(value, build.input(name, role, value.type));
  for (const node of graph.nodes) visit(node, values, build);
  for (const { name, role, value } of graph.outputs) build.output(name, role, mapped(values, value));
  return build.finish();
}

/** The nodes the given values depend on, in order. */
export function nodesBehind(nodes: readonly Node[], wanted: Iterable<Value>): Node[] {
  const needed = new Set(wanted);
  const kept: Node[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((value) => needed.has(value))) continue;
    for (const value of node.inputs) needed.add(value);
    kept.push(node);
  }
  return kept.reverse();
}

/** How often each value is read, by nodes and by outputs. */
export function countUses(graph: Graph): Map<Value, number> {
  const uses = new Map<Value, number>();
  const use = (value: Value): void => void uses.set(value, (uses.get(value) ?? 0) + 1);
  for (const node of graph.nodes) node.inputs.forEach(use);
  for (const { value } of graph.outputs) use(value);
  return uses;
}
