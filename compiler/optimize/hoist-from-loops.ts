/**
 * Moves out of a loop what its steps do not need each other for: contractions of sequences and constants become one
 * contraction over all steps, and per-step results that are a sequence as it came are that sequence.
 *
 *   before   loop: %7[i, j]: f32[3, 20] = sum[k: 4] %x[i, k] * %wx[k, j]      (x walked, wx constant)
 *   after    %9[i, j, k]: f32[7, 3, 20] = sum[l: 4] %xs[i, j, l] * %wx[l, k]  and the loop walks %9
 *
 * Exact. Needs views folded into contractions (simplify) to see them; leaves operands the body no longer reads.
 */
import type { Builder } from '../graph/build.ts';
import type { Node, NodeOf, Value } from '../graph/graph.ts';
import { copyNode, mapped, rebuild } from '../graph/rewrite.ts';
import type { ValueMap } from '../graph/rewrite.ts';
import { at, compose } from '../ops/affine.ts';
import { createBuilder } from '../ops/builder.ts';
import type { Pass } from './pass.ts';

export const hoistFromLoops: Pass = {
  name: 'hoist-from-loops',
  doc: 'Computes for all steps of a loop at once what does not depend on carried values.',
  tolerance: 0,
  run: (graph) => rebuild(graph, createBuilder(graph.name), visit),
};

function visit(node: Node, values: ValueMap, build: Builder): void {
  if (node.op === 'loop') hoist(node, values, build);
  else copyNode(build, node, values);
}

function hoist(node: NodeOf<'loop'>, values: ValueMap, build: Builder): void {
  const { trips, carried, scanned } = node.attributes;
  const body = rebuild(node.attributes.body, build.nested(node.attributes.body.name), visit);
  const operands = node.inputs.map((value) => mapped(values, value));
  build.origin = node.origin;
  const place = new Map(body.inputs.map(({ value }, position) => [value, position]));
  const isWalked = (position: number): boolean => position >= carried && position < carried + scanned;
  /** What of the body is known for all steps before the loop runs. */
  const outside = new Map<Value, Value>();
  body.inputs.forEach(({ value }, position) => isWalked(position) && outside.set(value, operands[position]));

  const moved = body.nodes
    .filter((inner) => inner.op === 'contract')
    .filter((inner) => {
      const places = inner.inputs.map((value) => place.get(value) ?? -1);
      return places.every((position) => position >= carried) && places.some(isWalked);
    });
  for (const { inputs, outputs, attributes } of moved) {
    const { shape, reduce, indices } = attributes;
    const over = indices.map((index, which) => [
      ...(outside.has(inputs[which]) ? [at(0)] : []),
      ...index.map((one) => compose(one, (axis) => at(axis + 1))),
    ]);
    outside.set(
      outputs[0],
      build.contract(
        inputs.map((value) => outside.get(value) ?? operands[place.get(value) ?? 0]),
        over,
        [trips, ...shape],
        reduce,
      ),
    );
  }

  const inner = build.nested(body.name);
  const inside: ValueMap = new Map();
  const walked = [...outside];
  const enter = (name: string, value: Value): void => void inside.set(value, inner.input(name, 'batch', value.type));
  for (const { name, value } of body.inputs.slice(0, carried)) enter(name, value);
  walked.forEach(([value], position) =>
    enter(
      body.inputs[carried + position]?.value === value
        ? body.inputs[carried + position].name
        : `hoisted${position - scanned}`,
      value,
    ),
  );
  for (const { name, value } of body.inputs.slice(carried + scanned)) enter(name, value);
  for (const one of body.nodes) if (!outside.has(one.outputs[0])) copyNode(inner, one, inside);
  const stays = body.outputs.map(({ value }, position) => position < carried || !outside.has(value));
  body.outputs.forEach(
    ({ name, role, value }, position) => stays[position] && inner.output(name, role, mapped(inside, value)),
  );

  build.origin = node.origin;
  const results = [
    ...build.loop(
      [...operands.slice(0, carried), ...walked.map(([, value]) => value), ...operands.slice(carried + scanned)],
      { ...node.attributes, scanned: walked.length, body: inner.finish() },
    ),
  ];
  node.outputs.forEach((old, position) => {
    const result = stays[position] ? results.shift() : outside.get(body.outputs[position].value);
    if (result !== undefined) values.set(old, result);
  });
}
