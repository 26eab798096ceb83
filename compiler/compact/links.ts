/**
 * What belongs together where parts of tensors are taken away: position i of one axis goes with position i + offset of
 * another. A sum of products ties the rows of a weight to the channels it sums over; a residual ties both branches; a
 * reshape folds axes into one.
 */
import type { AffineIndex, Graph, Node, Value } from '../graph/graph.ts';
import { concrete } from '../types/dim.ts';

/** An axis of a value. Those a contraction sums over are counted after the axes of its result. */
export interface Axis {
  readonly value: Value;
  readonly axis: number;
}

/** Position i of `from` is position i + offset of `to`. */
export interface Link {
  readonly from: Axis;
  readonly to: Axis;
  readonly offset: number;
}

/** An axis whose positions are those of several others in row-major order. */
export interface Fold {
  readonly whole: Axis;
  readonly parts: readonly Axis[];
}

/** An axis that has to stay whole, and why. */
export interface Closed extends Axis {
  readonly node: Node | undefined;
  readonly why: string;
}

export interface Links {
  readonly links: readonly Link[];
  readonly folds: readonly Fold[];
  readonly closed: readonly Closed[];
}

export const sizesOf = ({ type }: Value): readonly number[] => concrete(type.shape);
const axesOf = (value: Value): number[] => [...value.type.shape.keys()];

/** Everything that ties axes in a forward graph. */
export function linksOf(graph: Graph): Links {
  const links: Link[] = [];
  const folds: Fold[] = [];
  const closed: Closed[] = [];
  const same = (from: Value, to: Value, pairs: readonly (readonly [number, number])[]): void => {
    for (const [a, b] of pairs) links.push({ from: { value: from, axis: a }, to: { value: to, axis: b }, offset: 0 });
  };
  const close = (value: Value, axes: readonly number[], node: Node | undefined, why: string): void => {
    for (const axis of axes) closed.push({ value, axis, node, why });
  };
  /** Reads of `value` at affine functions of axes of `result`. */
  const read = (node: Node, value: Value, index: readonly AffineIndex[], result: Value): void =>
    index.forEach(({ terms, offset, divisor }, axis) => {
      if (terms.length === 1 && terms[0].scale === 1 && divisor === 1)
        links.push({
          from: { value, axis },
          to: { value: result, axis: terms[0].axis },
          offset: -Number(offset),
        });
      else {
        const isTurned = terms.length === 1 && terms[0].scale === -1 && divisor === 1;
        const how = isTurned ? 'it is read from its end' : 'it is read in steps or windows';
        close(value, [axis], node, terms.length === 0 ? 'one position of it is picked' : how);
        close(
          result,
          terms.map((term) => term.axis),
          node,
          how,
        );
      }
    });

  for (const { value, role } of graph.inputs)
    if (role === 'batch') close(value, axesOf(value), undefined, 'it comes from the data');
  for (const node of graph.nodes) visit(node);
  for (const { name, role, value } of graph.outputs) {
    const before = graph.inputs.find((input) => input.name === name)?.value;
    if (role === 'update' && before !== undefined)
      same(
        before,
        value,
        axesOf(value).map((axis) => [axis, axis]),
      );
  }
  return { links, folds, closed };

  function visit(node: Node): void {
    const [out] = node.outputs;
    const first = node.inputs[0];
    switch (node.op) {
      case 'constant':
      case 'random':
        return;
      case 'iota':
        return close(out, [node.attributes.axis], node, 'its positions are used as numbers');
      case 'view':
        return read(node, first, node.attributes.index, out);
      case 'contract':
        return node.inputs.forEach((input, at) => read(node, input, node.attributes.indices[at], out));
      case 'reshape':
        return reshape(node, first, out);
      case 'concat': {
        let start = 0;
        for (const input of node.inputs) {
          for (const axis of axesOf(input))
            links.push({
              from: { value: input, axis },
              to: { value: out, axis },
              offset: axis === node.attributes.axis ? start : 0,
            });
          start += sizesOf(input)[node.attributes.axis];
        }
        return;
      }
      case 'reduce': {
        const { axes } = node.attributes;
        close(first, axes, node, 'it is reduced over');
        return same(
          first,
          out,
          axesOf(first)
            .filter((axis) => !axes.includes(axis))
            .map((axis, at) => [axis, at]),
        );
      }
      case 'argreduce': {
        const { axis } = node.attributes;
        close(first, [axis], node, 'a position in it is the result');
        return same(
          first,
          out,
          axesOf(first)
            .filter((other) => other !== axis)
            .map((other, at) => [other, at]),
        );
      }
      case 'cumulative':
        close(first, [node.attributes.axis], node, 'running sums go along it');
        return same(
          first,
          out,
          axesOf(first).map((axis) => [axis, axis]),
        );
      case 'gather': {
        const { batch } = node.attributes;
        const ids = node.inputs[1];
        const walked = ids.type.shape.length;
        close(first, [batch], node, 'positions in it come from data');
        same(
          ids,
          out,
          axesOf(ids).map((axis) => [axis, axis]),
        );
        same(
          first,
          out,
          axesOf(first).flatMap((axis) =>
            axis === batch ? [] : [[axis, axis < batch ? axis : walked + axis - batch - 1] as const],
          ),
        );
        return;
      }
      case 'scatter':
      case 'loop':
        for (const value of [...node.inputs, ...node.outputs])
          close(
            value,
            axesOf(value),
            node,
            node.op === 'loop' ? 'a scan carries it' : 'positions in it come from data',
          );
        return;
      default:
        for (const input of node.op === 'after' ? [first] : node.inputs)
          same(
            input,
            out,
            axesOf(out).map((axis) => [axis, axis]),
          );
    }
  }

  /** Runs of axes with the same product on both sides. */
  function reshape(node: Node, from: Value, to: Value): void {
    const [a, b] = [from, to].map(sizesOf);
    let [i, j] = [0, 0];
    while (i < a.length || j < b.length) {
      const [left, right] = [i, j];
      let [m, n] = [a[i++] ?? 1, b[j++] ?? 1];
      while (m !== n) {
        if (m < n) m *= a[i++] ?? n;
        else n *= b[j++] ?? m;
      }
      const [mine, others] = [span(from, left, Math.min(i, a.length)), span(to, right, Math.min(j, b.length))];
      if (mine.length === 1 && others.length === 1) links.push({ from: mine[0], to: others[0], offset: 0 });
      else if (others.length === 1) folds.push({ whole: others[0], parts: mine });
      else if (mine.length === 1) folds.push({ whole: mine[0], parts: others });
      else for (const { value, axis } of [...mine, ...others]) close(value, [axis], node, 'a reshape cuts across it');
    }
  }
}

const span = (value: Value, start: number, end: number): Axis[] =>
  Array.from({ length: Math.max(0, end - start) }, (_, at) => ({ value, axis: start + at }));
