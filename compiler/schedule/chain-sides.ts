/**
 * A whole chain on a machine with workgroups is one kernel for its rows and one for its columns: each goes over what is handed on tile by
 * tile, computes again what it needs of it (team-chain.ts), and keeps none of it. What the columns need of whole rows the rows leave in memory.
 *
 *   chain for h { s = q·k;  p = exp(s - max s) …;  o[row, d] = sum p·v;  dv[column, d] = sum p·do }
 *     →  chain for h { s = q·k;  p = …;  o = …;  %max[h, row] = max s }   chain for h { s = q·k;  p = exp(s - %max[h, row]) …;  dv = … }
 */
import { readsOf, summedBy, writesOf } from '../loop/accesses.ts';
import { accessAlong, axisAt, load, soleAxis } from '../loop/build.ts';
import type { Access, Axis, Buffer, Chain, Link, Result, Segment, Stage, Store } from '../loop/loop.ts';
import { needsOf } from './expression.ts';
import { rewriteLink, rewriter, rootsOf } from './rewrite.ts';
import type { NewTemporary } from './split-chain.ts';

/** What an axis of a chain's links walks. */
export type Side = 'row' | 'column';

/** Is it in one block of all its rows? Only such a chain can be cut here. */
export const isWhole = ({ walk, sums, totals, spans }: Chain): boolean =>
  walk.length + sums.length + totals.length === 0 && spans.length === 1 && spans[0].axes.length === 0;

/** By what is handed on, which has rows and columns; undefined where some element of it is not read by an axis for each. */
export function sidesOf({ locals, spans: [{ parts }] }: Chain): ReadonlyMap<Axis, Side> | undefined {
  const own = new Set(locals);
  const sides = new Map<Axis, Side>();
  for (const access of parts.flatMap((link) => [...readsOf(link), ...writesOf(link)])) {
    if (!own.has(access.buffer)) continue;
    const [row, column] = access.index.map(soleAxis);
    if (row === undefined || column === undefined) return undefined;
    if (sides.get(row) === 'column' || sides.get(column) === 'row') return undefined;
    sides.set(row, 'row').set(column, 'column');
  }
  return sides;
}

/** Does it sum over the rows, so that something of the columns comes of it? */
export const isOfColumns = (link: Link, sides: ReadonlyMap<Axis, Side>): boolean =>
  summedBy(link).some((axis) => sides.get(axis) === 'row');

/** The chains, of rows and then of columns, that together do what a whole one does up to its end; undefined where it has no sides. */
export function splitSides(chain: Chain, temporary: NewTemporary): readonly Chain[] | undefined {
  const [{ parts }] = chain.spans;
  const sides = sidesOf(chain);
  if (sides === undefined) return undefined;
  const locals = new Set(chain.locals);
  const ofColumns = parts.filter((link) => isOfColumns(link, sides));
  const ofRows = parts.filter((link) => !ofColumns.includes(link));
  const handedOn = new Set(ofColumns.flatMap(readsOf).flatMap(({ buffer }) => (locals.has(buffer) ? [buffer] : [])));
  const again = trim(ofRows, locals, handedOn, false);
  const places = new Map<Result, Access>();
  for (const link of again)
    for (const result of resultsOf(link))
      places.set(result, placeFor(result, [...chain.axes, ...link.axes], temporary));
  const toPlaces = rewriter({
    affine: (at) => at,
    result: (of) => {
      const place = places.get(of);
      return place && load(place);
    },
  });
  const rows = trim(
    ofRows.map((link) => saveResults(link, places)),
    locals,
    new Set(),
    true,
  );
  const columns = [...again.map((link) => rewriteLink(withoutSums(link), toPlaces)), ...ofColumns];
  return [rows, columns].flatMap((links) => (links.length === 0 ? [] : [withLinks(chain, links)]));
}

