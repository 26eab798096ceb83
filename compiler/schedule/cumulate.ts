/** Cumulate stages: one walk along the axis, in order, every lane or point with its own running value. */
import { accumulatorDtype } from '../types/dtype.ts';
import { combineWith } from './reduce.ts';
import type { Stage } from '../loop/loop.ts';
import { identity } from '../ops/monoid.ts';
import { cast, number, splat, sub } from '../tile/build.ts';
import { evaluate, write } from './expression.ts';
import { bindTogether, type Scopes } from './lanes.ts';
import { assign, bindResult, loop, name, variable } from './scope.ts';

export type CumulateStage = Extract<Stage, { kind: 'cumulate' }>;

/** `lanes`: of the scopes' vectorized axis, 1 where there is none. */
export function cumulate(scopes: Scopes, stage: CumulateStage, lanes: number): void {
  const dtype = accumulatorDtype(stage.result.dtype);
  const running = scopes.map((scope) => variable(scope, number(identity(stage.monoid, dtype), dtype, lanes)));
  loop(scopes[0], 0, stage.axis.size, 1, (inner, at) => {
    const position = stage.reverse ? sub(stage.axis.size - 1, at) : at;
    bindTogether(scopes, inner, stage.axis, position).forEach((scope, which) => {
      const register = running[which];
      const value = splat(cast(evaluate(scope, stage.value), dtype), lanes);
      const next = name(
        scope.kernel,
        scope.place,
        combineWith(stage.monoid, { kind: 'register', type: register.type, register }, value),
      );
      assign(scope, register, next);
      const bound = bindResult(scope, stage.result, name(scope.kernel, scope.place, cast(next, stage.result.dtype)));
      write(bound, stage.stores);
    });
  });
}
