/**
 * A chain with few points has little to deal to threads. What it walks is dealt then too: blocks of rows where nothing is summed
 * over them, else some of them to each of a fixed number of parts, whose sums are added after.
 *
 *   chain for h { sum %dk; span for t_block … }   →   chain for h, part { span for t_in … } then { %partial[h, part, …] = %dk }
 *                                                region %total[h, …] = sum over part of %partial;  then what was done with %dk
 */
import { accessAlong, type Affine, affine, axisAt, load } from '../loop/build.ts';
import type { Access, Axis, Buffer, Chain, Link, Region, Segment, Stage, Store, Sum } from '../loop/loop.ts';
import { pointsOf } from './cost.ts';
import { type Cut, spellCut } from './cut-axis.ts';
import { rewriteLink, rewriter } from './rewrite.ts';

/** Makes a temporary of the program. */
export type NewTemporary = (dtype: Buffer['dtype'], shape: readonly number[]) => Buffer;

/** Points that keep the threads of a machine busy. */
const enoughPoints = 8;

/** The segments, in order, that compute what a chain does; none of them has totals. */
export function splitChain(chain: Chain, temporary: NewTemporary): readonly Segment[] {
  const { axes, walk, sums, totals, spans } = chain;
  if (totals.length > 0) return addTotals(chain, temporary);
  // Blocks that need nothing of each other are points.
  if (sums.length === 0)
    return spans.map((span) => ({
      ...chain,
      axes: [...axes, ...walk, ...span.axes],
      walk: [],
      spans: [{ ...span, axes: [] }],
    }));
  const wanted = Math.ceil(enoughPoints / pointsOf(axes));
  const shares = wanted > 1 ? (dealWalk(chain, wanted) ?? dealSpans(chain, wanted)) : [];
  const count = shares.reduce((sum, { part }) => sum + part.size, 0);
  if (count < 2) return [chain];
  const parts: Axis = { name: 'part', size: count };
  const partials = sums.map((sum) => createPartial(sum, axes, [parts], temporary));
  let first = 0;
  const made = shares.map(({ part, ...share }): Chain => {
    const place = affine([{ axis: part, scale: 1 }], first);
    first += part.size;
    return {
      ...chain,
      ...share,
      axes: [...axes, part],
      last: partials.map((partial) => save(partial, [...axes.map(axisAt), place])),
    };
  });
  return [...made, ...addParts(partials, axes, [parts], chain.last)];
}

/** Some of what a chain walks, at each position of an axis. */
interface Share extends Pick<Chain, 'walk' | 'spans'> {
  readonly part: Axis;
}

/** The longest axis of the batch that is walked in parts; undefined where there is none. */
function dealWalk({ walk, spans }: Chain, wanted: number): readonly Share[] | undefined {
  const [axis] = [...walk].sort((a, b) => b.size - a.size);
  if (axis === undefined) return undefined;
  const cut = cutAxis(axis, wanted);
  const inPart = rewriter({ affine: spellCut(cut) });
  return [
    {
      part: cut.part,
      walk: walk.map((other) => (other === axis ? cut.inner : other)),
      spans: spans.map((span) => ({ ...span, parts: span.parts.map((link) => rewriteLink(link, inPart)) })),
    },
  ];
}

/** The blocks of each span in parts. */
const dealSpans = ({ walk, spans }: Chain, wanted: number): readonly Share[] =>
  spans.map(({ axes: [axis], parts }) => {
    if (axis === undefined) return { part: { name: 'part', size: 1 }, walk, spans: [{ axes: [], parts }] };
    const cut = cutAxis(axis, Math.ceil(wanted / spans.length));
    const inPart = rewriter({ affine: spellCut(cut) });
    return {
      part: cut.part,
      walk,
      spans: [{ axes: [cut.inner], parts: parts.map((link) => rewriteLink(link, inPart)) }],
    };
  });

/** Every point has sums of its own for what all add to. */
function addTotals(chain: Chain, temporary: NewTemporary): readonly Segment[] {
  const { axes, sums, totals, last, end } = chain;
  const partials = totals.map((sum) => createPartial(sum, [], axes, temporary));
  const own: Chain = {
    ...chain,
    sums: [...sums, ...totals],
    last: [...last, ...partials.map((partial) => save(partial, axes.map(axisAt)))],
    totals: [],
    end: [],
  };
  return [...splitChain(own, temporary), ...addParts(partials, [], axes, end)];
}

/** In at least `wanted` parts of equal size, or as many as it has positions. */
function cutAxis(axis: Axis, wanted: number): Cut {
  let count = Math.min(wanted, axis.size);
  while (axis.size % count !== 0) count++;
  return {
    axis,
    part: { name: `${axis.name}_part`, size: count },
    inner: { name: `${axis.name}_in`, size: axis.size / count },
  };
}

/** A sum, what each part makes of it at each point, and all of them together. */
interface Partial {
  readonly sum: Sum;
  readonly parts: Buffer;
  readonly total: Buffer;
}

function createPartial(sum: Sum, axes: readonly Axis[], parts: readonly Axis[], temporary: NewTemporary): Partial {
  const { dtype, shape } = sum.buffer;
  const sizes = (of: readonly Axis[]): number[] => of.map(({ size }) => size);
  return {
    sum,
    parts: temporary(dtype, [...sizes(axes), ...sizes(parts), ...shape]),
    total: temporary(dtype, [...sizes(axes), ...shape]),
  };
}

const axesOf = ({ shape }: Buffer): Axis[] => shape.map((size, dim) => ({ name: `f${dim}`, size }));

const storing = (store: Store): Stage => ({ kind: 'store', axes: [], stores: [store] });

/** At the end of a point, at its place among the parts. */
function save({ sum: { buffer }, parts }: Partial, place: readonly Affine[]): Region {
  const own = axesOf(buffer);
  const access: Access = { buffer: parts, shape: parts.shape, index: [...place, ...own.map(axisAt)] };
  return { kind: 'region', axes: own, stages: [storing({ access, value: load(accessAlong(buffer, own)) })] };
}

/** Adds the parts up at every point of `axes`, then does what was to be done with the sums. */
function addParts(
  partials: readonly Partial[],
  axes: readonly Axis[],
  parts: readonly Axis[],
  then: readonly Link[],
): readonly Segment[] {
  const totals = new Map(partials.map(({ sum, total }) => [sum.buffer, total]));
  const ofTotals = rewriter({
    affine: (of) => of,
    access: (access) => {
      const total = totals.get(access.buffer);
      if (total === undefined) return access;
      const shape = [...axes.map(({ size }) => size), ...access.shape];
      return { buffer: total, shape, index: [...axes.map(axisAt), ...access.index] };
    },
  });
  const added = partials.map(({ sum: { buffer, monoid }, parts: all, total }): Region => {
    const own = axesOf(buffer);
    const result = { name: `${buffer.name}_total`, dtype: buffer.dtype };
    const value = load(accessAlong(all, [...axes, ...parts, ...own]));
    const access = accessAlong(total, [...axes, ...own]);
    return {
      kind: 'region',
      axes: [...axes, ...own],
      stages: [
        { kind: 'reduce', axes: parts, results: [{ result, monoid, value }] },
        storing({ access, value: { kind: 'result', dtype: result.dtype, of: result } }),
      ],
    };
  });
  const finished = then.map((link): Link => {
    const made = rewriteLink(link, ofTotals);
    return { ...made, axes: [...axes, ...made.axes] };
  });
  return [...added, ...finished];
}