/** The links of a chain up to its end as segments of their own, which hand on what they do in memory. */
export function linksApart({ axes, locals, spans: [{ parts }] }: Chain, temporary: NewTemporary): readonly Segment[] {
  const whole = new Map(
    locals.map((local) => [local, temporary(local.dtype, [...axes.map(({ size }) => size), ...local.shape])]),
  );
  const inMemory = rewriter({
    affine: (at) => at,
    access: (access) => {
      const buffer = whole.get(access.buffer);
      return buffer === undefined
        ? access
        : { buffer, shape: buffer.shape, index: [...axes.map(axisAt), ...access.index] };
    },
  });
  return parts.map((link) => ({ ...rewriteLink(link, inMemory), axes: [...axes, ...link.axes] }));
}

/** A chain of some of its links, or of others like them. */
function withLinks(chain: Chain, parts: readonly Link[]): Chain {
  const touched = new Set(parts.flatMap((link) => [...readsOf(link), ...writesOf(link)]).map(({ buffer }) => buffer));
  const locals = chain.locals.filter((local) => touched.has(local));
  return { ...chain, locals, spans: [{ axes: [], parts }], end: [] };
}

/** Of links in order what those locals are made of that are read; with `outputs`, and what they leave in memory. */
function trim(
  links: readonly Link[],
  locals: ReadonlySet<Buffer>,
  read: ReadonlySet<Buffer>,
  outputs: boolean,
): readonly Link[] {
  const wanted = new Set(read);
  return links
    .toReversed()
    .flatMap((link) => {
      const isKept = ({ access: { buffer } }: Store): boolean => (locals.has(buffer) ? wanted.has(buffer) : outputs);
      return withStores(link, isKept, (reads) => reads.forEach(({ buffer }) => wanted.add(buffer))) ?? [];
    })
    .toReversed();
}

/**
 * The link with some of its stores, and no sums that these do not need; undefined without any. `note` is told what they read before it
 * is asked for those that may make it.
 */
function withStores(
  link: Link,
  isKept: (store: Store) => boolean,
  note: (reads: readonly Access[]) => void,
): Link | undefined {
  if (link.kind === 'contraction') {
    const stores = link.stores.filter(isKept);
    if (stores.length === 0) return undefined;
    const kept = { ...link, stores };
    note(readsOf(kept));
    return kept;
  }
  const used = new Set<Result>();
  const stages = link.stages
    .toReversed()
    .flatMap((stage): Stage[] => {
      const made = stageWith(stage, isKept, used);
      if (made === undefined) return [];
      const alone = { ...link, stages: [made] };
      rootsOf(alone).forEach((value) => needsOf(value).results.forEach((result) => used.add(result)));
      note(readsOf(alone));
      return [made];
    })
    .toReversed();
  return stages.length === 0 ? undefined : { ...link, stages };
}

function stageWith(stage: Stage, isKept: (store: Store) => boolean, used: ReadonlySet<Result>): Stage | undefined {
  if (stage.kind === 'reduce') {
    const results = stage.results.filter(({ result }) => used.has(result));
    return results.length === 0 ? undefined : { ...stage, results };
  }
  const stores = stage.stores.filter(isKept);
  const isNeeded = stores.length > 0 || (stage.kind === 'cumulate' && used.has(stage.result));
  return isNeeded ? { ...stage, stores } : undefined;
}

const resultsOf = (link: Link): readonly Result[] =>
  link.kind === 'contraction'
    ? []
    : link.stages.flatMap((stage) => (stage.kind === 'reduce' ? stage.results.map(({ result }) => result) : []));

function placeFor({ dtype }: Result, axes: readonly Axis[], temporary: NewTemporary): Access {
  const buffer = temporary(
    dtype,
    axes.map(({ size }) => size),
  );
  return accessAlong(buffer, axes);
}

/** The link, and in memory those of its results that have a place there. */
function saveResults(link: Link, places: ReadonlyMap<Result, Access>): Link {
  if (link.kind === 'contraction') return link;
  const stores = resultsOf(link).flatMap((of): Store[] => {
    const access = places.get(of);
    return access === undefined ? [] : [{ access, value: { kind: 'result', dtype: of.dtype, of } }];
  });
  return stores.length === 0 ? link : { ...link, stages: [...link.stages, { kind: 'store', axes: [], stores }] };
}

/** For who reads from memory what it sums. */
const withoutSums = (link: Link): Link =>
  link.kind === 'contraction' ? link : { ...link, stages: link.stages.filter(({ kind }) => kind !== 'reduce') };
