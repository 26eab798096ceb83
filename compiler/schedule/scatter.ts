/**
 * Scatter: each item owns some columns of the target — a batch entry and a run of vectors along the last rest axis —
 * zeroes them, then walks all updates in order. No two items write the same place, and the order of additions is fixed.
 */
import { apply, axisAt } from '../loop/build.ts';
import type { Access, Axis, Expression, Scatter } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { add, and, cast, div, equal, expression, less, lessEqual, min, mul, not, number, rem } from '../tile/build.ts';
import type { TileExpression } from '../tile/tile.ts';
import { costOf, itemsFor, pointsOf } from './cost.ts';
import { evaluate, write, writeValue } from './expression.ts';
import { bindPosition, deal, forUnits } from './grid.ts';
import { rest, vectorsAt } from './lanes.ts';
import { bind, loop, loopAxes, name, type Scope, when } from './scope.ts';

/** Emits the body of a scatter's kernel; returns its grid. */
export function emitScatter(scope: Scope, item: TileExpression, scatter: Scatter, capabilities: Capabilities): number {
  const columns = scatter.rest[scatter.rest.length - 1];
  const lanes = columns === undefined ? 1 : capabilities.vectorLanes;
  const outer = [...scatter.batch, ...scatter.rest.slice(0, -1)];
  const points = pointsOf(outer);
  const vectors = columns === undefined ? 1 : Math.max(1, Math.floor(columns.size / lanes));
  const wanted = itemsFor(
    points * vectors * pointsOf(scatter.walk) * (6 + costOf([scatter.id, scatter.value])),
    points * vectors,
  );
  const perChunk = Math.max(1, Math.ceil(vectors / Math.ceil(wanted / points)));
  const chunks = Math.ceil(vectors / perChunk);
  const grid = deal(points * chunks, wanted);
  const target = targetOf(scatter);
  forUnits(scope, item, points * chunks, grid, (inner, unit) => {
    const chunk = name(inner.kernel, inner.place, rem(unit, chunks));
    const point = bindPosition(inner, outer, name(inner.kernel, inner.place, div(unit, chunks)));
    const from = name(inner.kernel, inner.place, mul(chunk, perChunk * lanes));
    const strip = (at: Scope, body: (vector: Scope) => void): void => {
      if (columns === undefined) return body(at);
      const whole = Math.floor(columns.size / lanes) * lanes;
      const to = chunks === 1 ? expression(whole) : min(add(from, perChunk * lanes), whole);
      loop(at, from, to, lanes, (deep, base) => vectorsAt(deep, columns, base, lanes, 1).forEach(body));
      if (whole < columns.size)
        when(at, equal(chunk, chunks - 1), (last) => rest(last, columns, lanes, whole, ([vector]) => body(vector)));
    };
    loop(point, 0, target.row.size, 1, (row, at) =>
      strip(bind(row, target.row, at), (vector) => writeValue(vector, target.access, number(0, scatter.target.dtype))),
    );
    loopAxes(point, scatter.walk, (walked) => {
      const id = cast(evaluate(walked, scatter.id), 'i32');
      const inside = name(
        walked.kernel,
        walked.place,
        and(lessEqual(number(0, 'i32'), id), less(id, number(target.row.size, 'i32'))),
      );
      walked.place.statements.push({ kind: 'flag', condition: name(walked.kernel, walked.place, not(inside)) });
      when(walked, inside, (row) =>
        strip(bind(row, target.row, cast(id, 'index')), (vector) =>
          write(vector, [{ access: target.access, value: target.sum }]),
        ),
      );
    });
  });
  return grid.items;
}

interface Target {
  /** The scattered axis of the target. */
  readonly row: Axis;
  readonly access: Access;
  /** The element there and the update. */
  readonly sum: Expression;
}

export function targetOf(scatter: Scatter): Target {
  const row: Axis = { name: 'row', size: scatter.shape[scatter.batch.length] };
  const access: Access = {
    buffer: scatter.target,
    shape: scatter.shape,
    index: [...scatter.batch, row, ...scatter.rest].map(axisAt),
  };
  return {
    row,
    access,
    sum: apply('add', { kind: 'load', dtype: scatter.target.dtype, access, guard: 'none' }, scatter.value),
  };
}
