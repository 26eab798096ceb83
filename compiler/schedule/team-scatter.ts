/**
 * Scatter on machines with workgroups: each thread owns one column of a block of the target's rows, zeroes it, then walks all
 * updates in order and adds those of its rows. No two threads write the same place, and the order of additions is fixed.
 */
import type { Scatter } from '../loop/loop.ts';
import { add, and, cast, div, less, lessEqual, min, mul, not, number, rem } from '../tile/build.ts';
import { pointsOf } from './cost.ts';
import { evaluate, write, writeValue } from './expression.ts';
import { bindPosition } from './grid.ts';
import { targetOf } from './scatter.ts';
import { bind, loop, loopAxes, name, type Scope, when } from './scope.ts';
import { deal, type Extent, whenActive } from './team.ts';

/** Threads beyond which another walk over all updates gains nothing. */
const plenty = 8192;

/** Emits the body of a scatter's kernel for single threads. */
export function emitTeamScatter(scope: Scope, scatter: Scatter): Extent {
  const target = targetOf(scatter);
  const columns = [...scatter.batch, ...scatter.rest];
  const points = pointsOf(columns);
  const rows = target.row.size;
  if (points * rows === 0) return { grid: 0, workgroup: 1 };
  const perBlock = Math.ceil(rows / Math.min(rows, Math.ceil(plenty / points)));
  const blocks = Math.ceil(rows / perBlock);
  const team = deal(scope, points * blocks, 1, false);
  whenActive(scope, team, false, (inner) => {
    const keep = (value: Parameters<typeof name>[2]): typeof value => name(inner.kernel, inner.place, value);
    const point = bindPosition(inner, columns, keep(rem(team.position, points)));
    const from = keep(mul(div(team.position, points), perBlock));
    const to = keep(min(add(from, perBlock), rows));
    loop(point, from, to, 1, (row, at) =>
      writeValue(bind(row, target.row, at), target.access, number(0, scatter.target.dtype)),
    );
    loopAxes(point, scatter.walk, (walked) => {
      const named = (value: Parameters<typeof name>[2]): typeof value => name(walked.kernel, walked.place, value);
      const id = named(cast(evaluate(walked, scatter.id), 'i32'));
      const inside = named(and(lessEqual(number(0, 'i32'), id), less(id, number(rows, 'i32'))));
      walked.place.statements.push({ kind: 'flag', condition: named(not(inside)) });
      const row = named(cast(id, 'index'));
      when(walked, named(and(lessEqual(from, row), less(row, to))), (own) =>
        write(bind(own, target.row, row), [{ access: target.access, value: target.sum }]),
      );
    });
  });
  return team.extent;
}
