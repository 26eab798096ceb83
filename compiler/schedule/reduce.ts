/**
 * Reduce stages. Along the vectorized axis: one accumulator per lane, several vectors of them where the loop would wait
 * for itself, combined in a fixed order at the end. Across it: each lane has its own sum.
 */
import type { Monoid } from '../graph/graph.ts';
import { affine, rowMajorStrides } from '../loop/build.ts';
import type { Axis, Expression, Stage } from '../loop/loop.ts';
import { identity } from '../ops/monoid.ts';
import { and, apply, cast, combine, equal, less, min, number, splat, where } from '../tile/build.ts';
import type { Register, TileExpression } from '../tile/tile.ts';
import { accumulatorDtype } from '../types/dtype.ts';
import { costOf } from './cost.ts';
import { evaluate } from './expression.ts';
import { loopTogether, type Scopes, vectorLoop } from './lanes.ts';
import { assign, bindingOf, bindResult, loopAxes, name, type Scope, variable } from './scope.ts';

export type ReduceStage = Extract<Stage, { kind: 'reduce' }>;
export type Reduction = ReduceStage['results'][number];

const ops: Record<Monoid, 'add' | 'mul' | 'max' | 'min'> = { sum: 'add', prod: 'mul', max: 'max', min: 'min' };

export const combineWith = (monoid: Monoid, a: TileExpression, b: TileExpression): TileExpression =>
  apply(ops[monoid], a, b);

export const monoidOf = ({ monoid }: Reduction): Monoid =>
  monoid === 'argmax' ? 'max' : monoid === 'argmin' ? 'min' : monoid;
export const isPositional = ({ monoid }: Reduction): boolean => monoid === 'argmax' || monoid === 'argmin';

export interface Accumulator {
  readonly value: Register;
  /** Where the best value was found. */
  readonly position?: Register;
}

export const valueOf = (register: Register): TileExpression => ({ kind: 'register', type: register.type, register });

export function start(scope: Scope, of: Reduction, lanes: number): Accumulator {
  const dtype = accumulatorDtype(of.value.dtype);
  const value = variable(scope, number(identity(monoidOf(of), dtype), dtype, lanes));
  return isPositional(of) ? { value, position: variable(scope, number(0, 'i32', lanes)) } : { value };
}

export function accumulate(
  scope: Scope,
  of: Reduction,
  into: Accumulator,
  position: Expression,
  mask: TileExpression | undefined,
): void {
  const dtype = accumulatorDtype(of.value.dtype);
  const lanes = into.value.type.lanes;
  const value = splat(cast(evaluate(scope, of.value), dtype), lanes);
  const sofar = valueOf(into.value);
  if (into.position === undefined) {
    const counted =
      mask === undefined ? value : where(mask, value, number(identity(monoidOf(of), dtype), dtype, lanes));
    return assign(scope, into.value, combineWith(monoidOf(of), sofar, counted));
  }
  const wins = monoidOf(of) === 'max' ? less(sofar, value) : less(value, sofar);
  const better = name(scope.kernel, scope.place, mask === undefined ? wins : and(mask, wins));
  assign(scope, into.value, where(better, value, sofar));
  assign(scope, into.position, where(better, splat(evaluate(scope, position), lanes), valueOf(into.position)));
}

/** Several accumulators into one result, all lanes of it if `across`. */
function finish(
  scope: Scope,
  of: Reduction,
  parts: readonly Accumulator[],
  across: boolean,
  last: number,
): TileExpression {
  const monoid = monoidOf(of);
  const keep = (value: TileExpression): TileExpression => name(scope.kernel, scope.place, value);
  const total = pairwise(
    parts.map((part) => valueOf(part.value)),
    (a, b) => keep(combineWith(monoid, a, b)),
  );
  const whole = across ? keep(combine(monoid, total)) : total;
  if (!isPositional(of)) return keep(cast(whole, of.result.dtype));
  if (!across && parts.length === 1 && parts[0].position !== undefined)
    return keep(cast(valueOf(parts[0].position), of.result.dtype));
  const found = parts.map(({ value, position }) => {
    if (position === undefined) throw new Error('a positional reduction without positions');
    return keep(where(equal(valueOf(value), whole), valueOf(position), number(last, 'i32', position.type.lanes)));
  });
  const first = pairwise(found, (a, b) => keep(min(a, b)));
  return keep(cast(across ? combine('min', first) : first, of.result.dtype));
}

function pairwise<T>(parts: readonly T[], join: (a: T, b: T) => T): T {
  if (parts.length === 1) return parts[0];
  const half = parts.length >> 1;
  return join(pairwise(parts.slice(0, half), join), pairwise(parts.slice(half), join));
}

/** Row-major position along the stage's axes. */
export function positionAlong(axes: readonly Axis[]): Expression {
  const strides = rowMajorStrides(axes.map((axis) => axis.size));
  return {
    kind: 'coordinate',
    dtype: 'i32',
    value: affine(
      axes.map((axis, at) => ({ axis, scale: strides[at] })),
      0,
    ),
  };
}

const pointsIn = (axes: readonly Axis[]): number => axes.reduce((points, axis) => points * axis.size, 1);

/** Each scope (a vector along a kept axis, or a scalar) reduces for itself. */
export function reduceKept(scopes: Scopes, stage: ReduceStage, lanes: number, each: (vector: Scope) => void): Scopes {
  const position = positionAlong(stage.axes);
  const parts = scopes.map((scope) => stage.results.map((of) => start(scope, of, lanes)));
  loopTogether(scopes, stage.axes, (inner) =>
    inner.forEach((scope, at) => {
      stage.results.forEach((of, which) => accumulate(scope, of, parts[at][which], position, undefined));
      each(scope);
    }),
  );
  return scopes.map((scope, at) =>
    stage.results.reduce(
      (bound, of, which) =>
        bindResult(bound, of.result, finish(scope, of, [parts[at][which]], false, pointsIn(stage.axes) - 1)),
      scope,
    ),
  );
}

/** Lanes along one of the stage's own axes. `each` sees every vector once its values are there. */
export function reduceAlong(
  scope: Scope,
  stage: ReduceStage,
  along: Axis,
  lanes: number,
  each: (vector: Scope) => void,
): Scope {
  const position = positionAlong(stage.axes);
  const vectors = Math.floor(along.size / lanes);
  const work = costOf(stage.results.map((of) => of.value));
  // An addition takes four cycles; cheap values need four accumulators to keep up, dear ones hide it.
  const count = Math.min(Math.max(1, vectors), work <= 5 ? 4 : work <= 10 ? 2 : 1);
  const parts = Array.from({ length: count }, () => stage.results.map((of) => start(scope, of, lanes)));
  loopAxes(
    scope,
    stage.axes.filter((axis) => axis !== along),
    (outer) =>
      vectorLoop(outer, along, lanes, count, (inner) =>
        inner.forEach((vector, at) => {
          const { mask } = bindingOf(vector, along);
          stage.results.forEach((of, which) => accumulate(vector, of, parts[at][which], position, mask));
          each(vector);
        }),
      ),
  );
  return stage.results.reduce(
    (bound, of, which) =>
      bindResult(
        bound,
        of.result,
        finish(
          scope,
          of,
          parts.map((part) => part[which]),
          true,
          pointsIn(stage.axes) - 1,
        ),
      ),
    scope,
  );
}
