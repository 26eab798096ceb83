/** The grid: independent units of work — points of outer axes, blocks of an inner one — dealt to items of equal size. */
import type { Axis } from '../loop/loop.ts';
import { add, div, min, mul, rem } from '../tile/build.ts';
import type { TileExpression } from '../tile/tile.ts';
import { bind, loop, name, type Scope } from './scope.ts';

export interface Grid {
  readonly items: number;
  readonly unitsPerItem: number;
}

/** Deals `units` to about `wanted` items. */
export function deal(units: number, wanted: number): Grid {
  const unitsPerItem = Math.max(1, Math.ceil(units / Math.max(1, wanted)));
  return { items: Math.max(1, Math.ceil(units / unitsPerItem)), unitsPerItem };
}

/** Runs `body` for every unit of the item. */
export function forUnits(
  scope: Scope,
  item: TileExpression,
  units: number,
  grid: Grid,
  body: (inner: Scope, unit: TileExpression) => void,
): void {
  if (grid.items === 1) return loop(scope, 0, units, 1, body);
  if (grid.unitsPerItem === 1) return body(scope, item);
  const from = name(scope.kernel, scope.place, mul(item, grid.unitsPerItem));
  const end = add(from, grid.unitsPerItem);
  loop(scope, from, grid.items * grid.unitsPerItem === units ? end : min(end, units), 1, body);
}

/** Binds the axes of a row-major position, the last one fastest. */
export function bindPosition(scope: Scope, axes: readonly Axis[], position: TileExpression): Scope {
  let left = position;
  let inner = scope;
  for (let at = axes.length - 1; at >= 0; at--) {
    const axis = axes[at];
    inner = bind(inner, axis, at === 0 ? left : rem(left, axis.size));
    if (at > 0) left = name(scope.kernel, scope.place, div(left, axis.size));
  }
  return inner;
}
