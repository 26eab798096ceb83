/**
 * The order of work on one side of a chain (chain-sides.ts). Its lines are rows or columns; a workgroup has a block of them, and walks the other
 * side tile by tile. What is made of a whole line is known when all tiles were there, so that what needs it has to go over them again: each
 * such walk is a pass.
 *
 *   softmax   pass 0: s, max s, sum of exp(s - max s);   pass 1: s again, p, sum of p·v
 */
import { isFloat } from '../types/dtype.ts';
import type { Axis, Buffer, Chain, Contraction, Expression, Link, Result, Store } from '../loop/loop.ts';
import { isOfColumns, type Side, sidesOf } from './chain-sides.ts';
import { isPositional, type ReduceStage } from './reduce.ts';
import { walk } from './rewrite.ts';
import { fingerprint } from './fingerprint.ts';

/** What is done at once. */
export type Part =
  /** A product with an element for each of a tile, which goes to tiles. */
  | { readonly kind: 'product'; readonly contraction: Contraction }
  /** Elementwise, from tiles to tiles. */
  | { readonly kind: 'points'; readonly stores: readonly Store[] }
  /** Sums of the lines; sums of exp(x - largest) may follow the largest so far, tile by tile. */
  | { readonly kind: 'reduce'; readonly stage: ReduceStage; readonly follows?: Result }
  /** A product that sums over the tiles. */
  | { readonly kind: 'sum'; readonly contraction: Contraction }
  /** What is made of whole lines. */
  | { readonly kind: 'lines'; readonly stores: readonly Store[] };

export interface Pass {
  /** For each tile, one after the other. */
  readonly parts: readonly Part[];
  /** Then, for each line. */
  readonly after: readonly Part[];
}

export interface Passes {
  /** What a workgroup has a block of. */
  readonly lines: Side;
  readonly sides: ReadonlyMap<Axis, Side>;
  readonly rows: number;
  readonly columns: number;
  /** What is handed on. */
  readonly locals: ReadonlySet<Buffer>;
  readonly passes: readonly Pass[];
}

/** Undefined where some link is no such part. `isAlone`: one tile is all there is of so many lines, and what was made of it stays. */
export function passesOf(chain: Chain, isAlone: (walked: number) => boolean): Passes | undefined {
  const sides = sidesOf(chain);
  if (sides === undefined) return undefined;
  const [{ parts: links }] = chain.spans;
  const lines: Side = links.some((link) => isOfColumns(link, sides)) ? 'column' : 'row';
  const parts: Part[] = [];
  for (const link of links) {
    const made = partsOf(link, sides, lines);
    if (made === undefined) return undefined;
    parts.push(...made);
  }
  const [rows, columns] = chain.locals[0].shape;
  const locals = new Set(chain.locals);
  // Lines and sums of tiles have no element in a tile.
  const isFit = parts.every(
    (part) => isTiled(part) || storesOf(part).every(({ access: { buffer } }) => !locals.has(buffer)),
  );
  if (!isFit) return undefined;
  const passes = passesIn(placeParts(parts, sides), locals, isAlone(lines === 'row' ? columns : rows));
  return { lines, sides, rows, columns, locals, passes };
}

const longer = (axes: readonly Axis[]): readonly Axis[] => axes.filter(({ size }) => size > 1);

function partsOf(link: Link, sides: ReadonlyMap<Axis, Side>, lines: Side): readonly Part[] | undefined {
  const along = (axes: readonly Axis[]): string =>
    longer(axes)
      .map((axis) => sides.get(axis) ?? 'other')
      .sort()
      .join();
  const walked: Side = lines === 'row' ? 'column' : 'row';
  if (link.kind === 'contraction') {
    if (link.bytes === true) return undefined;
    if (along(link.axes) === 'column,row' && !/row|column/.test(along(link.reduce)))
      return [{ kind: 'product', contraction: link }];
    const others = link.axes.filter((axis) => sides.get(axis) !== lines);
    const isSum =
      along(link.reduce) === walked && !others.some((axis) => sides.has(axis)) && others.length < link.axes.length;
    return isSum ? [{ kind: 'sum', contraction: link }] : undefined;
  }
  const parts: Part[] = [];
  for (const stage of link.stages) {
    if (stage.kind === 'cumulate') return undefined;
    const all = along([...link.axes, ...stage.axes]);
    if (stage.kind === 'store' && all === 'column,row') parts.push({ kind: 'points', stores: stage.stores });
    else if (stage.kind === 'store' && all === lines) parts.push({ kind: 'lines', stores: stage.stores });
    else if (stage.kind === 'reduce' && all === 'column,row' && along(stage.axes) === walked && !isPlace(stage))
      parts.push({ kind: 'reduce', stage });
    else return undefined;
  }
  return parts;
}

const isPlace = ({ results }: ReduceStage): boolean => results.some(isPositional);

export const storesOf = (part: Part): readonly Store[] =>
  part.kind === 'reduce' ? [] : part.kind === 'product' || part.kind === 'sum' ? part.contraction.stores : part.stores;

/** A part and the first pass that has all it reads: elements of tiles are made anew in each pass, all else is made in this one. */
interface Placed {
  readonly part: Part;
  readonly level: number;
}

const isTiled = ({ kind }: Part): boolean => kind === 'product' || kind === 'points';

