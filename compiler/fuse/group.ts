/** Groups: the segments of kernels while they are still being joined. */
import type { Node, Value } from '../graph/graph.ts';
import { affine, axisAt, combine, constantAt } from '../loop/build.ts';
import type { Affine } from '../loop/build.ts';
import type { Axis, Coordinate, Expression } from '../loop/loop.ts';
import { concrete } from '../types/dim.ts';
import { isContraction } from './choose-roots.ts';
import { NeedsCut, NeedsRoot, producerOf, shapeOf } from './frame.ts';
import type { Frame } from './frame.ts';
import { isPointwise, isRead, lower, lowerNode, viewed } from './lower.ts';
import type { Scope } from './lower.ts';

/** A root as read by another: its value at `index`, seen with `shape`. */
export interface Read {
  readonly frame: Frame;
  readonly value: Value;
  readonly index: readonly Coordinate[];
  readonly shape: readonly number[];
}

/** A value computed by a group, at `index` over `axes`; what is reduced is read at `inner` over `reduce`. */
export interface Root {
  readonly value: Value;
  readonly node: Node;
  axes: readonly Axis[];
  index: readonly Affine[];
  reduce: readonly Axis[];
  inner: readonly Affine[];
  reads: readonly Read[];
  /** What it is not computed before (`after`), without reading it. */
  readonly waits: readonly Value[];
}

export interface Group {
  readonly kind: 'region' | 'contraction' | 'scatter' | 'loop' | 'chain';
  /** In an order in which later ones may read earlier ones. */
  roots: Root[];
  /** Axes every point of which is independent. */
  outer: readonly Axis[];
  readonly loop?: Loop;
  readonly chain?: Links;
}

/** What a chain is made of, in order, and the tensors that its parts hand on to each other, or to themselves. */
export interface Links {
  readonly parts: readonly Group[];
  readonly handed: readonly Value[];
}

/** A loop inside a frame: its body, planned, and what it reads from outside. */
export interface Loop {
  readonly axis: Axis;
  readonly reverse: boolean;
  readonly body: Plan;
  readonly reads: readonly Read[];
}

/** A frame with its work cut into groups. */
export interface Plan {
  readonly frame: Frame;
  readonly groups: readonly Group[];
}

let counter = 0;
export const createAxis = (size: number): Axis => ({ name: `a${counter++}`, size });

function axesFor(sizes: readonly number[]): { readonly axes: Axis[]; readonly index: Affine[] } {
  const axes: Axis[] = [];
  const index = sizes.map((size) => {
    if (size === 1) return constantAt(0);
    const axis = createAxis(size);
    axes.push(axis);
    return axisAt(axis);
  });
  return { axes, index };
}

/** The group a root starts with: alone. */
export function createGroup(frame: Frame, value: Value): Group {
  const node = producerOf(frame, value);
  const { axes, index } = axesFor(shapeOf(value));
  const { axes: reduce, index: inner } = axesFor(reducedSizes(node));
  const root: Root = { value, node, axes, index, reduce, inner, reads: [], waits: waitsOf(frame, node) };
  analyse(frame, root);
  const along = runsAlong(root);
  const outer = root.axes.filter((axis) => axis !== along);
  return {
    kind: node.op === 'scatter' && !isPointwise(node) ? 'scatter' : isContraction(node) ? 'contraction' : 'region',
    roots: [root],
    outer,
  };
}

/** The roots behind every `after` between a node and the memory it reads. */
export function waitsOf(frame: Frame, node: Node): Value[] {
  const waits = new Set<Value>();
  const seen = new Set<Value>();
  const visit = (value: Value, isWaited: boolean): void => {
    const producer = frame.producers.get(value);
    if (isRead(frame, value) || producer === undefined) {
      if (isWaited) waits.add(value);
      return;
    }
    if (!isWaited && seen.has(value)) return;
    seen.add(value);
    producer.inputs.forEach((input, at) => visit(input, isWaited || (producer.op === 'after' && at === 1)));
  };
  node.inputs.forEach((input, at) => visit(input, node.op === 'after' && at === 1));
  return [...waits];
}

function reducedSizes(node: Node): readonly number[] {
  if (isPointwise(node)) return [];
  if (node.op === 'reduce') return node.attributes.axes.map((axis) => shapeOf(node.inputs[0])[axis]);
  if (node.op === 'argreduce') return [shapeOf(node.inputs[0])[node.attributes.axis]];
  if (node.op === 'contract') return concrete(node.attributes.reduce);
  if (node.op === 'scatter') return shapeOf(node.inputs[0]).slice(node.attributes.batch);
  return [];
}

/** Finds what a root reads, cutting its axes where a reshape asks for it. */
function analyse(frame: Frame, root: Root): void {
  for (;;) {
    const reads: Read[] = [];
    const scope: Scope = {
      memo: new Map(),
      conditions: new Map(),
      own(owner, value, index, shape): Expression {
        reads.push({ frame: owner, value, index, shape });
        return { kind: 'number', dtype: value.type.dtype, value: 0 };
      },
    };
    try {
      rootOperands(scope, frame, root, root.index, root.inner);
      root.reads = reads;
      return;
    } catch (error) {
      if (!(error instanceof NeedsCut)) throw error;
      // What runs along an axis cannot be cut there: what it reads is computed before.
      if (runsAlong(root) === error.axis) throw new NeedsRoot(frame, root.node.inputs[0]);
      cutAxis(root, error.axis, error.inner);
    }
  }
}

