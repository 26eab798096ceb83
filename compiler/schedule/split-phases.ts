/**
 * The adjoint of a strided convolution reads y[(i - p + 1) / 2], which is nothing for half of the i and p. Cut by what i
 * leaves when divided by the stride, each part reads without a division, and sums only where there is something to sum.
 *
 *   i = 2·i' + r:  r = 0 → p = 2·p' + 1, y[i' - p'];  r = 1 → p = 2·p', y[i' - p' + 1]
 */
import { type Affine, affine, number } from '../loop/build.ts';
import type { Axis, Contraction, Expression, Region, Segment } from '../loop/loop.ts';
import { rewriter } from './rewrite.ts';
import { scaleOf } from './simplify.ts';

/** axis = divisor·inner + rest. */
interface Phase {
  readonly axis: Axis;
  readonly inner: Axis;
  readonly rest: number;
}

/** The segments, independent of each other, that together compute what `segment` does. */
export function splitPhases(segment: Segment): readonly Segment[] {
  if (segment.kind !== 'contraction') return [segment];
  const divided = dividedCoordinate(segment);
  if (divided === undefined) return [segment];
  const { at, kept, summed } = divided;
  const { divisor } = at;
  return phasesOf(kept, divisor).flatMap((phase) => {
    const offset = at.offset + scaleOf(at, kept) * phase.rest;
    if (summed === undefined)
      return offset % divisor === 0
        ? splitPhases(inPhase(segment, phase, divisor))
        : [nothing(segment, phase, divisor)];
    const scale = scaleOf(at, summed);
    const sums = phasesOf(summed, divisor).filter(({ rest }) => (offset + scale * rest) % divisor === 0);
    if (sums.length === 0) return [nothing(segment, phase, divisor)];
    return splitPhases(inPhase(inPhase(segment, phase, divisor), sums[0], divisor));
  });
}

/**
 * A coordinate of an operand that is divided, with the axis of the result that decides the rest, and the one of the sum
 * that makes up for it, if there is one; each phase of the first then goes with at most one of the second.
 */
function dividedCoordinate(contraction: Contraction): { at: Affine; kept: Axis; summed: Axis | undefined } | undefined {
  for (const operand of [contraction.left, contraction.right]) {
    if (operand.kind !== 'load' || operand.guard !== 'zero') continue;
    for (const at of operand.access.index) {
      if (at.kind !== 'affine' || at.divisor === 1) continue;
      const uneven = at.terms.filter(({ scale }) => scale % at.divisor !== 0);
      const kept = uneven.filter(({ axis }) => contraction.axes.includes(axis));
      const summed = uneven.filter(({ axis }) => contraction.reduce.includes(axis));
      const single = summed.every(({ scale }) => Math.abs(scale) === 1);
      if (kept.length === 1 && summed.length <= 1 && uneven.length === kept.length + summed.length && single)
        return { at, kept: kept[0].axis, summed: summed[0]?.axis };
    }
  }
  return undefined;
}

function phasesOf(axis: Axis, divisor: number): readonly Phase[] {
  return Array.from({ length: Math.min(divisor, axis.size) }, (_, rest) => ({
    axis,
    inner: { name: `${axis.name}_${rest}`, size: Math.ceil((axis.size - rest) / divisor) },
    rest,
  }));
}

function inPhase(contraction: Contraction, { axis, inner, rest }: Phase, divisor: number): Contraction {
  const to = rewriter({
    affine: (at) => {
      const scale = scaleOf(at, axis);
      if (scale === 0) return at;
      const others = at.terms.filter((term) => term.axis !== axis);
      return affine([...others, { axis: inner, scale: scale * divisor }], at.offset + scale * rest, at.divisor);
    },
  });
  const renamed = (axes: readonly Axis[]): readonly Axis[] => axes.map((of) => (of === axis ? inner : of));
  return {
    ...contraction,
    axes: renamed(contraction.axes),
    reduce: renamed(contraction.reduce),
    left: to.expression(contraction.left),
    right: to.expression(contraction.right),
    stores: contraction.stores.map(to.store),
  };
}

/** The points of a phase in which every product is zero. */
function nothing(contraction: Contraction, phase: Phase, divisor: number): Region {
  const { axes, result, stores } = inPhase(contraction, phase, divisor);
  const value: Expression = number(0, result.dtype);
  return {
    kind: 'region',
    axes,
    stages: [
      { kind: 'reduce', axes: [], results: [{ result, monoid: 'sum', value }] },
      { kind: 'store', axes: [], stores },
    ],
  };
}
