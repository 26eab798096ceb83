/**
 * A forward graph with smaller shapes: what structured pruning removed is gone from every tensor it ran through.
 *
 *   before   %2: f32[16, 32] = param w    (columns 3 and 7 are removed)     after   %2: f32[16, 30] = param w
 *            %3[i, j]: f32[8, 32] = sum[k: 16] %1[i, k] * %2[k, j]                  %3[i, j]: f32[8, 30] = sum[k: 16] …
 *            %5[i, j]: f32[8, 4] = sum[k: 32] %4[i, k] * %w2[k, j]                  %5[i, j]: f32[8, 4] = sum[k: 30] …
 *
 * Which parts go together is links.ts's. What is left computes what the network computes in which the removed channels are not
 * read by anything. Where a channel cannot go — a mean is taken over it, it is an output, its number is used — CannotCompact names
 * the node. Needs to run before gradients are taken.
 */
import type { Builder } from '../graph/build.ts';
import type { AffineIndex, Graph, Node, NodeOf, Value } from '../graph/graph.ts';
import { copyNode, mapped, type ValueMap } from '../graph/rewrite.ts';
import { sizes, spread, type Positions, type Removal } from './closure.ts';
import { linksOf, sizesOf, type Axis, type Closed } from './links.ts';

/** What cannot go. */
export class CannotCompact extends Error {
  readonly node: Node | undefined;
  readonly why: string;
  constructor({ node, why }: Pick<Closed, 'node' | 'why'>) {
    super(why);
    this.node = node;
    this.why = why;
  }
}

/** What is kept of each axis of a parameter or buffer that loses something; undefined: all of the axis. */
export type Kept = readonly (readonly number[] | undefined)[];

/** What is kept of every parameter and buffer once these columns (of last axes) are removed. Throws CannotCompact. */
export function keptOf(graph: Graph, removedColumns: ReadonlyMap<string, readonly number[]>): Map<string, Kept> {
  const removed = findRemoved(
    graph,
    [...removedColumns].flatMap(([name, positions]) => {
      const value = graph.inputs.find((input) => input.name === name)?.value;
      if (value === undefined) return [];
      const axis = value.type.shape.length - 1;
      return positions.map((position) => ({ at: { value, axis }, position }));
    }),
  );
  return new Map(
    graph.inputs.flatMap(({ name, value }): [string, Kept][] => {
      if (removed.axes(value).length === 0) return [];
      return [[name, sizesOf(value).map((size, axis) => keptPositions(removed, { value, axis }, size))]];
    }),
  );
}

/** Appends the smaller graph; gives what became of its values. Throws CannotCompact. */
export function compactInto(build: Builder, graph: Graph, kept: ReadonlyMap<string, Kept>): ValueMap {
  const seeds: Removal[] = [];
  for (const { name, value } of graph.inputs)
    kept.get(name)?.forEach((positions, axis) => {
      const stays = new Set(positions);
      if (positions !== undefined)
        sizesOf(value)
          .slice(axis, axis + 1)
          .forEach((size) => {
            for (let position = 0; position < size; position++)
              if (!stays.has(position)) seeds.push({ at: { value, axis }, position });
          });
    });
  return new Smaller(build, graph, findRemoved(graph, seeds)).values;
}

function findRemoved(graph: Graph, seeds: readonly Removal[]): Positions {
  const links = linksOf(graph);
  const sizeOf = sizes(graph.nodes);
  const removed = spread(links, seeds, sizeOf);
  for (const closed of links.closed) if (removed.of(closed).size > 0) throw new CannotCompact(closed);
  const count = (axis: Axis): number => sizeOf(axis) - removed.of(axis).size;
  for (const { whole, parts } of links.folds)
    if (parts.reduce((product, part) => product * count(part), 1) !== count(whole))
      throw new CannotCompact({
        node: graph.nodes.find(({ outputs }) => outputs.includes(whole.value)),
        why: 'a reshape cuts across it',
      });
  for (const { value } of graph.inputs)
    sizesOf(value).forEach((size, axis) => {
      if (size > 0 && count({ value, axis }) === 0)
        throw new CannotCompact({ node: undefined, why: 'nothing of it would be left' });
    });
  return removed;
}

const keptPositions = (removed: Positions, axis: Axis, size: number): readonly number[] | undefined => {
  const gone = removed.of(axis);
  return gone.size === 0 ? undefined : Array.from({ length: size }, (_, at) => at).filter((at) => !gone.has(at));
};