function placeParts(parts: readonly Part[], sides: ReadonlyMap<Axis, Side>): readonly Placed[] {
  /** The first pass in which something may be read. */
  const ready = new Map<object, number>();
  const levelOf = (reads: Iterable<object>): number => Math.max(0, ...[...reads].map((read) => ready.get(read) ?? 0));
  const following = createFollowing(sides);
  return parts.map((given): Placed => {
    const reads = [...readsOf(given)];
    const follows = given.kind === 'reduce' ? following.followedBy(given.stage) : undefined;
    const others = levelOf(reads.filter((read) => read !== follows));
    const isFollower = given.kind === 'reduce' && follows !== undefined && others < levelOf(reads);
    const part: Part = isFollower ? { ...given, follows } : given;
    const level = isFollower ? levelOf(reads) - 1 : levelOf(reads);
    if (part.kind === 'reduce') {
      following.note(part.stage);
      for (const { result } of part.stage.results) ready.set(result, level + 1);
    }
    // Lines that read no sum wait for the end of the first pass all the same.
    const stored = part.kind === 'sum' ? level + 1 : part.kind === 'lines' ? Math.max(1, level) : level;
    for (const { access } of storesOf(part)) ready.set(access.buffer, Math.max(stored, ready.get(access.buffer) ?? 0));
    return { part, level };
  });
}

function passesIn(placed: readonly Placed[], locals: ReadonlySet<Buffer>, isAlone: boolean): readonly Pass[] {
  const isInMemory = ({ access: { buffer } }: Store): boolean => !locals.has(buffer);
  const last = placed.map(({ part, level }) =>
    part.kind === 'lines' || (isTiled(part) && !storesOf(part).some(isInMemory)) ? level - 1 : level,
  );
  const there = new Set<Part>();
  return Array.from({ length: Math.max(0, ...last) + 1 }, (_, pass): Pass => {
    const wanted = new Set<object>();
    const own = placed.toReversed().flatMap(({ part, level }): Part[] => {
      if (part.kind === 'lines' || there.has(part)) return [];
      // What is in memory as well is written once.
      const isWanted = (store: Store): boolean =>
        isInMemory(store) ? level === pass : wanted.has(store.access.buffer);
      if (isTiled(part) ? !storesOf(part).some(isWanted) : level !== pass) return [];
      const taken = isTiled(part) && !isAlone ? withStores(part, isWanted) : part;
      readsOf(taken).forEach((read) => wanted.add(read));
      if (isAlone) there.add(part);
      return [taken];
    });
    const isAfter = ({ part, level }: Placed): boolean => part.kind === 'lines' && Math.max(1, level) === pass + 1;
    return { parts: own.toReversed(), after: placed.filter(isAfter).map(({ part }) => part) };
  });
}

/** A part with some of its stores. */
function withStores(part: Part, isKept: (store: Store) => boolean): Part {
  const stores = storesOf(part).filter(isKept);
  if (part.kind === 'reduce') return part;
  return part.kind === 'product' || part.kind === 'sum'
    ? { ...part, contraction: { ...part.contraction, stores } }
    : { ...part, stores };
}

/** Which sums may be summed before the largest element of their line is known: those of exp(x - r), where r is the largest x. */
function createFollowing(sides: ReadonlyMap<Axis, Side>) {
  const seen = new Map<object, number>();
  const place = (of: object): string => {
    const known = seen.get(of) ?? seen.size;
    seen.set(of, known);
    return `${known}`;
  };
  // All axes along a side are alike: what is compared is summed over them.
  const print = fingerprint(new Map(), { axis: (axis) => sides.get(axis) ?? place(axis), other: place });
  const largest = new Map<Result, number>();
  return {
    note({ results }: ReduceStage): void {
      for (const { result, monoid, value } of results)
        if (monoid === 'max' && isFloat(result.dtype)) largest.set(result, print.expression(uncast(value)));
    },
    /** That r, if it is one for all that a stage sums. */
    followedBy({ results }: ReduceStage): Result | undefined {
      const all = results.map(({ monoid, value }) => {
        if (monoid !== 'sum' || value.kind !== 'apply' || value.op !== 'exp') return undefined;
        const [of] = value.operands;
        if (of.kind !== 'apply' || of.op !== 'sub') return undefined;
        const [x, r] = of.operands.map(uncast);
        return r.kind === 'result' && largest.get(r.of) === print.expression(x) ? r.of : undefined;
      });
      return all.every((one) => one === all[0]) ? all[0] : undefined;
    },
  };
}

const uncast = (of: Expression): Expression => (of.kind === 'apply' && of.op === 'cast' ? uncast(of.operands[0]) : of);

/** The buffers and results that a part reads. */
export function readsOf(part: Part): ReadonlySet<object> {
  const values = storesOf(part).map(({ value }) => value);
  if (part.kind === 'reduce') return readsIn(part.stage.results.map(({ value }) => value));
  const { kind } = part;
  return readsIn(
    kind === 'product' || kind === 'sum' ? [part.contraction.left, part.contraction.right, ...values] : values,
  );
}

/** The buffers and results that expressions read. */
export function readsIn(roots: readonly Expression[]): ReadonlySet<object> {
  const found = new Set<object>();
  walk(roots, (of) => {
    if (of.kind === 'load') found.add(of.access.buffer);
    if (of.kind === 'result') found.add(of.of);
  });
  return found;
}
