/**
 * What a pass changed: two graphs side by side, as the lines of `text.ts` with a mark.
 *
 *     %3: f32[8] = mul(%1, %2)
 *   - %4: f32[8] = add(%3, %9)       gone, or as it was before
 *   + %4: f32[8] = sub(%3, %5)       new, or as it is now
 *
 * Passes number their values anew, so nodes are recognized first: by what they compute out of recognized operands, else by
 * where in the source they came from. What is recognized keeps the number it had before.
 */
import type { Graph, Node, Value } from './graph.ts';
import { printGraph } from './text.ts';

export interface DiffLine {
  readonly mark: ' ' | '-' | '+';
  readonly text: string;
}

export interface GraphDiff {
  readonly lines: readonly DiffLine[];
  /** Nodes before and after, nested ones included; those that are gone, new, and there still but different. */
  readonly before: number;
  readonly after: number;
  readonly gone: number;
  readonly added: number;
  readonly changed: number;
}

export function compareGraphs(before: Graph, after: Graph): GraphDiff {
  const names = new Names(before);
  const same = new Map<Node, Node>();
  recognize(before, after, names, same);
  names.nameRest(after);
  const old = linesOf(before);
  const now = linesOf(renumber(after, names));
  const kept = new Set(same.values());
  const lines = merge(old, now, before, after, same);
  const changed = [...same].filter(
    ([next, previous]) => textOf(now, after, next) !== textOf(old, before, previous),
  ).length;
  const count = { before: nodesIn(before).length, after: nodesIn(after).length };
  return {
    lines,
    ...count,
    changed,
    gone: nodesIn(before).filter((node) => !kept.has(node)).length,
    added: nodesIn(after).filter((node) => !same.has(node)).length,
  };
}

const nodesIn = (graph: Graph): Node[] =>
  graph.nodes.flatMap((node) => [node, ...(node.op === 'loop' ? nodesIn(node.attributes.body) : [])]);

/** Numbers of the values of the second graph: those they had in the first, or new ones above all of it. */
class Names {
  private readonly known = new Map<Value, number>();
  private next: number;

  constructor(before: Graph) {
    this.next = 1 + Math.max(-1, ...valuesIn(before).map(({ id }) => id));
  }

  is(value: Value, old: Value): void {
    this.known.set(value, old.id);
  }

  of(value: Value): number | undefined {
    return this.known.get(value);
  }

  nameRest(after: Graph): void {
    for (const value of valuesIn(after)) if (!this.known.has(value)) this.known.set(value, this.next++);
  }
}

const valuesIn = (graph: Graph): Value[] => [
  ...graph.inputs.map(({ value }) => value),
  ...graph.nodes.flatMap((node) => [...node.outputs, ...(node.op === 'loop' ? valuesIn(node.attributes.body) : [])]),
];

/** Enters which node of `after` is which of `before`; each is taken once. */
function recognize(before: Graph, after: Graph, names: Names, same: Map<Node, Node>): void {
  after.inputs.forEach(({ name, role, value }, place) => {
    const old = before.inputs.find((input) => input.name === name && input.role === role) ?? before.inputs[place];
    if (old !== undefined) names.is(value, old.value);
  });
  const byMeaning = new Shelf();
  const byOrigin = new Shelf();
  for (const node of before.nodes) {
    byMeaning.put(`${kindOf(node)}(${node.inputs.map(({ id }) => id).join()})`, node);
    byOrigin.put(originKey(node), node);
  }
  const take = (node: Node, old: Node): void => {
    same.set(node, old);
    node.outputs.forEach((output, place) => {
      if (old.outputs[place] !== undefined) names.is(output, old.outputs[place]);
    });
    if (node.op === 'loop' && old.op === 'loop') recognize(old.attributes.body, node.attributes.body, names, same);
  };
  const taken = new Set<Node>();
  for (const node of after.nodes) {
    const operands = node.inputs.map((input) => names.of(input) ?? '?').join();
    const old = byMeaning.take(`${kindOf(node)}(${operands})`, taken) ?? byOrigin.take(originKey(node), taken);
    if (old !== undefined) take(node, old);
  }
}

/** Nodes by a key, each given out once. */
class Shelf {
  private readonly nodes = new Map<string, Node[]>();

  put(key: string, node: Node): void {
    const there = this.nodes.get(key);
    if (there === undefined) this.nodes.set(key, [node]);
    else there.push(node);
  }

  take(key: string, taken: Set<Node>): Node | undefined {
    const there = this.nodes.get(key);
    for (;;) {
      const node = there?.shift();
      if (node === undefined) return undefined;
      if (taken.has(node)) continue;
      taken.add(node);
      return node;
    }
  }
}

/** What a node computes, but for its operands. */
const kindOf = (node: Node): string =>
  `${node.op} ${JSON.stringify(node.op === 'loop' ? { ...node.attributes, body: node.attributes.body.nodes.length } : node.attributes)} ${typesOf(node)}`;
const typesOf = (node: Node): string =>
  node.outputs.map(({ type }) => `${type.dtype}${JSON.stringify(type.shape)}`).join();

function originKey(node: Node): string {
  const { path, place, span } = node.origin;
  return `${node.op} ${typesOf(node)} ${path ?? ''} ${place ?? ''} ${span === undefined ? '' : `${span.source.name}:${span.start}-${span.end}`}`;
}

