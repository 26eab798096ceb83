/**
 * The adjoint of reading a tensor at affine indices. Where the forward op is
 *
 *   y[i] = Σ_r x[f(i, r)] · w[h(i, r)]            over iteration axes i and r
 *
 * the adjoint of x is the same kind of sum with the coordinates of x as its axes:
 *
 *   dx[c] = Σ_(axes left) g[i] · w[h]             with every i, r that f determines written in terms of c
 *
 * Each coordinate of f is an equation; it eliminates its axis of largest extent. What an eliminated axis has to be — a
 * whole number within its extent — is checked by an operand read exactly there, or, where there is none, by a tensor of
 * ones. A coordinate that determines no axis (a fixed position, a diagonal) becomes ones[1] read at "difference = 0".
 */
import type { Builder } from '../graph/build.ts';
import type { AffineIndex, Value } from '../graph/graph.ts';
import type { Dim } from '../types/dim.ts';
import { equal, multiply } from '../types/dim.ts';
import { at, bounds, compose, isInside, normalize, plainAxis } from './affine.ts';

export interface ReadAt {
  readonly value: Value;
  readonly index: readonly AffineIndex[];
}

/** `read`: x and f. `factors`: g at the output axes, and the other operands. `sizes`: of all iteration axes. */
export function adjointOfRead(build: Builder, read: ReadAt, factors: readonly ReadAt[], sizes: readonly Dim[]): Value {
  const { shape, dtype } = read.value.type;
  const rank = shape.length;
  // Axes from here on: first the coordinates of x, then the iteration axes of the forward op.
  const extents = [...shape, ...sizes];
  const solved = new Map<number, AffineIndex>();
  const zeros: AffineIndex[] = [];
  const settle = (index: AffineIndex): AffineIndex => compose(index, (axis) => solved.get(axis) ?? at(axis));

  read.index.forEach((coordinate, c) => {
    const now = settle(compose(coordinate, (axis) => at(rank + axis)));
    const unknown = now.terms
      .filter(({ axis }) => axis >= rank)
      .reduce<number | undefined>(
        (best, { axis }) => (best === undefined || larger(extents[axis], extents[best]) ? axis : best),
        undefined,
      );
    // numerator - divisor·c = 0
    const equation: AffineIndex = {
      terms: [...now.terms, { axis: c, scale: multiply(-1, now.divisor) }],
      offset: now.offset,
      divisor: 1,
    };
    if (unknown === undefined) {
      zeros.push(normalize(equation));
      return;
    }
    const scale = now.terms.find(({ axis }) => axis === unknown)?.scale ?? 1;
    const others = equation.terms
      .filter(({ axis }) => axis !== unknown)
      .map((term) => ({ axis: term.axis, scale: multiply(-1, term.scale) }));
    const solution = normalize({ terms: others, offset: multiply(-1, equation.offset), divisor: scale });
    for (const [axis, earlier] of solved)
      solved.set(
        axis,
        compose(earlier, (inner) => (inner === unknown ? solution : at(inner))),
      );
    zeros.forEach(
      (zero, place) => (zeros[place] = compose(zero, (inner) => (inner === unknown ? solution : at(inner)))),
    );
    solved.set(unknown, solution);
  });

  const ones = (size: Dim): Value => build.constant(1, dtype, [size]);
  const checks: ReadAt[] = [];
  for (const zero of zeros) {
    const range = bounds(zero, extents);
    if (range?.least !== 0 || range.greatest !== 0) checks.push({ value: ones(1), index: [zero] });
  }
  for (const [axis, solution] of solved) {
    const checked = factors.some(({ value, index }) =>
      index.some(
        (coordinate, place) => plainAxis(coordinate) === axis - rank && equal(value.type.shape[place], extents[axis]),
      ),
    );
    if (!checked && !isInside(solution, extents, extents[axis]))
      checks.push({ value: ones(extents[axis]), index: [solution] });
  }

  const left = sizes.map((_, axis) => rank + axis).filter((axis) => !solved.has(axis));
  const renumber = (index: AffineIndex): AffineIndex =>
    compose(index, (axis) => at(axis < rank ? axis : rank + left.indexOf(axis)));
  const operands = [
    ...factors.map(({ value, index }) => ({
      value,
      index: index.map((coordinate) => settle(compose(coordinate, (axis) => at(rank + axis)))),
    })),
    ...checks,
  ];
  const indices = operands.map(({ index }) => index.map(renumber));
  if (left.length === 0 && operands.length === 1) return build.view(operands[0].value, shape, indices[0]);
  return build.contract(
    operands.map(({ value }) => value),
    indices,
    shape,
    left.map((axis) => extents[axis]),
  );
}

/** A size not known yet counts as large: what is known and small is what kernels and strides are. */
function larger(a: Dim, b: Dim): boolean {
  if (typeof a === 'number' && typeof b === 'number') return a > b;
  return typeof a !== 'number' && typeof b === 'number';
}
