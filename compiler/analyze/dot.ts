/**
 * Graphs as pictures: text in Graphviz's dot language, with a cluster for every instance and one inside it for every
 * instance it owns. Classes and anchors survive into SVG, where a page can colour and link them.
 */
import type { Graph, Node, Value } from '../graph/graph.ts';
import { readsOf, writesOf } from '../loop/accesses.ts';
import { linksOf, ownBuffers } from '../loop/build.ts';
import type { Buffer, LoopProgram } from '../loop/loop.ts';
import { kernelsOf } from './cost.ts';
import { showShape } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';

/** A box of a picture. */
export interface DotNode {
  readonly id: string;
  readonly lines: readonly string[];
  /** Of the instance it stands in; '' for none. */
  readonly path: string;
  readonly class?: string;
  readonly link?: string;
}

export interface DotEdge {
  readonly from: string;
  readonly to: string;
  readonly label?: string;
  /** Drawn faintly, and without a say in what stands above what. */
  readonly aside?: boolean;
}

/** Boxes and arrows, boxes in clusters by their paths. */
export function printDot(name: string, nodes: readonly DotNode[], edges: readonly DotEdge[]): string {
  const lines = [
    `digraph ${quote(name)} {`,
    '  graph [fontname="sans-serif", fontsize=11, nodesep=0.25, ranksep=0.35, bgcolor="transparent"];',
    '  node [shape=box, style="rounded,filled", fillcolor="#f4f6f8", fontname="sans-serif", fontsize=10, height=0.3, margin="0.1,0.05"];',
    '  edge [fontname="sans-serif", fontsize=9, arrowsize=0.6, color="#888888"];',
  ];
  let cluster = 0;
  const print = (inside: readonly DotNode[], depth: number): void => {
    const indent = '  '.repeat(depth + 1);
    const groups = new Map<string, DotNode[]>();
    for (const node of inside) {
      const part = node.path.split('.')[depth];
      if (node.path === '' || part === undefined) lines.push(`${indent}${printNode(node)}`);
      else groups.set(part, [...(groups.get(part) ?? []), node]);
    }
    for (const [part, group] of groups) {
      // An instance in which there is nothing but one other shares its cluster.
      const label = [part];
      for (;;) {
        const next = new Set(group.map(({ path }) => path.split('.')[depth + label.length]));
        const [only] = next;
        if (next.size > 1 || only === undefined) break;
        label.push(only);
      }
      lines.push(
        `${indent}subgraph cluster_${cluster++} {`,
        `${indent}  label=${quote(label.join('.'))}; style="rounded"; color="#aaaaaa"; class="layer";`,
      );
      print(group, depth + label.length);
      lines.push(`${indent}}`);
    }
  };
  print(nodes, 0);
  for (const { from, to, label, aside = false } of edges) {
    const attributes = [
      ...(label === undefined ? [] : [`label=${quote(label)}`]),
      ...(aside ? ['constraint=false', 'style=dashed', 'class="aside"'] : []),
    ];
    lines.push(`  ${quote(from)} -> ${quote(to)}${attributes.length === 0 ? '' : ` [${attributes.join(', ')}]`};`);
  }
  lines.push('}', '');
  return lines.join('\n');
}

const quote = (text: string): string => `"${text.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n')}"`;

function printNode({ id, lines, class: name, link }: DotNode): string {
  const attributes = [
    `label=${quote(lines.join('\n'))}`,
    ...(name === undefined ? [] : [`class=${quote(name)}`]),
    ...(link === undefined ? [] : [`URL=${quote(link)}`]),
  ];
  return `${quote(id)} [${attributes.join(', ')}];`;
}