class Smaller {
  readonly values: ValueMap = new Map();
  private readonly build: Builder;
  private readonly removed: Positions;
  private readonly sizeOf: (axis: Axis) => number;

  constructor(build: Builder, graph: Graph, removed: Positions) {
    this.build = build;
    this.removed = removed;
    this.sizeOf = sizes(graph.nodes);
    for (const { name, role, value } of graph.inputs)
      this.values.set(value, build.input(name, role, { ...value.type, shape: this.shape(value) }));
    for (const node of graph.nodes) this.append(node);
  }

  private append(node: Node): void {
    const [out] = node.outputs;
    switch (node.op) {
      case 'constant':
        return this.add(node, { ...node.attributes, shape: this.shape(out), value: this.elements(node) });
      case 'iota':
      case 'random':
      case 'reshape':
        return this.add(node, { ...node.attributes, shape: this.shape(out) });
      case 'view':
        return this.add(node, {
          shape: this.shape(out),
          index: this.reads(node, node.inputs[0], node.attributes.index),
        });
      case 'contract':
        return this.add(node, {
          shape: this.shape(out),
          reduce: node.attributes.reduce.map((_, at) => this.left({ value: out, axis: out.type.shape.length + at })),
          indices: node.attributes.indices.map((index, at) => this.reads(node, node.inputs[at], index)),
        });
      default:
        copyNode(this.build, node, this.values);
    }
  }

  private add<Name extends Node['op']>(node: NodeOf<Name>, attributes: NodeOf<Name>['attributes']): void {
    this.build.origin = node.origin;
    const inputs = node.inputs.map((value) => mapped(this.values, value));
    this.build.node(node.op, inputs, attributes).forEach((value, at) => this.values.set(node.outputs[at], value));
  }

  private left(axis: Axis): number {
    return this.sizeOf(axis) - this.removed.of(axis).size;
  }

  private shape(value: Value): number[] {
    return sizesOf(value).map((_, axis) => this.left({ value, axis }));
  }

  private positions(axis: Axis): number[] {
    const size = this.sizeOf(axis);
    return [...(keptPositions(this.removed, axis, size) ?? Array.from({ length: size }, (_, at) => at))];
  }

  private elements({ attributes: { value }, outputs: [out] }: NodeOf<'constant'>): number | number[] {
    if (typeof value === 'number') return value;
    const shape = sizesOf(out);
    const kept = shape.map((_, axis) => new Set(this.positions({ value: out, axis })));
    return value.filter((_, place) => {
      let rest = place;
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        if (!kept[axis].has(rest % shape[axis])) return false;
        rest = Math.floor(rest / shape[axis]);
      }
      return true;
    });
  }

  /** The same reads, in the positions that are left. */
  private reads(node: Node, value: Value, index: readonly AffineIndex[]): AffineIndex[] {
    return index.map((one, axis) => {
      const [term] = one.terms;
      const operand = { value, axis };
      if (one.terms.length !== 1 || term.scale !== 1 || one.divisor !== 1) return one;
      const result = { value: node.outputs[0], axis: term.axis };
      if (this.removed.of(operand).size === 0 && this.removed.of(result).size === 0) return one;
      return { ...one, offset: this.shift(node, this.positions(operand), this.positions(result), Number(one.offset)) };
    });
  }

  /** Position r of the result reads position r + offset of the operand; so do they by their numbers among what is left. */
  private shift(node: Node, operand: readonly number[], result: readonly number[], offset: number): number {
    const places = new Map(operand.map((position, place) => [position, place]));
    const found = result.map((position) => places.get(position + offset));
    const first = found.findIndex((place) => place !== undefined);
    const shifted = (found[first] ?? 0) - Math.max(first, 0);
    const fits = found.every((place, at) =>
      place === undefined ? at + shifted < 0 || at + shifted >= operand.length : place === at + shifted,
    );
    if (!fits) throw new CannotCompact({ node, why: 'what is left of it does not lie side by side' });
    return shifted;
  }
}

/** The elements of a tensor that are left. */
export function slice(data: ArrayLike<number>, shape: readonly number[], kept: Kept): number[] {
  const positions = shape.map((size, axis) => kept[axis] ?? Array.from({ length: size }, (_, at) => at));
  const result: number[] = [];
  const walk = (axis: number, base: number): void => {
    if (axis === shape.length) return void result.push(data[base]);
    for (const position of positions[axis]) walk(axis + 1, base * shape[axis] + position);
  };
  walk(0, 0);
  return result;
}
