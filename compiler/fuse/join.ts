/**
 * Joins groups: elementwise work into the contraction that feeds it (epilogue), rows of reductions and what reads them
 * into one region, and groups that read the same memory at the same points into one pass over it.
 *
 *   law 1  a group joins what it reads if every read matches axis by axis and no third group has to run between them
 *   law 2  a reduction's result stays in registers: its axes have to be the region's
 *   law 3  what loses parallel points, or would run along memory the wrong way, is joined only when it is small
 *   law 4  what each row computes once stays that way: where rows are lost, it would be computed again at each of their points
 */
import { elementCount } from '../../common/elements.ts';
import type { Axis, Coordinate } from '../loop/loop.ts';
import { isOneStep } from './choose-roots.ts';
import { nameOfNode } from './decision.ts';
import type { FusionDecision } from './decision.ts';
import { stageKind } from './emit.ts';
import { elements } from './frame.ts';
import type { Frame } from './frame.ts';
import { neededValues, outsideReads } from './group.ts';
import type { Group, Root } from './group.ts';
import { matchReads, matchSiblings, unify } from './match-axes.ts';
import type { Match } from './match-axes.ts';
import { dependencies, readsItself } from './order.ts';
import { axesSize, savedByJoin } from './traffic.ts';

/** Below this many points, a kernel of its own costs more than whatever parallelism or order joining loses. */
const smallPoints = 4096;
/** Rows that are enough for all threads. */
const enoughRows = 32;
/** More stores than this in one pass run out of registers and cache ways. */
const mostRoots = 16;

/** What is tried first: a join at the same points loses nothing, one of small groups may lose parallelism or order. */
type Mode = 'same points' | 'same rows' | 'small';

/** The groups after joining; every choice is told to `decide`. */
export function joinGroups(
  frame: Frame,
  groups: readonly Group[],
  decide: (decision: FusionDecision) => void,
): Group[] {
  const web = createWeb(frame, groups, decide);
  for (const group of [...groups].reverse()) if (group.kind === 'contraction') web.joinEpilogue(group);
  for (const mode of ['same points', 'same rows', 'small'] as const) {
    for (const group of [...web.groups]) web.joinReaders(group, mode);
    web.joinSiblings();
    for (const group of [...web.groups]) web.joinReaders(group, mode);
  }
  return [...web.groups];
}

const points = (group: Group): number =>
  Math.max(...group.roots.map((root) => axesSize(root.axes) * axesSize(root.reduce)));
const storesOnly = (group: Group): boolean =>
  group.kind === 'region' && group.roots.every((root) => stageKind(root.node) === 'store');