/** The graph with the numbers its values go by. */
function renumber(graph: Graph, names: Names): Graph {
  const values = new Map<Value, Value>();
  const renamed = (value: Value): Value => {
    const known = values.get(value);
    if (known !== undefined) return known;
    const made = { ...value, id: names.of(value) ?? value.id };
    values.set(value, made);
    return made;
  };
  return {
    ...graph,
    inputs: graph.inputs.map((input) => ({ ...input, value: renamed(input.value) })),
    nodes: graph.nodes.map((node): Node => {
      const moved = { ...node, inputs: node.inputs.map(renamed), outputs: node.outputs.map(renamed) };
      return moved.op === 'loop'
        ? { ...moved, attributes: { ...moved.attributes, body: renumber(moved.attributes.body, names) } }
        : moved;
    }),
    outputs: graph.outputs.map((output) => ({ ...output, value: renamed(output.value) })),
  };
}

/** The text of a graph, by what its lines are about: a loop is one entry of many lines. */
interface Printed {
  readonly head: string;
  readonly inputs: readonly string[];
  readonly nodes: readonly string[];
  readonly outputs: readonly string[];
}

function linesOf(graph: Graph): Printed {
  const [head, ...rest] = printGraph(graph).trimEnd().split('\n');
  const entries: string[] = [];
  for (const line of rest.slice(0, -1))
    if (/^ {2}[^ }]/.test(line)) entries.push(line);
    else entries[entries.length - 1] += `\n${line}`;
  const nodes = graph.inputs.length;
  const outputs = nodes + graph.nodes.length;
  return {
    head,
    inputs: entries.slice(0, nodes),
    nodes: entries.slice(nodes, outputs),
    outputs: entries.slice(outputs),
  };
}

function textOf(printed: Printed, graph: Graph, node: Node): string {
  const place = graph.nodes.indexOf(node);
  return place < 0 ? '' : printed.nodes[place];
}

/** Lines of both, the old order kept where both have it, what is new after what it follows. */
function merge(old: Printed, now: Printed, before: Graph, after: Graph, same: ReadonlyMap<Node, Node>): DiffLine[] {
  const lines: DiffLine[] = [];
  const emit = (mark: DiffLine['mark'], entry: string): void => {
    for (const text of entry.split('\n')) lines.push({ mark, text });
  };
  const pair = (previous: string | undefined, next: string | undefined): void => {
    if (previous === next && next !== undefined) return emit(' ', next);
    if (previous !== undefined && next !== undefined && previous.includes('\n') && next.includes('\n'))
      return void lines.push(...pairLines(previous.split('\n'), next.split('\n')));
    if (previous !== undefined) emit('-', previous);
    if (next !== undefined) emit('+', next);
  };
  emit(' ', now.head);
  for (const place of now.inputs.keys()) pair(old.inputs[place], now.inputs[place]);
  const placeOf = new Map(after.nodes.map((node, place) => [node, place]));
  const successor = new Map([...same].map(([next, previous]) => [previous, next]));
  let printed = 0;
  const newUpTo = (place: number): void => {
    for (; printed < place; printed++) if (!same.has(after.nodes[printed])) emit('+', now.nodes[printed]);
  };
  before.nodes.forEach((node, place) => {
    const next = successor.get(node);
    const at = next === undefined ? undefined : placeOf.get(next);
    if (at === undefined) return emit('-', old.nodes[place]);
    newUpTo(at);
    pair(old.nodes[place], now.nodes[at]);
  });
  newUpTo(after.nodes.length);
  const most = Math.max(old.outputs.length, now.outputs.length);
  for (let place = 0; place < most; place++) pair(old.outputs[place], now.outputs[place]);
  emit(' ', '}');
  return lines;
}

/** Of a loop that changed inside: what begins and ends alike stays. */
function pairLines(previous: readonly string[], next: readonly string[]): DiffLine[] {
  const old = new Set(previous);
  const now = new Set(next);
  const lines: DiffLine[] = [];
  let at = 0;
  for (const text of previous) {
    if (!now.has(text)) {
      lines.push({ mark: '-', text });
      continue;
    }
    while (at < next.length && !old.has(next[at])) lines.push({ mark: '+', text: next[at++] });
    lines.push({ mark: ' ', text });
    if (next[at] === text) at++;
  }
  for (; at < next.length; at++) if (!old.has(next[at])) lines.push({ mark: '+', text: next[at] });
  return lines;
}

/** The lines that differ, with a few around them; a line of its own says how many the same were left out. */
export function foldDiff({ lines }: GraphDiff, around = 2): string[] {
  const shown = new Set<number>();
  lines.forEach(({ mark }, place) => {
    if (mark !== ' ') for (let near = place - around; near <= place + around; near++) shown.add(near);
  });
  const folded: string[] = [];
  let skipped = 0;
  const flush = (): void => {
    if (skipped > 0) folded.push(`    ⋮ ${skipped} the same`);
    skipped = 0;
  };
  lines.forEach(({ mark, text }, place) => {
    if (!shown.has(place)) {
      skipped++;
      return;
    }
    flush();
    // The first numbers of a long constant say enough.
    folded.push(`${mark} ${text.replace(/((?:[^,[\]]+, ){8})(?:[^,[\]]+, ){8,}([^,[\]]+)\]/g, '$1…, $2]')}`);
  });
  flush();
  return folded;
}