/** Tensor IR: a box for every operation but constants, which stand in the boxes that use them, and for every input and output. */
export function dotOfGraph(graph: Graph): string {
  const nodes: DotNode[] = [];
  const edges: DotEdge[] = [];
  const producer = new Map<Value, string>();
  const constants = new Map<Value, string>();
  for (const { name, role, value } of graph.inputs) {
    producer.set(value, `v${value.id}`);
    nodes.push({ id: `v${value.id}`, lines: [`${role} ${name}`, showType(value.type)], path: '', class: 'input' });
  }
  for (const node of graph.nodes) {
    const [first] = node.outputs;
    const value = constantOf(node);
    if (value !== undefined) {
      constants.set(first, value);
      continue;
    }
    const id = `v${first.id}`;
    node.outputs.forEach((output) => producer.set(output, id));
    const inline = node.inputs.flatMap((input) => constants.get(input) ?? []);
    nodes.push({
      id,
      lines: [
        `%${first.id} ${nameOf(node)}${inline.length === 0 ? '' : ` (${inline.join(', ')})`}`,
        showType(first.type),
      ],
      path: node.origin.path ?? '',
      class: node.op,
    });
    for (const input of new Set(node.inputs)) {
      const from = producer.get(input);
      if (from !== undefined) edges.push({ from, to: id });
    }
  }
  for (const { name, role, value } of graph.outputs) {
    const id = `out ${role} ${name}`;
    const constant = constants.get(value);
    nodes.push({
      id,
      lines: [`${role} ${name}${constant === undefined ? '' : ` = ${constant}`}`],
      path: '',
      class: 'output',
    });
    const from = producer.get(value);
    if (from !== undefined) edges.push({ from, to: id });
  }
  return printDot(graph.name, nodes, edges);
}

/** Loop IR: a box for every kernel and for every buffer that is given or asked for; arrows are what is written and then read. */
export function dotOfLoop(program: LoopProgram): string {
  const nodes: DotNode[] = [];
  const edges: DotEdge[] = [];
  const writers = new Map<Buffer, string>();
  for (const buffer of program.buffers) {
    if (buffer.role === 'temporary' || buffer.role === 'constant') continue;
    if (buffer.role !== 'result') writers.set(buffer, `b ${buffer.name}`);
    nodes.push({
      id: `b ${buffer.name}`,
      lines: [`${buffer.role} ${buffer.name}`, showType(buffer)],
      path: '',
      class: buffer.role === 'result' ? 'output' : 'input',
    });
  }
  for (const { kernel, repeats } of kernelsOf(program.steps)) {
    const links = kernel.segments.flatMap(linksOf);
    const kinds = new Map<string, number>();
    for (const { kind } of kernel.segments) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    const paths = new Set(kernel.origins.flatMap(({ path }) => path ?? []));
    nodes.push({
      id: kernel.name,
      lines: [
        kernel.name,
        [...kinds].map(([kind, count]) => (count === 1 ? kind : `${count} ${kind}s`)).join(', '),
        ...repeats.map(({ name, size }) => `for each ${name} in ${size}`),
      ],
      path: paths.size === 1 ? [...paths][0] : '',
      class: 'kernel',
    });
    const own = new Set(kernel.segments.flatMap((segment) => (segment.kind === 'chain' ? ownBuffers(segment) : [])));
    // One arrow for all that comes from one place.
    const read = new Map<string, Buffer[]>();
    for (const buffer of new Set(links.flatMap(readsOf).map((access) => access.buffer))) {
      const from = writers.get(buffer);
      if (from !== undefined && from !== kernel.name) read.set(from, [...(read.get(from) ?? []), buffer]);
    }
    for (const [from, [first, ...others]] of read) {
      const more = others.length === 0 ? '' : ` and ${others.length} more`;
      edges.push({ from, to: kernel.name, ...(first.role === 'temporary' && { label: `${showType(first)}${more}` }) });
    }
    for (const { buffer } of links.flatMap(writesOf)) {
      if (own.has(buffer)) continue;
      writers.set(buffer, kernel.name);
      if (buffer.role === 'result') edges.push({ from: kernel.name, to: `b ${buffer.name}` });
    }
  }
  return printDot(program.name, nodes, edges);
}

const showType = ({ dtype, shape }: TensorType): string => `${dtype}${showShape(shape)}`;

const constantOf = (node: Node): string | undefined => {
  if (node.op !== 'constant') return undefined;
  const { value } = node.attributes;
  return typeof value === 'number' ? String(value) : `${value.length} constants`;
};

const nameOf = (node: Node): string =>
  node.op === 'reduce'
    ? `reduce.${node.attributes.monoid}`
    : node.op === 'cast'
      ? `cast ${node.attributes.dtype}`
      : node.op;
