/**
 * Computes the activations of some instances again where the backward pass wants them, instead of keeping them: memory for time.
 *
 *   before   %3: f32[8, 4] = exp(%2)      // model.block         after   %3: f32[8, 4] = exp(%2)
 *            …                                                           …
 *            %9: f32[8, 4] = mul(%8, %3)  // model.block                 %9: f32[8, 4] = after(%2, %8)
 *                                                                        %10: f32[8, 4] = exp(%9)
 *                                                                        %11: f32[8, 4] = mul(%8, %10)
 *
 * A unit is an instance that the graph's `recompute` names, with all that is in it. What the backward part of a unit reads of
 * its forward part is copied, back to what flows into the unit, which is kept. The copies wait (`after`) for the first
 * gradient that reaches the unit: else they would be computed at once, and be kept all the same. Random numbers are functions
 * of counters, so that a copy draws the same ones.
 *
 * Needs gradients to be taken, and equal values to be merged before: it makes equal values. Exact.
 */
import type { Builder } from '../graph/build.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { copyNode, mapped, nodesBehind } from '../graph/rewrite.ts';
import type { ValueMap } from '../graph/rewrite.ts';
import { createBuilder } from '../ops/builder.ts';
import type { Pass } from './pass.ts';

export const rematerialize: Pass = {
  name: 'rematerialize',
  doc: 'Computes activations again for the backward pass, where `checkpoint` or --memory asks for it.',
  tolerance: 0,
  run: (graph) => (graph.recompute === undefined ? graph : recompute(graph, graph.recompute)),
};

/** An instance whose activations are not kept. */
interface Unit {
  /** Of its forward part, as the backward part reads them. */
  readonly copies: ValueMap;
  /** The first gradient that reaches it. */
  readonly gradient: Value | undefined;
}

/** The named instance that a node belongs to. */
const pathOf = ({ origin: { path = '' } }: Node, paths: readonly string[]): string | undefined =>
  paths.find((unit) => path === unit || path.startsWith(`${unit}.`));

function recompute(graph: Graph, paths: readonly string[]): Graph {
  const losses = graph.outputs.filter(({ name }) => name.startsWith('loss.')).map(({ value }) => value);
  const forward = new Set(nodesBehind(graph.nodes, losses));
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((value) => [value, node] as const)));
  const unitPaths = new Map(graph.nodes.map((node) => [node, pathOf(node, paths)]));
  const gradients = firstGradients(graph.nodes, forward, producers, unitPaths);
  const units = new Map(
    paths.map((path): [string, Unit] => [path, { copies: new Map(), gradient: gradients.get(path) }]),
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
    const path = unitPaths.get(node);
    const unit = path === undefined || forward.has(node) ? undefined : units.get(path);
    if (unit === undefined) copyNode(build, node, values);
    else {
      const seen: ValueMap = new Map(values);
      for (const value of node.inputs) seen.set(value, again(value, path, unit));
      copyNode(build, node, seen).forEach((value, at) => values.set(node.outputs[at], value));
    }
  }
  for (const { name, role, value } of graph.outputs) build.output(name, role, mapped(values, value));
  return build.finish();

  /** A value as the backward part of a unit reads it. */
  function again(value: Value, path: string | undefined, unit: Unit): Value {
    const producer = producers.get(value);
    const isOwn = producer !== undefined && forward.has(producer) && unitPaths.get(producer) === path;
    return isOwn ? copyOf(value, producer, path, unit) : mapped(values, value);
  }

  function copyOf(value: Value, producer: Node, path: string | undefined, unit: Unit): Value {
    const known = unit.copies.get(value);
    if (known !== undefined) return known;
    for (const input of producer.inputs) {
      const behind = producers.get(input);
      if (behind !== undefined && forward.has(behind) && unitPaths.get(behind) === path)
        copyOf(input, behind, path, unit);
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
  unitPaths: ReadonlyMap<Node, string | undefined>,
): Map<string, Value> {
  const first = new Map<string, Value>();
  for (const node of nodes) {
    const path = unitPaths.get(node);
    if (path === undefined || forward.has(node) || first.has(path)) continue;
    const entering = node.inputs.find((value) => {
      const producer = producers.get(value);
      return (
        producer !== undefined &&
        !forward.has(producer) &&
        unitPaths.get(producer) !== path &&
        producer.op !== 'constant'
      );
    });
    if (entering !== undefined) first.set(path, entering);
  }
  return first;
}
