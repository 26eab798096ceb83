/**
 * Segments as a chain: rows of what they hand on to each other are computed block by block, in memory of the point at hand.
 *
 *   contraction for b, t, u sum d { %s[b, t, u] = … }          chain for b walk block { buffer %s: f32[rows, u]
 *   region for b, t { … %s[b, t, u] … }                  →       contraction for t', u sum d { %s[t', u] = … }
 *   contraction for b, t, d sum u { … %s[b, t, u] … }            region for t' { … %s[t', u] … }
 *                                                                contraction for t', d sum u { … %s[t', u] … } }
 *
 * What sums over the rows adds up block after block, and is finished after the last; so does what sums over a part of the batch (the heads
 * that share their keys).
 */
import { elementCount } from '../../common/elements.ts';
import type { Monoid } from '../graph/graph.ts';
import { blocksOf } from '../graph/scores.ts';
import type { Blocks } from '../graph/scores.ts';
import { readsOf, summedBy, writesOf } from '../loop/accesses.ts';
import { affine, apply, axisAt, cast, load } from '../loop/build.ts';
import type { Affine } from '../loop/build.ts';
import type {
  Access,
  Axis,
  Buffer,
  Chain,
  Coordinate,
  Expression,
  Link,
  Region,
  Result,
  Stage,
  Store,
  Sum,
} from '../loop/loop.ts';
import { accumulatorDtype, dtypeBytes } from '../types/dtype.ts';
import type { Dtype } from '../types/dtype.ts';
import { checkReads, NoChain, ownIndex, rolesIn, summedDims } from './chain-axes.ts';
import type { Roles } from './chain-axes.ts';
import { reachOf } from './masked-columns.ts';
import { createRewriter } from './rewrite-expression.ts';

/** Rows that are worked on together: so many in each block, from one row on, and how many of the columns they need. */
interface Rows {
  readonly size: number;
  readonly block: Axis;
  readonly from: number;
  readonly columns: number;
}

/** More spans save little more of what a mask takes out, and each is code of its own. */
const mostSpans = 4;
/** Columns come in so many: vectors. */
const columnsAtOnce = 16;

/** `reach`: the last column that a row needs is its number plus that. */
function spansOf({ size, count, rest }: Blocks, columns: number, reach: number | undefined, name: string): Rows[] {
  const needed = (rows: number): number => {
    if (reach === undefined) return columns;
    return Math.min(columns, Math.max(1, Math.ceil((rows + reach) / columnsAtOnce)) * columnsAtOnce);
  };
  const spans: Rows[] = [];
  const groups = reach === undefined ? 1 : Math.min(mostSpans, count);
  let first = 0;
  for (let group = 1; group <= groups; group++) {
    const last = Math.round((group * count) / groups);
    // What needs no fewer columns than the next has no span of its own.
    if (group < groups && needed(last * size) === columns) continue;
    const block = { name, size: last - first };
    spans.push({ size, block, from: first * size, columns: needed(last * size) });
    first = last;
  }
  if (rest > 0)
    spans.push({ size: rest, block: { name, size: 1 }, from: count * size, columns: needed(count * size + rest) });
  return spans;
}

/**
 * The chain of some links, in an order in which they may run. `possible`, up to axes of one point, have one shape: [...batch, rows, columns].
 * `whole`: all rows are one block, for machines whose schedule cuts both rows and columns. What sums over more than one of these then comes
 * at the end, and what it reads of what is handed on is in memory as well.
 */
