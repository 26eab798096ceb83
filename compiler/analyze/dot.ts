/**
 * Graphs as pictures: text in Graphviz's dot language, with a cluster for every instance and one inside it for every
 * instance it owns. Classes and anchors survive into SVG, where a page can colour and link them.
 */
import type { Graph, Node, Value } from '../graph/graph.ts';
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
