/** Which axes of a reader run along with which axes of what it reads. */
import { elementCount } from '../../common/elements.ts';
import type { Affine } from '../loop/build.ts';
import type { Axis, Coordinate } from '../loop/loop.ts';
import { shapeOf } from './frame.ts';
import { cutAxis, renameAxis, runsAlong } from './group.ts';
import type { Group, Read, Root } from './group.ts';
import { reshapeIndex } from './reshape-index.ts';

/** Axes of the writer → axes of the reader, where every read agrees. */
export type Match = ReadonlyMap<Axis, Axis>;

/** One read of a value, as a pair of indices that mean the same element when the axes run together. */
interface Link {
  readonly written: readonly Affine[];
  readonly shape: readonly number[];
  readonly read: Read;
}

/** Matches the axes of `writer` and `reader` by the reader's reads of the writer's roots. May cut axes of either. */
export const matchReads = (writer: Group, reader: Group): Match | undefined =>
  match(writer, reader, () => {
    const roots = new Map(writer.roots.map((root) => [root.value, root]));
    return reader.roots.flatMap(({ reads }) =>
      reads.flatMap((read): Link[] => {
        const root = roots.get(read.value);
        return root === undefined ? [] : [{ written: root.index, shape: shapeOf(root.value), read }];
      }),
    );
  });

/** Matches two groups by what both read. */
export const matchSiblings = (first: Group, second: Group): Match | undefined =>
  match(first, second, () => {
    const seen = new Map<object, Read>();
    for (const { reads } of first.roots)
      for (const read of reads) if (!seen.has(read.value)) seen.set(read.value, read);
    const links: Link[] = [];
    let largest = 0;
    for (const { reads } of second.roots)
      for (const read of reads) {
        const other = seen.get(read.value);
        if (other === undefined || elementCount(read.shape) < largest || !other.index.every(isAffine)) continue;
        if (elementCount(read.shape) > largest) links.length = 0;
        largest = elementCount(read.shape);
        links.push({ written: other.index.filter(isAffine), shape: other.shape, read });
      }
    return links.slice(0, 1);
  });

const isAffine = (at: Coordinate): at is Affine => at.kind === 'affine';

interface Cut {
  readonly group: Group;
  readonly axis: Axis;
  readonly inner: number;
}

function match(writer: Group, reader: Group, links: () => readonly Link[]): Match | undefined {
  for (let round = 0; round < 8; round++) {
    const found = matchOnce(writer, reader, links());
    if (found === undefined || !('axis' in found)) return found;
    if (!cutGroupAxis(found.group, found.axis, found.inner)) return undefined;
  }
  return undefined;
}

function matchOnce(writer: Group, reader: Group, links: readonly Link[]): Match | Cut | undefined {
  const pairs = new Map<Axis, Axis>();
  const loose = new Set<Axis>();
  for (const { written, shape, read } of links) {
    const index = reshapeIndex(read.index, read.shape, shape);
    if (index === undefined) return undefined;
    if ('axis' in index) return { group: reader, axis: index.axis, inner: index.inner };
    for (const [dim, at] of written.entries()) {
      const other = index[dim];
      const terms = sorted(at);
      // Undefined where it is another place than the one written, whatever the axes are: also of an axis of size 1.
      const others =
        other.kind === 'affine' && other.divisor === 1 && other.offset === at.offset && at.divisor === 1
          ? sorted(other)
          : undefined;
      if (
        terms.length === others?.length &&
        terms.every((term, place) => term.scale === others[place].scale && term.axis.size === others[place].axis.size)
      ) {
        terms.forEach(({ axis }, place) => {
          const known = pairs.get(axis);
          if (known !== undefined && known !== others[place].axis) loose.add(axis);
          pairs.set(axis, others[place].axis);
        });
        continue;
      }
      if (
        terms.length > 0 &&
        others !== undefined &&
        others.length > 0 &&
        covers(terms) &&
        covers(others) &&
        sizes(terms) === sizes(others)
      ) {
        const [few, many, group] = terms.length < others.length ? [terms, others, writer] : [others, terms, reader];
        const low = many[many.length - 1].axis.size;
        const last = few[few.length - 1].axis;
        if (last.size > low && last.size % low === 0) return { group, axis: last, inner: low };
      }
      // Read at a place of its own, or outside: nothing runs along with that.
      if (terms.length === 0) return undefined;
      for (const { axis } of terms) loose.add(axis);
    }
  }
  for (const axis of loose) pairs.delete(axis);
  if (new Set(pairs.values()).size < pairs.size) return undefined;
  return pairs;
}

const sorted = (at: Affine): Affine['terms'] =>
  at.terms.length < 2 ? at.terms : [...at.terms].sort((a, b) => b.scale - a.scale);
const sizes = (terms: Affine['terms']): number => terms.reduce((size, { axis }) => size * axis.size, 1);

/** Does the sum of terms count 0, 1, 2, … without gaps? */
function covers(terms: Affine['terms']): boolean {
  let unit = 1;
  for (let at = terms.length - 1; at >= 0; at--) {
    if (terms[at].scale !== unit) return false;
    unit *= terms[at].axis.size;
  }
  return true;
}

/** Cuts an axis in every root of the group; false when the group has no such axis. */
function cutGroupAxis(group: Group, axis: Axis, inner: number): boolean {
  const holders = group.roots.filter((root) => root.axes.includes(axis) || root.reduce.includes(axis));
  if (
    holders.length === 0 ||
    group.kind === 'scatter' ||
    group.kind === 'loop' ||
    holders.some((root) => runsAlong(root) === axis)
  )
    return false;
  let parts: readonly [Axis, Axis] | undefined;
  for (const root of holders) {
    const own = cutAxis(root, axis, inner);
    if (parts === undefined) parts = own;
    else own.forEach((part, at) => renameAxis(root, part, parts === undefined ? part : parts[at]));
  }
  if (parts !== undefined && group.outer.includes(axis)) {
    const halves = parts;
    group.outer = group.outer.flatMap((other) => (other === axis ? halves : [other]));
  }
  return true;
}

/** Makes matched axes of the writer the reader's, in every root. */
export function unify(writer: Group, pairs: Match): void {
  for (const root of writer.roots as Root[]) for (const [from, to] of pairs) renameAxis(root, from, to);
  writer.outer = writer.outer.map((axis) => pairs.get(axis) ?? axis);
}
