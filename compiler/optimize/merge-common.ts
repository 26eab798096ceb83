/**
 * Computes equal things once. Two loops over the same operands with the same carried values become one loop with the
 * per-step results of both: so the loop a gradient runs again to save its states costs nothing.
 *
 *   before   %2: f32[8] = exp(%1)                        after   %2: f32[8] = exp(%1)
 *            %3: f32[8] = exp(%1)                                %4: f32[8] = add(%2, %2)
 *            %4: f32[8] = add(%2, %3)
 *
 * Every value is first given a number that says what it is (equal numbers, equal values); then the graph is rebuilt
 * with
 * one value per number. Exact.
 */
import type { Builder } from '../graph/build.ts';
import type { Node, NodeOf, Value } from '../graph/graph.ts';
import { copyNode, mapped } from '../graph/rewrite.ts';
import type { ValueMap } from '../graph/rewrite.ts';
import { createBuilder } from '../ops/builder.ts';
import type { Pass } from './pass.ts';

export const mergeCommon: Pass = {
  name: 'merge-common',
  doc: 'Computes equal things once, joining loops that differ only in what they return.',
  tolerance: 0,
  run(graph) {
    const numbers = new Numbers();
    numberNodes(
      graph.nodes,
      graph.inputs.map(({ value }) => value),
      graph.name,
      numbers,
    );
    const build = createBuilder(graph.name);
    const values: ValueMap = new Map();
    for (const { name, role, value } of graph.inputs) values.set(value, build.input(name, role, value.type));
    appendOnce(
      build,
      graph.nodes,
      values,
      new Map(graph.inputs.map(({ value }) => [numbers.of(value), mapped(values, value)])),
      numbers,
    );
    for (const { name, role, value } of graph.outputs) build.output(name, role, mapped(values, value));
    return build.finish();
  },
};

/** A loop as all loops equal to it up to per-step results share it: `results` by the number of what they stack. */
interface LoopGroup {
  readonly members: NodeOf<'loop'>[];
  readonly results: Map<number, Value>;
}

class Numbers {
  private readonly byKey = new Map<string, number>();
  private readonly byValue = new Map<Value, number>();
  readonly loops = new Map<number, LoopGroup>();

  /** The number of everything described by this text. */
  key(text: string): number {
    const known = this.byKey.get(text);
    if (known !== undefined) return known;
    this.byKey.set(text, this.byKey.size);
    return this.byKey.size - 1;
  }

  set(value: Value, number: number): void {
    this.byValue.set(value, number);
  }

  of(value: Value): number {
    const number = this.byValue.get(value);
    if (number === undefined) throw new Error(`%${value.id} is used before it is defined`);
    return number;
  }
}

/** Numbers as text keeps -0, NaN and infinity apart, which JSON does not. */
const exact = (_: string, value: unknown): unknown =>
  typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))
    ? `number ${Object.is(value, -0) ? '-0' : value}`
    : value;

function numberNodes(nodes: readonly Node[], inputs: readonly Value[], where: string, numbers: Numbers): void {
  inputs.forEach((value, place) =>
    numbers.set(value, numbers.key(`${where} input ${place} ${JSON.stringify(value.type)}`)),
  );
  for (const node of nodes) {
    if (node.op === 'loop') numberLoop(node, numbers);
    else {
      const key = `${node.op} ${node.inputs.map((value) => numbers.of(value)).join(' ')} ${JSON.stringify(node.attributes, exact)}`;
      node.outputs.forEach((value, place) => numbers.set(value, numbers.key(`${key} ${place}`)));
    }
  }
}

function numberLoop(node: NodeOf<'loop'>, numbers: Numbers): void {
  const { trips, carried, scanned, reverse, body } = node.attributes;
  const operands = node.inputs.map((value) => numbers.of(value)).join(' ');
  numberNodes(
    body.nodes,
    body.inputs.map(({ value }) => value),
    `body ${operands} ${carried} ${scanned}`,
    numbers,
  );
  const next = body.outputs.map(({ value }) => numbers.of(value));
  const loop = numbers.key(
    `loop ${operands} ${JSON.stringify(trips)} ${carried} ${scanned} ${reverse} next ${next.slice(0, carried).join(' ')}`,
  );
  const group = numbers.loops.get(loop) ?? { members: [], results: new Map<number, Value>() };
  numbers.loops.set(loop, group);
  group.members.push(node);
  node.outputs.forEach((value, place) => {
    const number = numbers.key(
      place < carried ? `loop ${loop} carried ${place}` : `loop ${loop} result ${next[place]}`,
    );
    numbers.set(value, number);
    if (place >= carried && !group.results.has(number)) group.results.set(number, body.outputs[place].value);
  });
}

/** Appends the nodes whose numbers are not yet there; `there` holds what is. */
function appendOnce(
  build: Builder,
  nodes: readonly Node[],
  values: ValueMap,
  there: Map<number, Value>,
  numbers: Numbers,
): void {
  for (const node of nodes) {
    if (node.outputs.some((value) => !there.has(numbers.of(value)))) {
      if (node.op === 'loop') appendLoop(build, node, values, there, numbers);
      else copyNode(build, node, values).forEach((value, place) => there.set(numbers.of(node.outputs[place]), value));
    }
    for (const value of node.outputs) {
      const first = there.get(numbers.of(value));
      if (first !== undefined) values.set(value, first);
    }
  }
}

/** One loop for all of its group: the body of each member appended once, the results of all. */
function appendLoop(
  build: Builder,
  node: NodeOf<'loop'>,
  values: ValueMap,
  there: Map<number, Value>,
  numbers: Numbers,
): void {
  const { carried, body } = node.attributes;
  const group = [...numbers.loops.values()].find(({ members }) => members.includes(node));
  if (group === undefined) throw new Error('a loop was not numbered');
  build.origin = node.origin;
  const inner = build.nested(body.name);
  const inputs = body.inputs.map(({ name, role, value }) => inner.input(name, role, value.type));
  const innerThere = new Map(body.inputs.map(({ value }, place) => [numbers.of(value), inputs[place]]));
  const innerValues: ValueMap = new Map();
  for (const member of group.members) {
    member.attributes.body.inputs.forEach(({ value }, place) => innerValues.set(value, inputs[place]));
    appendOnce(inner, member.attributes.body.nodes, innerValues, innerThere, numbers);
  }
  for (const { name, role, value } of body.outputs.slice(0, carried))
    inner.output(name, role, mapped(innerValues, value));
  const names = new Map(body.outputs.map(({ name, value }) => [value, name]));
  [...group.results.values()].forEach((value, place) =>
    inner.output(names.get(value) ?? `also${place}`, 'result', mapped(innerValues, value)),
  );
  const results = build.loop(
    node.inputs.map((value) => mapped(values, value)),
    { ...node.attributes, body: inner.finish() },
  );
  node.outputs.slice(0, carried).forEach((value, place) => there.set(numbers.of(value), results[place]));
  [...group.results.keys()].forEach((number, place) => there.set(number, results[carried + place]));
}
