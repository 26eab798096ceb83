/**
 * Which axis of the links of a chain is which of what they hand on to each other, and what keeps them from being one: an element that is
 * read at another row than it is written, or before it is there.
 */
import { mayMeet, readsOf, summedBy, writesOf } from '../loop/accesses.ts';
import { soleAxis } from '../loop/build.ts';
import type { Affine } from '../loop/build.ts';
import type { Access, Axis, Buffer, Link, Region } from '../loop/loop.ts';
import { reshapeIndex } from './reshape-index.ts';

/** The links do not make a chain. Thrown, always caught; no error, so no stack is kept. */
export class NoChain {
  readonly reason: string;
  constructor(reason: string) {
    this.reason = reason;
  }
}

/** Which axis of what is handed on an axis of a link walks. */
export type Roles = ReadonlyMap<Axis, number>;

/** The coordinates in the shape of what is handed on. */
export function ownIndex(access: Access, shape: readonly number[]): readonly Affine[] {
  const own = reshapeIndex(access.index, access.shape, shape);
  if (own === undefined || 'axis' in own || !own.every((at) => at.kind === 'affine'))
    throw new NoChain('its elements are read in another shape');
  return own;
}

/** Every access to what is handed on says which axis is which. */
export function rolesIn(link: Link, handed: ReadonlySet<Buffer>, shape: readonly number[]): Roles {
  const roles = new Map<Axis, number>();
  for (const access of [...readsOf(link), ...writesOf(link)]) {
    if (!handed.has(access.buffer)) continue;
    ownIndex(access, shape).forEach((at, dim) => {
      if (shape[dim] === 1) return;
      const axis = soleAxis(at);
      if (axis === undefined || axis.size !== shape[dim] || (roles.get(axis) ?? dim) !== dim)
        throw new NoChain('its elements are not read one by one, in their order');
      roles.set(axis, dim);
    });
  }
  const row = shape.length - 2;
  const outer = new Set<Axis>(link.axes);
  for (const [axis, dim] of roles) {
    const isSummed = summedBy(link).includes(axis);
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

/**
 * What a link writes elsewhere, a later one may read at the same rows only; what it sums over rows or a batch, only one that sums over
 * the same, once it has its own sum.
 */
export function checkReads(links: readonly Link[], handed: ReadonlySet<Buffer>, roles: Roles, row: number): void {
  links.forEach((reader, at) => {
    const sums = summedDims(reader, roles, row);
    const late = sums.size > 0 ? new Set(readsOf(afterSum(reader)).map(({ buffer }) => buffer)) : new Set();
    for (const read of readsOf(reader))
      links.forEach((writer, from) => {
        if (writer === reader || handed.has(read.buffer)) return;
        for (const write of writesOf(writer)) {
          if (!mayMeet(write, read)) continue;
          const summed = summedDims(writer, roles, row);
          const isLate = late.has(read.buffer) && [...summed].join() === [...sums].join();
          if (summed.size > 0 && !isLate) throw new NoChain('a part reads what is summed over rows or a batch');
          const [where, there] = [write, read].map((access) => placeOf(access, roles, row, summed.size > 0));
          if (from > at || where === undefined || where !== there)
            throw new NoChain('a part reads what another writes at other rows');
        }
      });
  });
}

/** What a link does with its sum. */
const afterSum = (link: Link): Region => ({
  kind: 'region',
  axes: link.axes,
  stages: link.kind === 'contraction' ? [{ kind: 'store', axes: [], stores: link.stores }] : link.stages.slice(1),
});

/** The rows and the place in the batch of an access; undefined where it runs over more, unless that is there (`whole`). */
function placeOf({ shape, index }: Access, roles: Roles, row: number, whole: boolean): string | undefined {
  const coordinates = index.map((at) => {
    if (at.kind !== 'affine') return undefined;
    const terms = at.terms.map(({ axis, scale }) => ({ role: roles.get(axis) ?? Infinity, scale }));
    if (terms.some(({ role }) => role > row)) return whole && terms.every(({ role }) => role > row) ? '' : undefined;
    return `${terms
      .map(({ role, scale }) => `${scale}*${role}`)
      .sort()
      .join('+')}+${at.offset}/${at.divisor}`;
  });
  return coordinates.includes(undefined) ? undefined : `${shape.join()} ${coordinates.join()}`;
}

/** The rows and axes of the batch that a link sums over. */
export function summedDims(link: Link, roles: Roles, row: number): ReadonlySet<number> {
  const dims = summedBy(link).flatMap((axis) => roles.get(axis) ?? []);
  return new Set(dims.filter((dim) => dim <= row));
}