function createWeb(frame: Frame, given: readonly Group[], decide: (decision: FusionDecision) => void) {
  const groups = new Set(given);
  const before = dependencies(frame, given);
  const after = new Map<Group, Set<Group>>(given.map((group) => [group, new Set()]));
  for (const [group, needs] of before) for (const need of needs) after.get(need)?.add(group);
  const neighbours = (of: ReadonlyMap<Group, Set<Group>>, group: Group): Set<Group> => of.get(group) ?? new Set();

  /** Pairs that did not join: they will not, as long as both are what they are. */
  const tried = new Map<Group, Set<Group>>();
  const note = (first: Group, second: Group): void => {
    const known = tried.get(first);
    if (known === undefined) tried.set(first, new Set([second]));
    else known.add(second);
  };

  /** Is there a way from one to the other through a third? */
  function hasDetour(from: Group, to: Group): boolean {
    const seen = new Set<Group>();
    const stack = [...neighbours(after, from)].filter((next) => next !== to);
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      if (next === to) return true;
      if (seen.has(next)) continue;
      seen.add(next);
      stack.push(...neighbours(after, next));
    }
    return false;
  }

  /** Puts `first` before `second` in the group that was `second`. */
  function merge(first: Group, second: Group, kind: Group['kind'], outer: readonly Axis[]): Group {
    const merged: Group = { kind, roots: [...first.roots, ...second.roots], outer };
    for (const [edges, back] of [
      [before, after],
      [after, before],
    ] as const) {
      const all = new Set([...neighbours(edges, first), ...neighbours(edges, second)]);
      all.delete(first);
      all.delete(second);
      edges.set(merged, all);
      edges.delete(first);
      edges.delete(second);
      for (const other of all) {
        const list = neighbours(back, other);
        list.delete(first);
        list.delete(second);
        list.add(merged);
      }
    }
    groups.delete(first);
    groups.delete(second);
    groups.add(merged);
    return merged;
  }

  const tell = (producer: Group, consumer: Group, fused: boolean, reason: string): void =>
    decide({
      producer: nameOfGroup(producer),
      consumer: nameOfGroup(consumer),
      fused,
      reason,
      bytesSaved: fused ? savedBy(producer, consumer) : 0,
    });

  const asked = neededValues(frame, []);

  /** Of a merge that is about to happen. */
  const savedBy = (producer: Group, consumer: Group): number =>
    savedByJoin(
      producer,
      consumer,
      (value) =>
        asked.has(value) ||
        [...neighbours(after, producer)].some(
          (other) => other !== consumer && outsideReads(other).some((read) => read.value === value),
        ),
    );

  /** Does the second read, at more points than there are elements, what the first has to think about? */
  const computesAgain = (first: Group, second: Group): boolean =>
    first.roots.some(
      ({ value, node, axes }) =>
        stageKind(node) === 'store' &&
        !isOneStep(frame, node) &&
        second.roots.some(
          (root) =>
            axesSize(root.axes) * axesSize(root.reduce) > axesSize(axes) &&
            root.reads.some((read) => read.value === value),
        ),
    );

  const replaced = new Map(
    frame.updates.flatMap(({ value, old }) => (old === undefined ? [] : [[value, old] as const])),
  );

  /** Would the joined group overwrite something one of its roots still reads at another point? */
  function overwrites(first: Group, second: Group, pairs: Match, samePoints: boolean): boolean {
    for (const [from, to] of [
      [first, second],
      [second, first],
    ])
      for (const writer of from.roots) {
        const old = replaced.get(writer.value);
        if (old === undefined) continue;
        const renamed = from === first ? pairs : invert(pairs);
        if (
          to.roots.some((root) =>
            root.reads.some(
              (read) =>
                read.value === old && read.frame === frame && !(samePoints && readsItself(writer, read, renamed)),
            ),
          )
        )
          return true;
      }
    return false;
  }

  function tryEpilogue(product: Group, reader: Group): Group | undefined {
    if (!storesOnly(reader)) return undefined;
    const pairs = matchReads(product, reader);
    if (
      pairs === undefined ||
      pairs.size !== product.outer.length ||
      pairs.size !== reader.outer.length ||
      !reader.outer.every((axis) => [...pairs.values()].includes(axis))
    ) {
      tell(product, reader, false, 'the elements are not read one by one, in one pass');
      return undefined;
    }
    if (overwrites(product, reader, pairs, false)) {
      tell(product, reader, false, 'it overwrites what the contraction still reads');
      return undefined;
    }
    if (hasDetour(product, reader)) return undefined;
    unify(product, pairs);
    tell(product, reader, true, 'computed as the sums come out of the contraction');
    return merge(product, reader, 'contraction', product.outer);
  }

  /** Joins two regions, `first` running before `second` at each shared point. */
  function tryRegions(first: Group, second: Group, pairs: Match, siblings: boolean): Group | undefined {
    const shared = sharedAxes(first, second, pairs);
    const others = new Set(shared.map((axis) => pairs.get(axis)));
    const fits = (group: Group, kept: ReadonlySet<Axis | undefined>): boolean =>
      group.roots.every(
        (root) =>
          stageKind(root.node) === 'store' ||
          root.axes.every(
            (axis) => kept.has(axis) || (stageKind(root.node) === 'cumulate' && !group.outer.includes(axis)),
          ),
      );
    const whole = isWhole(first, second, pairs);
    const samePoints = whole && storesOnly(first) && storesOnly(second);
    if (siblings && !whole) return undefined;
    if (first.roots.length + second.roots.length > mostRoots && siblings) return undefined;
    if (!fits(first, new Set(shared)) || !fits(second, others)) {
      tell(first, second, false, 'the reduction is not over the same rows');
      return undefined;
    }
    const small = shared.length > 0 && Math.max(points(first), points(second)) <= smallPoints;
    if (!whole && !small && !keepsRows(first, second, pairs)) {
      tell(
        first,
        second,
        false,
        axesSize(shared) >= enoughRows ? 'rows are not contiguous there' : 'too few rows to share the work',
      );
      return undefined;
    }
    if (!whole && !keepsRows(first, second, pairs) && computesAgain(first, second)) {
      tell(first, second, false, 'it would be computed again at each point');
      return undefined;
    }
    if (overwrites(first, second, pairs, samePoints)) {
      tell(first, second, false, 'it overwrites what the other still reads');
      return undefined;
    }
    if (hasDetour(first, second) || (siblings && hasDetour(second, first))) {
      tell(first, second, false, 'another kernel has to run between them');
      return undefined;
    }
    const kept = new Map(
      [...pairs].filter(([axis]) => shared.includes(axis) || (samePoints && first.outer.includes(axis))),
    );
    unify(first, kept);
    tell(first, second, true, siblings ? 'both read the same memory' : 'same rows');
    return merge(
      first,
      second,
      'region',
      shared.map((axis) => kept.get(axis) ?? axis),
    );
  }

  function joinEpilogue(given: Group): void {
    let product: Group | undefined = given;
    while (product !== undefined) {
      const current: Group = product;
      product = undefined;
      for (const reader of neighbours(after, current)) {
        product = readsFrom(reader, current) ? tryEpilogue(current, reader) : undefined;
        if (product !== undefined) break;
      }
    }
  }

  function joinReaders(given: Group, mode: Mode): void {
    let group: Group | undefined = groups.has(given) ? given : undefined;
    while (group !== undefined) {
      const current: Group = group;
      group = undefined;
      if (current.kind !== 'region') return;
      for (const reader of neighbours(after, current)) {
        if (reader.kind !== 'region' || !readsFrom(reader, current) || tried.get(current)?.has(reader) === true)
          continue;
        const pairs = matchReads(current, reader);
        const later =
          pairs !== undefined &&
          ((mode === 'same points' && !isWhole(current, reader, pairs)) ||
            (mode === 'same rows' && !keepsRows(current, reader, pairs)));
        group = pairs === undefined || later ? undefined : tryRegions(current, reader, pairs, false);
        if (group === undefined && !later) note(current, reader);
        if (group !== undefined) break;
      }
    }
  }

  function joinSiblings(): void {
    const readers = new Map<object, Group[]>();
    for (const group of groups)
      if (group.kind === 'region')
        for (const value of new Set(outsideReads(group).map((read) => read.value))) {
          if (elements(value) < 16) continue;
          const list = readers.get(value);
          if (list === undefined) readers.set(value, [group]);
          else list.push(group);
        }
    for (const list of readers.values()) {
      const known = list.filter((group) => groups.has(group));
      for (let i = 0; i < known.length; i++)
        for (let j = i + 1; j < known.length; j++) {
          const [first, second] = [known[i], known[j]];
          if (!groups.has(first) || !groups.has(second) || points(first) !== points(second)) continue;
          if (neighbours(after, first).has(second) || neighbours(after, second).has(first)) continue;
          if (tried.get(first)?.has(second) === true) continue;
          const pairs = matchSiblings(first, second);
          const merged = pairs === undefined ? undefined : tryRegions(first, second, pairs, true);
          if (merged === undefined) note(first, second);
          if (merged !== undefined) known[i] = merged;
          if (merged !== undefined) j = i;
        }
    }
  }

  return { groups, joinEpilogue, joinReaders, joinSiblings };
}

