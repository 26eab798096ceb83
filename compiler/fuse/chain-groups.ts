/**
 * Which groups become a chain: a product with a row for each query and a column for each key (graph/scores.ts), and everything
 * that reads or writes tensors of its shape. None of these tensors reaches memory then.
 *
 *   law 1  everything that touches one of the tensors is in the chain; the program asks for none of them
 *   law 2  nothing outside has to run between two parts
 *   law 3  the parts agree which axis is which (chain-axes.ts)
 */
import type { Value } from '../graph/graph.ts';
import { findScores, isSameShape } from '../graph/scores.ts';
import { nameOfNode } from './decision.ts';
import type { FusionDecision } from './decision.ts';
import { emitChain } from './emit.ts';
import type { Frame } from './frame.ts';
import { neededValues, outsideReads } from './group.ts';
import type { Group, Links, Root } from './group.ts';
import { NoChain } from './chain-axes.ts';
import { dependencies, sortGroups, writersOf } from './order.ts';
import { savedByChain } from './traffic.ts';

/** The groups, with those of each chain made one. */
export function chainGroups(
  frame: Frame,
  given: readonly Group[],
  decide: (decision: FusionDecision) => void,
): readonly Group[] {
  let groups = given;
  const tried = new Set<Group>();
  const { products, made } = findScores(frame.nodes);
  const updated = new Set(frame.updates.flatMap(({ value, old }) => (old === undefined ? [] : [value])));
  for (const node of products) {
    const seed = groups.find(({ kind, roots }) => kind === 'contraction' && roots[0].node === node);
    if (seed === undefined || tried.has(seed)) continue;
    const isHanded = (value: Value): boolean => made.has(value) && isSameShape(value, node.outputs[0]);
    const apart = groups.flatMap((group) => partOf(group, isHanded, updated));
    const links = gather(frame, apart, seed, isHanded);
    const { parts } = links;
    for (const group of parts) tried.add(group);
    const producer = nameOfNode(node);
    const consumer = nameOfNode(parts[parts.length - 1].roots[0].node);
    try {
      groups = joinChain(frame, apart, links, updated);
      const reason = 'one kernel: their rows are there for some at a time only';
      decide({ producer, consumer, fused: true, reason, bytesSaved: savedByChain(links) });
    } catch (error) {
      if (!(error instanceof NoChain)) throw error;
      decide({ producer, consumer, fused: false, reason: error.reason, bytesSaved: 0 });
    }
  }
  return groups;
}

/**
 * What a chain needs of a group that reads what is handed on, and the rest of it. Sums of whole tensors share a kernel whatever they are of;
 * and what overwrites a parameter has to wait until nobody reads it any more.
 */
function partOf(group: Group, isHanded: (value: Value) => boolean, updated: ReadonlySet<Value>): Group[] {
  const { kind, roots, outer } = group;
  const touches = ({ reads }: Root): boolean => reads.some(({ value }) => isHanded(value));
  const isApart = (root: Root): boolean => !touches(root) && (outer.length === 0 || updated.has(root.value));
  const rest = roots.filter(isApart);
  if ((kind !== 'region' && kind !== 'contraction') || rest.length === 0 || !roots.some(touches)) return [group];
  return [
    { kind, outer, roots: roots.filter((root) => !isApart(root)) },
    { kind: 'region', outer, roots: rest },
  ];
}

/** The groups that write or read what is made of the seed's scores, from one to the next. */
function gather(frame: Frame, groups: readonly Group[], seed: Group, isHanded: (value: Value) => boolean): Links {
  const writer = writersOf(groups);
  const readers = new Map<Value, Group[]>();
  for (const group of groups)
    for (const { value } of outsideReads(group)) readers.set(value, [...(readers.get(value) ?? []), group]);
  const members = new Set<Group>([seed]);
  for (const group of members) {
    const written = group.roots.map(({ value }) => value).filter((value) => readers.has(value));
    const read = outsideReads(group).flatMap(({ frame: owner, value }) => (owner === frame ? [value] : []));
    for (const value of [...written, ...read].filter(isHanded)) {
      const source = writer.get(value);
      if (source === undefined) continue;
      for (const other of [source, ...(readers.get(value) ?? [])]) members.add(other);
    }
  }
  const { sorted } = sortGroups(groups, dependencies(frame, groups));
  const parts = sorted.filter((group) => members.has(group));
  return { parts, handed: parts.flatMap((group) => group.roots.map(({ value }) => value)).filter(isHanded) };
}

function joinChain(frame: Frame, groups: readonly Group[], links: Links, updated: ReadonlySet<Value>): Group[] {
  const { parts, handed } = links;
  if (parts.length < 2) throw new NoChain('nothing of its shape is read');
  const wanted = neededValues(frame, []);
  if (handed.some((value) => wanted.has(value))) throw new NoChain('it has to be in memory as a whole');
  if (parts.some(({ kind }) => kind !== 'region' && kind !== 'contraction'))
    throw new NoChain('a loop or a scatter reads it');
  if (parts.some(({ roots }) => roots.some(({ value }) => updated.has(value))))
    throw new NoChain('a part overwrites what may still be read');
  const chain: Group = { kind: 'chain', roots: parts.flatMap(({ roots }) => roots), outer: [], chain: links };
  const joined = [...groups.filter((group) => !parts.includes(group)), chain];
  if (sortGroups(joined, dependencies(frame, joined)).circle.length > 0)
    throw new NoChain('another kernel has to run between its parts');
  const needed = neededValues(frame, groups);
  // Throws where they do not fit together.
  emitChain({ frame, isNeeded: (value) => needed.has(value) }, links, new Set());
  return joined;
}
