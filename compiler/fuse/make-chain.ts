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
import { blockOfRows, leastPoints } from '../graph/scores.ts';
import { readsOf, writesOf } from '../loop/accesses.ts';
import { affine, apply, axisAt, cast, coordinateValue, load, number, soleAxis } from '../loop/build.ts';
import type { Affine } from '../loop/build.ts';
import type { Access, Axis, Buffer, Chain, Contraction, Coordinate, Expression, Link, Region } from '../loop/loop.ts';
import { accumulatorDtype, dtypeBytes } from '../types/dtype.ts';
import { reshapeIndex } from './reshape-index.ts';
import { createRewriter } from './rewrite-expression.ts';

/** The links do not make a chain. Thrown, always caught; no error, so no stack is kept. */
export class NoChain {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason;
  }
}

/** Which axis of what is handed on an axis of a link walks. */
type Roles = ReadonlyMap<Axis, number>;

/** The chain of some links, in an order in which they may run. `handed`, all of one shape: [...batch, rows, columns]. */
export function makeChain(links: readonly Link[], possible: ReadonlySet<Buffer>): Chain {
  const touched = new Set(links.flatMap((link) => [...readsOf(link), ...writesOf(link)].map(({ buffer }) => buffer)));
  const handed = new Set([...possible].filter((buffer) => touched.has(buffer)));
  const [{ shape }] = handed;
  const row = shape.length - 2;
  const roles: Roles = new Map(links.flatMap((link) => [...rolesIn(link, handed)]));
  checkReads(links, handed, roles, row);

  const bytesPerRow = [...handed].reduce((sum, { dtype }) => sum + shape[row + 1] * dtypeBytes[dtype], 0);
  const rows = blockOfRows(shape[row], bytesPerRow);
  if (rows === undefined) throw new NoChain(`no block of rows divides ${shape[row]} and fits the cache`);
  const nameOf = (dim: number): string => [...roles].find(([, role]) => role === dim)?.[0].name ?? `b${dim}`;
  const batch = shape.slice(0, row).map((size, dim): Axis => ({ name: nameOf(dim), size }));
  const block: Axis = { name: `${nameOf(row)}_block`, size: shape[row] / rows };
  const summed = summedDims(links, roles, row);
  const long = [...batch, block].map((axis, dim) => ({ axis, dim })).filter(({ axis }) => axis.size > 1);
  const walk = long.filter(({ dim }) => summed.has(dim)).map(({ axis }) => axis);
  const axes = long.filter(({ dim }) => !summed.has(dim)).map(({ axis }) => axis);
  if (walk.some((axis) => axis !== block) && axes.reduce((points, { size }) => points * size, 1) < leastPoints)
    throw new NoChain('too few points of the batch are left to share the work');
  const local = new Map([...handed].map((buffer): [Buffer, Buffer] => [buffer, localOf(buffer, rows)]));
  const locals = [...local.values()];
  const last: Link[] = [];

  const parts = links.map((link): Link => {
    const inBlock = new Map<Axis, Axis>();
    const rowIn = (axis: Axis): Axis => {
      const known = inBlock.get(axis) ?? { name: axis.name, size: rows };
      inBlock.set(axis, known);
      return known;
    };
    /** `apart`: without the rows of the blocks before. */
    const moved = (at: Affine, apart: boolean): Affine =>
      affine(
        at.terms.flatMap(({ axis, scale }) => {
          const role = roles.get(axis);
          if (role === undefined || role > row) return [{ axis, scale }];
          if (role < row) return [{ axis: batch[role], scale }];
          const inner = { axis: rowIn(axis), scale };
          return apart ? [inner] : [{ axis: block, scale: scale * rows }, inner];
        }),
        at.offset,
        at.divisor,
      );
    const coordinate = (at: Coordinate): Coordinate => (at.kind === 'affine' ? moved(at, false) : at);
    const rewrite = createRewriter({
      coordinate,
      access: (access) => {
        const to = local.get(access.buffer);
        if (to === undefined) return { ...access, index: access.index.map(coordinate) };
        const index = ownIndex(access);
        return { buffer: to, shape: to.shape, index: index.slice(row).map((at) => moved(at, true)) };
      },
    });
    const inside = (of: readonly Axis[]): Axis[] =>
      of.flatMap((axis) => {
        const role = roles.get(axis);
        if (role === undefined || role > row) return [axis];
        return role === row ? [rowIn(axis)] : [];
      });
    if (link.kind === 'region') return { ...link, axes: inside(link.axes), stages: link.stages.map(rewrite.stage) };
    const made: Contraction = {
      ...link,
      axes: inside(link.axes),
      reduce: inside(link.reduce),
      left: rewrite.expression(link.left),
      right: rewrite.expression(link.right),
      stores: rewrite.stores(link.stores),
    };
    if (walk.length === 0 || !link.reduce.some((axis) => (roles.get(axis) ?? Infinity) <= row)) return made;
    const { sums, part, finish } = addUp(made, walk);
    locals.push(sums);
    last.push(finish);
    return part;
  });
  return { kind: 'chain', axes, walk, locals, parts, last };
}