export function makeChain(all: readonly Link[], possible: ReadonlySet<Buffer>, whole: boolean): Chain {
  const touched = new Set(all.flatMap((link) => [...readsOf(link), ...writesOf(link)].map(({ buffer }) => buffer)));
  const handed = new Set([...possible].filter((buffer) => touched.has(buffer)));
  const [{ shape }] = handed;
  const row = shape.length - 2;
  const roles: Roles = new Map(all.flatMap((link) => [...rolesIn(link, handed, shape)]));
  checkReads(all, handed, roles, row);
  const end = whole ? all.filter((link) => sumsOverTwo(link, roles, row, shape)) : [];
  const links = all.filter((link) => !end.includes(link));
  const kept = new Set(end.flatMap(readsOf).flatMap(({ buffer }) => (handed.has(buffer) ? [buffer] : [])));

  const bytesPerRow = [...handed].reduce((sum, { dtype }) => sum + shape[row + 1] * dtypeBytes[dtype], 0);
  const blocks = whole ? { size: shape[row], count: 1, rest: 0 } : blocksOf(shape[row], bytesPerRow);
  const nameOf = (dim: number): string => [...roles].find(([, role]) => role === dim)?.[0].name ?? `b${dim}`;
  const reach = reachOf(links, {
    isRow: (axis) => roles.get(axis) === row,
    isColumn: (axis) => roles.get(axis) === row + 1,
    isHanded: (buffer) => handed.has(buffer),
  });
  const spans = spansOf(blocks, shape[row + 1], whole ? undefined : reach, `${nameOf(row)}_block`);
  const batch = shape.slice(0, row).map((size, dim): Axis => ({ name: nameOf(dim), size }));
  const [{ block }] = spans;
  const dims = [...batch, spans.length === 1 ? block : { name: block.name, size: blocks.count }];
  const isTotal = (link: Link): boolean => !whole && addsToTotal(link, roles, dims, shape);
  const summed = new Set(links.flatMap((link) => (isTotal(link) ? [] : [...summedDims(link, roles, row)])));
  const isWalked = (dim: number): boolean =>
    dim === row ? spans.length > 1 || (summed.has(row) && blocks.count > 1) : summed.has(dim) && dims[dim].size > 1;
  const local = new Map(
    [...handed].map((buffer): [Buffer, Buffer] => [buffer, localOf(buffer, blocks.size, kept.has(buffer))]),
  );
  const space: Space = { roles, shape, row, dims, isWalked, local, kept };
  const sums = new Map(
    links.flatMap((link): [Link, Running][] => {
      const isLong = isTotal(link) || [...summedDims(link, roles, row)].some(isWalked);
      return isLong ? [[link, addUp(link, space, spans[0], isTotal(link))]] : [];
    }),
  );
  const running = (total: boolean): Running[] => [...sums.values()].filter(({ isTotal }) => isTotal === total);
  return {
    kind: 'chain',
    axes: dims.filter(({ size }, dim) => size > 1 && !isWalked(dim)),
    walk: dims.filter((_, dim) => dim < row && isWalked(dim)),
    locals: [...local.values()],
    sums: running(false).flatMap((one) => one.sums),
    totals: running(true).flatMap((one) => one.sums),
    spans: spans.map((rows) => ({
      axes: isWalked(row) && rows.block.size > 1 ? [rows.block] : [],
      parts: links.map((link) => inRows(link, space, rows, sums.get(link))),
    })),
    last: running(false).map(({ finish }) => finish),
    end: [...running(true).map(({ finish }) => finish), ...end],
    ...(whole && reach !== undefined && kept.size === 0 && { reach }),
  };
}

/** What all links of a chain have in common. */
interface Space {
  readonly roles: Roles;
  readonly shape: readonly number[];
  /** Which axis of what is handed on is the rows. */
  readonly row: number;
  /** The axes of the batch, and the blocks. */
  readonly dims: readonly Axis[];
  isWalked(dim: number): boolean;
  /** Of what is handed on, what is in memory as well. */
  readonly kept: ReadonlySet<Buffer>;
  readonly local: ReadonlyMap<Buffer, Buffer>;
}

/** A link that sums over what is walked: what it adds to, and what is done with all of it. */
interface Running {
  /** Not of a point of the chain: of all of them. */
  readonly isTotal: boolean;
  readonly sums: readonly Sum[];
  /** Where a point of the link's axes is in the sums. */
  readonly axes: readonly Axis[];
  readonly finish: Region;
}

/** Is what a link sums over the batch so small that every point of the chain may have its own, which are added after? */
function addsToTotal(link: Link, roles: Roles, dims: readonly Axis[], shape: readonly number[]): boolean {
  const row = dims.length - 1;
  const summed = [...summedDims(link, roles, row)];
  if (!summed.some((dim) => dim < row && dims[dim].size > 1)) return false;
  const result = link.axes.reduce((size, axis) => size * axis.size, 1);
  const times = summed.reduce((product, dim) => product * dims[dim].size, 1);
  return result * times * smallShare <= elementCount(shape);
}

