/** An axis in parts: what is computed at a position of it, at part·size + inner. */
import { type Affine, affine } from '../loop/build.ts';
import type { Axis } from '../loop/loop.ts';
import { scaleOf } from './simplify.ts';

export interface Cut {
  readonly axis: Axis;
  readonly part: Axis;
  readonly inner: Axis;
}

/** A coordinate with the axis spelled as part and inner. */
export const spellCut =
  ({ axis, part, inner }: Cut) =>
  (at: Affine): Affine => {
    const scale = scaleOf(at, axis);
    if (scale === 0) return at;
    const others = at.terms.filter((term) => term.axis !== axis);
    return affine(
      [...others, { axis: part, scale: scale * inner.size }, { axis: inner, scale }],
      at.offset,
      at.divisor,
    );
  };