/** The rows, and axes of the batch, that parts sum over: all that sum over any sum over the same. */
function summedDims(links: readonly Link[], roles: Roles, row: number): ReadonlySet<number> {
  const found = links.flatMap((link): number[][] => {
    const dims = link.kind === 'contraction' ? link.reduce.flatMap((axis) => roles.get(axis) ?? []) : [];
    const upToRows = dims.filter((dim) => dim <= row);
    return upToRows.length === 0 ? [] : [upToRows.sort((a, b) => a - b)];
  });
  if (found.some((dims) => dims.join() !== found[0].join())) throw new NoChain('its parts sum over different axes');
  return new Set(found[0]);
}

const localOf = ({ name, dtype, shape }: Buffer, rows: number): Buffer => ({
  name,
  role: 'temporary',
  dtype,
  shape: [rows, shape[shape.length - 1]],
});

/** The coordinates in the buffer's own shape. */
function ownIndex({ buffer, shape, index }: Access): readonly Affine[] {
  const own = reshapeIndex(index, shape, buffer.shape);
  if (own === undefined || 'axis' in own || !own.every((at) => at.kind === 'affine'))
    throw new NoChain('its elements are read in another shape');
  return own;
}

/** Every access to what is handed on says which axis is which. */
function rolesIn(link: Link, handed: ReadonlySet<Buffer>): Roles {
  const roles = new Map<Axis, number>();
  for (const access of [...readsOf(link), ...writesOf(link)]) {
    if (!handed.has(access.buffer)) continue;
    ownIndex(access).forEach((at, dim) => {
      if (access.buffer.shape[dim] === 1) return;
      const axis = soleAxis(at);
      if (axis === undefined || axis.size !== access.buffer.shape[dim] || (roles.get(axis) ?? dim) !== dim)
        throw new NoChain('its elements are not read one by one, in their order');
      roles.set(axis, dim);
    });
  }
  const [{ shape }] = handed;
  const row = shape.length - 2;
  const outer = new Set<Axis>(link.axes);
  for (const [axis, dim] of roles) {
    const isSummed = link.kind === 'contraction' && link.reduce.includes(axis);
    if (!outer.has(axis) && dim <= row && !isSummed)
      throw new NoChain(dim < row ? 'it is summed over a batch' : 'a reduction runs over the rows');
  }
  const upToRows = [...roles.values()].filter((dim) => dim <= row);
  const seen = new Set(upToRows);
  if (seen.size < upToRows.length) throw new NoChain('a part brings rows together');
  if (shape.some((size, dim) => size > 1 && dim <= row && !seen.has(dim)))
    throw new NoChain('a part does not run over all of it');
  return roles;
}

/** What a link writes elsewhere, a later one may read at the same rows only. */
function checkReads(links: readonly Link[], handed: ReadonlySet<Buffer>, roles: Roles, row: number): void {
  const place = ({ shape, index }: Access): string | undefined => {
    const coordinates = index.map((at) => {
      if (at.kind !== 'affine') return undefined;
      const terms = at.terms.map(({ axis, scale }) => ({ role: roles.get(axis) ?? Infinity, scale }));
      if (terms.some(({ role }) => role > row)) return undefined;
      return `${terms
        .map(({ role, scale }) => `${scale}*${role}`)
        .sort()
        .join('+')}+${at.offset}/${at.divisor}`;
    });
    return coordinates.includes(undefined) ? undefined : `${shape.join()} ${coordinates.join()}`;
  };
  links.forEach((reader, at) => {
    for (const read of readsOf(reader))
      links.forEach((writer, from) => {
        if (writer === reader || handed.has(read.buffer)) return;
        for (const write of writesOf(writer)) {
          if (write.buffer !== read.buffer) continue;
          const where = place(write);
          if (from > at || where === undefined || where !== place(read))
            throw new NoChain('a part reads what another writes at other rows');
        }
      });
  });
}

/** A sum over what is walked: what each block adds, and what is done with all of it. */
function addUp(contraction: Contraction, walk: readonly Axis[]): { sums: Buffer; part: Contraction; finish: Region } {
  const { axes, result, stores } = contraction;
  const dtype = accumulatorDtype(result.dtype);
  const shape = axes.map(({ size }) => size);
  const sums: Buffer = { name: result.name, role: 'temporary', dtype, shape };
  const access: Access = { buffer: sums, shape, index: axes.map(axisAt) };
  const part = { name: `${result.name}_block`, dtype };
  const sum: Expression = { kind: 'result', dtype, of: part };
  const isFirst = walk
    .map((axis) => apply('eq', coordinateValue(axisAt(axis)), number(0, 'i32')))
    .reduce((all, one) => apply('and', all, one));
  const before = apply('where', isFirst, number(0, dtype), load(access));
  return {
    sums,
    part: { ...contraction, result: part, stores: [{ access, value: apply('add', before, sum) }] },
    finish: {
      kind: 'region',
      axes,
      stages: [
        { kind: 'reduce', axes: [], results: [{ result, monoid: 'sum', value: cast(load(access), result.dtype) }] },
        { kind: 'store', axes: [], stores },
      ],
    },
  };
}