/** Does a link sum over a batch, or over both rows and columns? */
function sumsOverTwo(link: Link, roles: Roles, row: number, shape: readonly number[]): boolean {
  const dims = new Set(summedBy(link).flatMap((axis) => roles.get(axis) ?? []));
  return [...dims].some((dim) => dim < row && shape[dim] > 1) || (dims.has(row) && dims.has(row + 1));
}

/** Of a tensor that is handed on. */
const smallShare = 16;

/** Coordinates in the whole tensor, of a point of some rows; `apart`: counted from the first of them. */
function moveTo({ roles, row, dims }: Space, rows: Rows, inside: (axis: Axis) => Axis) {
  return (at: Affine, apart: boolean): Affine =>
    affine(
      at.terms.flatMap(({ axis, scale }) => {
        const role = roles.get(axis);
        if (role !== undefined && role < row) return [{ axis: dims[role], scale }];
        const inner = { axis: inside(axis), scale };
        if (role !== row) return [inner];
        return !apart && rows.block.size > 1 ? [{ axis: rows.block, scale: scale * rows.size }, inner] : [inner];
      }),
      at.offset + (apart ? 0 : rows.from * scaleOfRows(at, roles, row)),
      at.divisor,
    );
}

const scaleOfRows = ({ terms }: Affine, roles: Roles, row: number): number =>
  terms.reduce((sum, { axis, scale }) => (roles.get(axis) === row ? sum + scale : sum), 0);

/** One axis for each that walks all rows, or all columns: those at hand. */
function shortened({ roles, row }: Space, { size, columns }: Rows): (axis: Axis) => Axis {
  const made = new Map<Axis, Axis>();
  return (axis) => {
    const role = roles.get(axis);
    if (role !== row && role !== row + 1) return axis;
    const known = made.get(axis) ?? { name: axis.name, size: role === row ? size : columns };
    made.set(axis, known);
    return known;
  };
}

/** A link for some rows. What it sums over what is walked it adds to `running`. */
function inRows(link: Link, space: Space, rows: Rows, running: Running | undefined): Link {
  const { roles, row, shape, local } = space;
  const axisIn = shortened(space, rows);
  const moved = moveTo(space, rows, axisIn);
  const coordinate = (at: Coordinate): Coordinate => (at.kind === 'affine' ? moved(at, false) : at);
  const rewrite = createRewriter({
    coordinate,
    access: (access) => {
      const to = local.get(access.buffer);
      if (to === undefined) return { ...access, index: access.index.map(coordinate) };
      const index = ownIndex(access, shape);
      return { buffer: to, shape: to.shape, index: index.slice(row).map((at) => moved(at, true)) };
    },
  });
  const storeAll = (given: readonly Store[]): Store[] => {
    const rewritten = rewrite.stores(given);
    const inMemory = given.flatMap(({ access }, at): Store[] =>
      space.kept.has(access.buffer)
        ? [{ access: { ...access, index: access.index.map(coordinate) }, value: rewritten[at].value }]
        : [],
    );
    return [...rewritten, ...inMemory];
  };
  const inside = (of: readonly Axis[]): Axis[] =>
    of.flatMap((axis) => ((roles.get(axis) ?? row) < row ? [] : [axisIn(axis)]));
  const stores = (results: readonly Result[]): Store[] =>
    (running?.sums ?? []).map(({ buffer, monoid }, at) => {
      // By blocks where these are walked: then all rows have a place.
      const isApart = running?.isTotal !== true && !space.isWalked(row);
      const index = (running?.axes ?? []).map((axis) => moved(axisAt(axis), isApart));
      const access: Access = { buffer, shape: buffer.shape, index };
      const sum: Expression = { kind: 'result', dtype: buffer.dtype, of: results[at] };
      return { access, value: apply(combined[monoid], load(access), sum) };
    });
  if (link.kind === 'contraction') {
    const [sum] = running?.sums ?? [];
    const result = sum === undefined ? link.result : { name: `${link.result.name}_block`, dtype: sum.buffer.dtype };
    return {
      ...link,
      axes: inside(link.axes),
      reduce: inside(link.reduce),
      left: rewrite.expression(link.left),
      right: rewrite.expression(link.right),
      result,
      stores: sum === undefined ? storeAll(link.stores) : stores([result]),
    };
  }
  const stages = link.stages.map((stage): Stage => {
    const made = rewrite.stage(stage);
    if (made.kind === 'cumulate') return { ...made, axis: axisIn(made.axis) };
    if (stage.kind === 'store' && made.kind === 'store')
      return { ...made, axes: inside(made.axes), stores: storeAll(stage.stores) };
    return { ...made, axes: inside(made.axes) };
  });
  const [first] = stages;
  if (first.kind !== 'reduce' || running === undefined) return { ...link, axes: inside(link.axes), stages };
  const results = first.results.map(({ result, monoid, value }, at) => ({
    result: { name: `${result.name}_block`, dtype: running.sums[at].buffer.dtype },
    monoid,
    value,
  }));
  const store: Stage = { kind: 'store', axes: [], stores: stores(results.map(({ result }) => result)) };
  return { ...link, axes: inside(link.axes), stages: [{ ...first, results }, store] };
}

