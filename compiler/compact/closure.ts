/** All that goes where something goes: removals spread along the links of a graph until nothing more follows. */
import { elementCount } from '../../common/elements.ts';
import type { Node, Value } from '../graph/graph.ts';
import { concrete } from '../types/dim.ts';
import { sizesOf, type Axis, type Fold, type Link, type Links } from './links.ts';

/** Positions by value and axis. */
export class Positions {
  private readonly sets = new Map<Value, Map<number, Set<number>>>();

  of({ value, axis }: Axis): ReadonlySet<number> {
    return this.sets.get(value)?.get(axis) ?? none;
  }

  /** False where it was there already. */
  add({ value, axis }: Axis, position: number): boolean {
    const axes = this.sets.get(value) ?? new Map<number, Set<number>>();
    this.sets.set(value, axes);
    const positions = axes.get(axis) ?? new Set<number>();
    axes.set(axis, positions);
    if (positions.has(position)) return false;
    positions.add(position);
    return true;
  }

  /** Axes that have any. */
  axes(value: Value): readonly number[] {
    return [...(this.sets.get(value)?.keys() ?? [])];
  }
}

const none: ReadonlySet<number> = new Set();

/** Sizes of the axes of a value and of those a contraction sums over. */
export type SizeOf = (axis: Axis) => number;

export interface Removal {
  readonly at: Axis;
  readonly position: number;
}

/** The removals that follow from `seeds`, themselves included. */
export function spread({ links, folds }: Links, seeds: readonly Removal[], sizeOf: SizeOf): Positions {
  const byAxis = indexed(links, folds);
  const removed = new Positions();
  const open: Removal[] = [];
  const remove = (at: Axis, position: number): void => {
    if (position >= 0 && position < sizeOf(at) && removed.add(at, position)) open.push({ at, position });
  };
  for (const { at, position } of seeds) remove(at, position);
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { at, position } = next;
    const ties = byAxis.get(at.value)?.get(at.axis);
    for (const { other, offset } of ties?.links ?? []) remove(other, position + offset);
    for (const { fold, part } of ties?.folds ?? [])
      if (part === undefined) gone(fold, position);
      else for (const whole of along(fold, part, position, sizeOf)) remove(fold.whole, whole);
  }
  return removed;

  /** A position of the whole went: what of a part has gone altogether? */
  function gone(fold: Fold, position: number): void {
    const sizes = fold.parts.map(sizeOf);
    const all = removed.of(fold.whole);
    let rest = position;
    for (let part = sizes.length - 1; part >= 0; part--) {
      const digit = rest % sizes[part];
      rest = Math.floor(rest / sizes[part]);
      if (!removed.of(fold.parts[part]).has(digit) && along(fold, part, digit, sizeOf).every((whole) => all.has(whole)))
        remove(fold.parts[part], digit);
    }
  }
}

/** Positions of the whole at which a part has this one. */
function along(fold: Fold, part: number, position: number, sizeOf: SizeOf): number[] {
  const sizes = fold.parts.map(sizeOf);
  const inner = elementCount(sizes.slice(part + 1));
  const outer = elementCount(sizes.slice(0, part));
  return Array.from({ length: outer * inner }, (_, at) => {
    const high = Math.floor(at / inner);
    return (high * sizes[part] + position) * inner + (at % inner);
  });
}

interface Ties {
  readonly links: { readonly other: Axis; readonly offset: number }[];
  /** `part` undefined: the whole. */
  readonly folds: { readonly fold: Fold; readonly part: number | undefined }[];
}

function indexed(links: readonly Link[], folds: readonly Fold[]): Map<Value, Map<number, Ties>> {
  const byValue = new Map<Value, Map<number, Ties>>();
  const tiesOf = ({ value, axis }: Axis): Ties => {
    const axes = byValue.get(value) ?? new Map<number, Ties>();
    byValue.set(value, axes);
    const ties = axes.get(axis) ?? { links: [], folds: [] };
    axes.set(axis, ties);
    return ties;
  };
  for (const { from, to, offset } of links) {
    tiesOf(from).links.push({ other: to, offset });
    tiesOf(to).links.push({ other: from, offset: -offset });
  }
  for (const fold of folds) {
    tiesOf(fold.whole).folds.push({ fold, part: undefined });
    fold.parts.forEach((axis, part) => tiesOf(axis).folds.push({ fold, part }));
  }
  return byValue;
}

/** How long axes are, with those that contractions sum over. */
export function sizes(nodes: readonly Node[]): SizeOf {
  const reduced = new Map<Value, readonly number[]>();
  for (const node of nodes) if (node.op === 'contract') reduced.set(node.outputs[0], concrete(node.attributes.reduce));
  return ({ value, axis }) => {
    const own = sizesOf(value);
    return axis < own.length ? own[axis] : (reduced.get(value)?.[axis - own.length] ?? 0);
  };
}
