/**
 * Fewer, longer axes before anything is scheduled: axes of size 1 disappear, neighbouring coordinates that are always
 * inside become one flat coordinate, and two axes that only ever occur together (i·n + j) become one. An elementwise
 * kernel over contiguous [64, 256] buffers is one axis of 16384 after this, a batch of rows times a matrix one matrix.
 */
import { elementCount } from '../../common/elements.ts';
import { affine, type Affine, combine, isInside } from '../loop/build.ts';
import type { Access, Axis, Coordinate, Link, Scatter, Segment, Stage } from '../loop/loop.ts';
import { affinesOf, rewriter, type Rewriter, rewriteStage } from './rewrite.ts';

export function simplify<Kind extends Segment>(segment: Kind): Kind;
export function simplify(segment: Segment): Segment {
  if (segment.kind === 'chain')
    return {
      ...segment,
      spans: segment.spans.map((span) => ({ ...span, parts: span.parts.map(simplify) })),
      last: segment.last.map(simplify),
      end: segment.end.map(simplify),
    };
  const flat = rewriteSegment(
    segment,
    rewriter({ affine: (at) => affine(at.terms, at.offset, at.divisor), access: flatten }),
    (axes) => axes,
  );
  return mergeAxes(dropUnitAxes(flat));
}

type Simple = Link | Scatter;

/** Neighbouring coordinates that cannot be outside become one. */
function flatten(access: Access, inside: boolean): Access {
  const shape: number[] = [];
  const index: Coordinate[] = [];
  let open = false;
  access.index.forEach((at, axis) => {
    const size = access.shape[axis];
    const free = at.kind === 'affine' && at.divisor === 1 && (inside || isInside(at, size));
    const last = index[index.length - 1];
    if (free && open && last !== undefined && last.kind === 'affine') {
      index[index.length - 1] = combine(
        [
          { at: last, scale: size },
          { at, scale: 1 },
        ],
        0,
      );
      shape[shape.length - 1] *= size;
    } else {
      index.push(at);
      shape.push(size);
    }
    open = free;
  });
  if (shape.length === 0) return { ...access, shape: [elementCount(access.shape)], index: [affine([], 0)] };
  return { ...access, shape, index };
}

const longer = (axes: readonly Axis[]): readonly Axis[] => axes.filter((axis) => axis.size !== 1);

function dropUnitAxes(segment: Simple): Simple {
  switch (segment.kind) {
    case 'region':
      return {
        ...segment,
        axes: longer(segment.axes),
        stages: segment.stages.map((stage) =>
          stage.kind === 'cumulate' ? stage : { ...stage, axes: longer(stage.axes) },
        ),
      };
    case 'contraction':
      return { ...segment, axes: longer(segment.axes), reduce: longer(segment.reduce) };
    case 'scatter': {
      const size = segment.shape[segment.batch.length];
      const batch = longer(segment.batch);
      const rest = longer(segment.rest);
      return {
        ...segment,
        batch,
        walk: longer(segment.walk),
        rest,
        shape: [...batch.map((axis) => axis.size), size, ...rest.map((axis) => axis.size)],
      };
    }
  }
}

function rewriteSegment(segment: Simple, to: Rewriter, axes: (of: readonly Axis[]) => readonly Axis[]): Simple {
  switch (segment.kind) {
    case 'region':
      return {
        ...segment,
        axes: axes(segment.axes),
        stages: segment.stages.map((stage) => rewriteStage(stage, to, axes)),
      };
    case 'contraction':
      return {
        ...segment,
        axes: axes(segment.axes),
        reduce: axes(segment.reduce),
        left: to.expression(segment.left),
        right: to.expression(segment.right),
        stores: segment.stores.map(to.store),
      };
    case 'scatter': {
      const batch = axes(segment.batch);
      const rest = axes(segment.rest);
      const shape = [
        ...batch.map((axis) => axis.size),
        segment.shape[segment.batch.length],
        ...rest.map((axis) => axis.size),
      ];
      return {
        ...segment,
        batch,
        walk: axes(segment.walk),
        rest,
        shape,
        id: to.expression(segment.id),
        value: to.expression(segment.value),
      };
    }
  }
}

interface Group {
  readonly axes: readonly Axis[];
  /** Only neighbours in this order may merge: a position along the axes is part of the meaning. */
  readonly ordered: boolean;
}

function groupsOf(segment: Simple): readonly Group[] {
  switch (segment.kind) {
    case 'region':
      return [{ axes: segment.axes, ordered: false }, ...segment.stages.flatMap(stageGroup)];
    case 'contraction':
      return [
        { axes: segment.axes, ordered: false },
        { axes: segment.reduce, ordered: false },
      ];
    case 'scatter':
      return [segment.batch, segment.walk, segment.rest].map((axes) => ({ axes, ordered: true }));
  }
}

function stageGroup(stage: Stage): readonly Group[] {
  if (stage.kind === 'cumulate') return [{ axes: [stage.axis], ordered: true }];
  const positional =
    stage.kind === 'reduce' && stage.results.some(({ monoid }) => monoid === 'argmax' || monoid === 'argmin');
  return [{ axes: stage.axes, ordered: positional }];
}

/** Merges pairs until no two axes of a group always occur as outer·size + inner. */
function mergeAxes(segment: Simple): Simple {
  const affines = affinesOf(segment);
  const groups = groupsOf(segment);
  for (const { axes, ordered } of groups)
    for (let first = 0; first < axes.length; first++)
      for (let second = 0; second < axes.length; second++) {
        if (first === second || (ordered && second !== first + 1)) continue;
        const outer = axes[first];
        const inner = axes[second];
        if (groups.some((group) => group.axes.includes(outer) !== group.axes.includes(inner))) continue;
        if (affines.every((at) => scaleOf(at, outer) === scaleOf(at, inner) * inner.size))
          return mergeAxes(mergePair(segment, outer, inner));
      }
  return segment;
}

export const scaleOf = (at: Affine, axis: Axis): number => at.terms.find((term) => term.axis === axis)?.scale ?? 0;

function mergePair(segment: Simple, outer: Axis, inner: Axis): Simple {
  const merged: Axis = { name: inner.name, size: outer.size * inner.size };
  const to = rewriter({
    affine: (at) => {
      if (scaleOf(at, inner) === 0) return at;
      const terms = at.terms
        .filter((term) => term.axis !== outer)
        .map((term) => (term.axis === inner ? { axis: merged, scale: term.scale } : term));
      return { ...at, terms };
    },
  });
  return rewriteSegment(segment, to, (axes) =>
    axes.filter((axis) => axis !== outer).map((axis) => (axis === inner ? merged : axis)),
  );
}