const combined = { sum: 'add', prod: 'mul', max: 'max', min: 'min' } as const;

/** What a sum over what is walked adds to, and what is done with all of it. */
function addUp(link: Link, space: Space, rows: Rows, isTotal: boolean): Running {
  const { roles, row, isWalked, local } = space;
  const axisIn = shortened(space, rows);
  const moved = moveTo(space, rows, axisIn);
  const isWhole = (axis: Axis): boolean => {
    const role = roles.get(axis);
    return isTotal || role === undefined || role > row || isWalked(role);
  };
  const axes = link.axes.filter((axis) => isWhole(axis) || roles.get(axis) === row);
  const own = axes.map((axis) => (isWhole(axis) ? axis : axisIn(axis)));
  const shape = own.map(({ size }) => size);
  const coordinate = (at: Coordinate): Coordinate => {
    if (at.kind !== 'affine') return at;
    const [whole, others] = [true, false].map((wanted) => at.terms.filter(({ axis }) => isWhole(axis) === wanted));
    const rest = moved(affine(others, at.offset), false);
    return affine([...whole, ...rest.terms], rest.offset, at.divisor);
  };
  const rewrite = createRewriter({
    coordinate,
    access: (access) => {
      if (local.has(access.buffer)) throw new NoChain('what is made of a sum over a batch is read with its elements');
      return { ...access, index: access.index.map(coordinate) };
    },
  });
  const sumOf = (result: Result, monoid: Monoid, dtype: Dtype): Sum => ({
    buffer: { name: result.name, role: 'temporary', dtype: accumulatorDtype(dtype), shape },
    monoid,
  });
  const finish = (results: readonly Result[], sums: readonly Sum[], then: readonly Stage[]): Running => ({
    isTotal,
    sums,
    axes,
    finish: {
      kind: 'region',
      axes: own,
      stages: [
        {
          kind: 'reduce',
          axes: [],
          results: results.map((result, at) => {
            const { buffer, monoid } = sums[at];
            const value = cast(load({ buffer, shape, index: own.map(axisAt) }), result.dtype);
            return { result, monoid, value };
          }),
        },
        ...then,
      ],
    },
  });
  if (link.kind === 'contraction') {
    const { result, stores } = link;
    const then: Stage = { kind: 'store', axes: [], stores: rewrite.stores(stores) };
    return finish([result], [sumOf(result, 'sum', result.dtype)], [then]);
  }
  const [first, ...others] = link.stages;
  if (first.kind !== 'reduce') throw new Error('a region that sums begins with the sum');
  const sums = first.results.map(({ result, monoid, value }): Sum => {
    if (monoid === 'argmax' || monoid === 'argmin') throw new NoChain('the place of a largest element does not add up');
    return sumOf(result, monoid, value.dtype);
  });
  return finish(
    first.results.map(({ result }) => result),
    sums,
    others.map(rewrite.stage),
  );
}

const localOf = ({ name, dtype, shape }: Buffer, rows: number, isKept: boolean): Buffer => ({
  name: isKept ? `${name}_local` : name,
  role: 'temporary',
  dtype,
  shape: [rows, shape[shape.length - 1]],
});
