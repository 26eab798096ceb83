/**
 * Computes values of the forward pass again where the backward pass wants them, instead of keeping them. What the passes
 * `rematerialize` and `recompute-scores` share: they say which values.
 *
 * A unit has nodes of the forward pass and nodes of the backward pass. What the latter read of the former is copied, back to what
 * flows into the unit, which is kept. The copies wait (`after`) for the first gradient that reaches the unit: else they would be
 * computed at once, and be kept all the same. Random numbers are functions of counters, so that a copy draws the same ones.
 */
import type { Builder } from '../graph/build.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { copyNode, mapped, nodesBehind } from '../graph/rewrite.ts';
import type { ValueMap } from '../graph/rewrite.ts';
import { createBuilder } from '../ops/builder.ts';

/** Nodes by the unit they belong to, if any. */
export type Units = ReadonlyMap<Node, string>;

interface Unit {
  /** Of its forward part, as the backward part reads them. */
  readonly copies: ValueMap;
  /** The first gradient that reaches it. */
  readonly gradient: Value | undefined;
}

/** The nodes of the forward pass: those behind a loss. */
export function forwardNodes(graph: Graph): ReadonlySet<Node> {
  const losses = graph.outputs.filter(({ name }) => name.startsWith('loss.')).map(({ value }) => value);
  return new Set(nodesBehind(graph.nodes, losses));
}

export const producersOf = ({ nodes }: Graph): ReadonlyMap<Value, Node> =>
  new Map(nodes.flatMap((node) => node.outputs.map((value) => [value, node] as const)));

/** The graph in which units keep nothing for their backward part. */
export function recompute(graph: Graph, unitOf: Units): Graph {
  const forward = forwardNodes(graph);
  const producers = producersOf(graph);
  const gradients = firstGradients(graph.nodes, forward, producers, unitOf);
  const units = new Map(
    [...new Set(unitOf.values())].map((name): [string, Unit] => [
      name,
      { copies: new Map(), gradient: gradients.get(name) },
    ]),
  );

  const build = createBuilder(graph.name);
  const values: ValueMap = new Map();
  /** Values that take no computing and no memory of their own. */
  const given = new Set<Value>();
  for (const { name, role, value } of graph.inputs) {
    values.set(value, build.input(name, role, value.type));
    if (role !== 'batch') given.add(value);
  }
  for (const node of graph.nodes) {
    const name = unitOf.get(node);
    const unit = name === undefined || forward.has(node) ? undefined : units.get(name);
    if (unit === undefined) copyNode(build, node, values);
    else {
      const seen: ValueMap = new Map(values);
      for (const value of node.inputs) seen.set(value, again(value, name, unit));
      copyNode(build, node, seen).forEach((value, at) => values.set(node.outputs[at], value));
    }
  }
  for (const { name, role, value } of graph.outputs) build.output(name, role, mapped(values, value));
  return build.finish();

  /** A value as the backward part of a unit reads it. */
  function again(value: Value, name: string | undefined, unit: Unit): Value {
    const producer = producers.get(value);
    const isOwn = producer !== undefined && forward.has(producer) && unitOf.get(producer) === name;
    return isOwn ? copyOf(value, producer, name, unit) : mapped(values, value);
  }

  function copyOf(value: Value, producer: Node, name: string | undefined, unit: Unit): Value {
    const known = unit.copies.get(value);
    if (known !== undefined) return known;
    for (const input of producer.inputs) {
      const behind = producers.get(input);
      if (behind !== undefined && forward.has(behind) && unitOf.get(behind) === name) copyOf(input, behind, name, unit);
      else if (!unit.copies.has(input)) unit.copies.set(input, entering(build, input, producer, unit));
    }
    copyNode(build, producer, unit.copies);
    return mapped(unit.copies, value);
  }

  /** What flows into a unit, not before its gradient is there. */
  function entering(into: Builder, value: Value, reader: Node, { gradient }: Unit): Value {
    const now = mapped(values, value);
    const wait = gradient === undefined ? undefined : values.get(gradient);
    if (wait === undefined || given.has(value) || producers.get(value)?.op === 'constant') return now;
    into.origin = reader.origin;
    return into.node('after', [now, wait], {})[0];
  }
}

/** For each unit the first value of the backward pass that comes into it from elsewhere. */
function firstGradients(
  nodes: readonly Node[],
  forward: ReadonlySet<Node>,
  producers: ReadonlyMap<Value, Node>,
  unitOf: Units,
): Map<string, Value> {
  const first = new Map<string, Value>();
  for (const node of nodes) {
    const name = unitOf.get(node);
    if (name === undefined || forward.has(node) || first.has(name)) continue;
    const entering = node.inputs.find((value) => {
      const producer = producers.get(value);
      return (
        producer !== undefined && !forward.has(producer) && unitOf.get(producer) !== name && producer.op !== 'constant'
      );
    });
    if (entering !== undefined) first.set(name, entering);
  }
  return first;
}
