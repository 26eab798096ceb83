/** Groups into kernels: who waits for whom, and which independent groups run together. */
import type { Value } from '../graph/graph.ts';
import type { Axis } from '../loop/loop.ts';
import type { Frame } from './frame.ts';
import { outsideReads } from './group.ts';
import type { Group, Read, Root } from './group.ts';

/** For each group, the groups that have to run before it. */
export function dependencies(frame: Frame, groups: readonly Group[]): Map<Group, Set<Group>> {
  const writer = writersOf(groups);
  const before = new Map<Group, Set<Group>>();
  const readers = new Map<Value, Group[]>();
  for (const group of groups) {
    const needs = new Set<Group>();
    before.set(group, needs);
    for (const value of group.roots.flatMap(({ waits }) => waits))
      for (const part of frame.assembled.get(value) ?? [value]) {
        const source = writer.get(part);
        if (source !== undefined && source !== group) needs.add(source);
      }
    for (const { frame: owner, value } of outsideReads(group)) {
      if (owner !== frame) continue;
      for (const part of frame.assembled.get(value) ?? [value]) {
        const source = writer.get(part);
        if (source !== undefined && source !== group) needs.add(source);
      }
      const known = readers.get(value);
      if (known === undefined) readers.set(value, [group]);
      else known.push(group);
    }
  }
  // A buffer is overwritten only after everybody has read its old value.
  for (const { value, old } of frame.updates) {
    const target = writer.get(value);
    if (old === undefined || target === undefined) continue;
    for (const reader of readers.get(old) ?? []) if (reader !== target) before.get(target)?.add(reader);
  }
  return before;
}

/** The group that computes each root. */
export function writersOf(groups: readonly Group[]): Map<Value, Group> {
  const writer = new Map<Value, Group>();
  for (const group of groups)
    for (const { node } of group.roots) for (const value of node.outputs) writer.set(value, group);
  return writer;
}

/** The groups in an order that respects `before`; undefined if there is none, with the groups of a circle. */
export function sortGroups(
  groups: readonly Group[],
  before: ReadonlyMap<Group, ReadonlySet<Group>>,
): { readonly sorted: Group[]; readonly circle: readonly Group[] } {
  const sorted: Group[] = [];
  const state = new Map<Group, 'open' | 'done'>();
  const path: Group[] = [];
  let circle: readonly Group[] = [];
  const visit = (group: Group): void => {
    const known = state.get(group);
    if (known === 'done' || circle.length > 0) return;
    if (known === 'open') {
      circle = path.slice(path.indexOf(group));
      return;
    }
    state.set(group, 'open');
    path.push(group);
    for (const other of before.get(group) ?? []) visit(other);
    path.pop();
    state.set(group, 'done');
    sorted.push(group);
  };
  groups.forEach(visit);
  return { sorted, circle };
}

/** A root that overwrites what it, or another root of its group, still reads at another place. */
export function hasHazard(frame: Frame, group: Group): Value | undefined {
  for (const { value, old } of frame.updates) {
    if (old === undefined) continue;
    const writer = group.roots.find((root) => root.value === value);
    if (
      writer !== undefined &&
      group.roots.some((root) =>
        root.reads.some(
          (read) => read.value === old && read.frame === frame && !(root === writer && readsItself(writer, read)),
        ),
      )
    )
      return value;
  }
  return undefined;
}

/** Does a read hit exactly the element its point writes? `renamed`: the writer's axes as the reader calls them. */
export function readsItself(writer: Root, read: Read, renamed: ReadonlyMap<Axis, Axis> = new Map()): boolean {
  if (writer.node.op === 'scatter' || writer.reduce.length > 0 || read.shape.length !== writer.index.length)
    return false;
  return read.index.every((at, axis) => {
    const own = writer.index[axis];
    return (
      at.kind === 'affine' &&
      at.divisor === 1 &&
      at.offset === own.offset &&
      at.terms.length === own.terms.length &&
      at.terms.every((term) =>
        own.terms.some((other) => (renamed.get(other.axis) ?? other.axis) === term.axis && other.scale === term.scale),
      )
    );
  });
}

/**
 * Lists of groups that run together, in order. A kernel takes everything that is ready and alike: the fewest barriers
 * a program can have is the length of its longest chain, and this order reaches it when a chain alternates little.
 */
export function gatherKernels(groups: readonly Group[], before: ReadonlyMap<Group, ReadonlySet<Group>>): Group[][] {
  const height = new Map<Group, number>();
  const after = new Map<Group, Group[]>();
  for (const group of groups)
    for (const other of before.get(group) ?? []) {
      const list = after.get(other);
      if (list === undefined) after.set(other, [group]);
      else list.push(group);
    }
  const heightOf = (group: Group): number => {
    let known = height.get(group);
    if (known === undefined) height.set(group, (known = 1 + Math.max(0, ...(after.get(group) ?? []).map(heightOf))));
    return known;
  };
  const waiting = new Map(groups.map((group) => [group, before.get(group)?.size ?? 0]));
  const kernels: Group[][] = [];
  let ready = groups.filter((group) => waiting.get(group) === 0);
  while (ready.length > 0) {
    const lead = ready.reduce((best, group) => (heightOf(group) > heightOf(best) ? group : best));
    const together = lead.kind === 'loop' ? [lead] : ready.filter((group) => group.kind === lead.kind);
    kernels.push(together);
    const chosen = new Set(together);
    ready = ready.filter((group) => !chosen.has(group));
    for (const group of together)
      for (const next of after.get(group) ?? []) {
        const left = (waiting.get(next) ?? 0) - 1;
        waiting.set(next, left);
        if (left === 0) ready.push(next);
      }
  }
  return kernels;
}