function readsFrom(reader: Group, source: Group): boolean {
  const own = new Set(source.roots.map(({ value }) => value));
  return reader.roots.some(({ reads }) => reads.some(({ value }) => own.has(value)));
}

/** Do both run over the very same points? */
const isWhole = (first: Group, second: Group, pairs: Match): boolean =>
  first.outer.length === second.outer.length &&
  first.outer.every((axis) => second.outer.some((other) => pairs.get(axis) === other));

/** Outer axes of the first that are outer axes of the second. */
const sharedAxes = (first: Group, second: Group, pairs: Match): Axis[] =>
  first.outer.filter((axis) => second.outer.some((other) => pairs.get(axis) === other));

/** Are the shared axes rows: enough of them, each contiguous in memory? */
function keepsRows(first: Group, second: Group, pairs: Match): boolean {
  const shared = sharedAxes(first, second, pairs);
  return (
    isWhole(first, second, pairs) ||
    (axesSize(shared) >= enoughRows &&
      runsAlongRows(first, new Set(shared)) &&
      runsAlongRows(second, new Set(shared.map((axis) => pairs.get(axis)))))
  );
}

const invert = (pairs: Match): Match => new Map([...pairs].map(([from, to]) => [to, from]));

/** Do the axes that are not shared run along the end of memory in everything large the group touches? */
function runsAlongRows(group: Group, shared: ReadonlySet<Axis | undefined>): boolean {
  const endsInside = (root: Root): boolean => {
    const own = new Set([...root.axes, ...root.reduce].filter((axis) => !shared.has(axis)));
    if (own.size === 0) return true;
    return root.reads.every(({ index, shape }) => {
      const walks = (at: Coordinate | undefined): boolean =>
        at?.kind === 'affine' && at.terms.some(({ axis }) => own.has(axis));
      return (
        elementCount(shape) <= enoughRows || !index.some(walks) || walks(index.findLast((_, dim) => shape[dim] !== 1))
      );
    });
  };
  return group.roots.every(endsInside);
}

const nameOfGroup = (group: Group): string => nameOfNode(group.roots[group.roots.length - 1].node);