/** The axis of a running combination. */
export const runsAlong = (root: Root): Axis | undefined =>
  root.node.op === 'cumulative' && !isPointwise(root.node)
    ? root.index[root.node.attributes.axis].terms[0]?.axis
    : undefined;

/** Replaces an axis of the root by two. */
export function cutAxis(root: Root, axis: Axis, inner: number): readonly [Axis, Axis] {
  const high = createAxis(axis.size / inner);
  const low = createAxis(inner);
  const replaceIn = (axes: readonly Axis[]): readonly Axis[] =>
    axes.flatMap((other) => (other === axis ? [high, low] : [other]));
  const at = combine(
    [
      { at: axisAt(high), scale: inner },
      { at: axisAt(low), scale: 1 },
    ],
    0,
  );
  root.axes = replaceIn(root.axes);
  root.reduce = replaceIn(root.reduce);
  root.index = root.index.map((coordinate) => replaceAxis(coordinate, axis, at));
  root.inner = root.inner.map((coordinate) => replaceAxis(coordinate, axis, at));
  root.reads = root.reads.map((read) => ({
    ...read,
    index: read.index.map((coordinate) =>
      coordinate.kind === 'affine' ? replaceAxis(coordinate, axis, at) : coordinate,
    ),
  }));
  return [high, low];
}

/** Replaces an axis of the root by another of the same size. */
export function renameAxis(root: Root, axis: Axis, by: Axis): void {
  const at = axisAt(by);
  const rename = (axes: readonly Axis[]): readonly Axis[] => axes.map((other) => (other === axis ? by : other));
  root.axes = rename(root.axes);
  root.reduce = rename(root.reduce);
  root.index = root.index.map((coordinate) => replaceAxis(coordinate, axis, at));
  root.inner = root.inner.map((coordinate) => replaceAxis(coordinate, axis, at));
  root.reads = root.reads.map((read) => ({
    ...read,
    index: read.index.map((coordinate) =>
      coordinate.kind === 'affine' ? replaceAxis(coordinate, axis, at) : coordinate,
    ),
  }));
}

function replaceAxis(coordinate: Affine, axis: Axis, by: Affine): Affine {
  const term = coordinate.terms.find((candidate) => candidate.axis === axis);
  if (term === undefined) return coordinate;
  const rest = affine(
    coordinate.terms.filter((candidate) => candidate !== term),
    coordinate.offset,
  );
  return combine(
    [
      { at: rest, scale: 1 },
      { at: by, scale: term.scale },
    ],
    0,
    coordinate.divisor,
  );
}

/** The expressions a root is made of, at `index` and `inner`: one, or the two sides of a contraction, or a scatter's id and value. */
export function rootOperands(
  scope: Scope,
  frame: Frame,
  root: Root,
  index: readonly Affine[],
  inner: readonly Affine[],
): Expression[] {
  const { node, value } = root;
  if (!isPointwise(node))
    switch (node.op) {
      case 'reduce':
        return [lower(scope, frame, node.inputs[0], weave(index, inner, node.attributes.axes))];
      case 'argreduce':
        return [lower(scope, frame, node.inputs[0], weave(index, inner, [node.attributes.axis]))];
      case 'cumulative':
        return [lower(scope, frame, node.inputs[0], index)];
      case 'contract':
        return node.inputs.map((input, at) =>
          viewed(scope, frame, value, input, node.attributes.indices[at], [...index, ...inner]),
        );
      case 'scatter': {
        const [ids, updates] = node.inputs;
        const { batch } = node.attributes;
        const at = [...index.slice(0, batch), ...inner];
        return [lower(scope, frame, ids, at), lower(scope, frame, updates, [...at, ...index.slice(batch + 1)])];
      }
      default:
    }
  return [lowerNode(scope, frame, value, node, index)];
}

/** Coordinates of the operand: the reduced ones at their places among the kept ones. */
function weave(kept: readonly Affine[], reduced: readonly Affine[], axes: readonly number[]): Affine[] {
  const result = [...kept];
  axes
    .map((axis, at) => ({ axis, at }))
    .sort((a, b) => a.axis - b.axis)
    .forEach(({ axis, at }) => result.splice(axis, 0, reduced[at]));
  return result;
}

/** Every value a group reads that it does not compute. */
export function outsideReads(group: Group): readonly Read[] {
  if (group.loop !== undefined) return group.loop.reads;
  const own = new Set(group.roots.map(({ value }) => value));
  return group.roots.flatMap(({ reads }) => reads.filter(({ value }) => !own.has(value)));
}

/** The values that have to be in memory: what the program asks for, and what a group reads of another. */
export function neededValues(frame: Frame, groups: readonly Group[]): ReadonlySet<Value> {
  const needed = new Set([...frame.updates.map(({ value }) => value), ...[...frame.assembled.values()].flat()]);
  for (const group of groups)
    for (const part of group.chain?.parts ?? [group]) for (const { value } of outsideReads(part)) needed.add(value);
  return needed;
}
