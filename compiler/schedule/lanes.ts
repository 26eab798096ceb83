/** Vector loops: an axis walked a block of vectors at a time, then vector by vector, then a masked tail. */
import type { Axis } from '../loop/loop.ts';
import type { Operand } from '../tile/build.ts';
import type { TileExpression } from '../tile/tile.ts';
import { bind, bindingOf, firstLanes, loop, name, type Scope, shift } from './scope.ts';

/** Scopes that run side by side in one place: the vectors of a block. */
export type Scopes = readonly Scope[];

/** The vectors base, base + lanes, … of an axis, side by side. */
export function vectorsAt(
  scope: Scope,
  axis: Axis,
  base: Operand,
  lanes: number,
  count: number,
  mask?: TileExpression,
): Scopes {
  const first = bind(scope, axis, base, { lanes, mask });
  return Array.from({ length: count }, (_, at) => shift(first, axis, at * lanes));
}

/** One loop for several scopes: `body` gets them all, with the axis bound. */
export function loopTogether(scopes: Scopes, axes: readonly Axis[], body: (inner: Scopes) => void): void {
  const [axis, ...rest] = axes;
  if (axis === undefined) return body(scopes);
  loop(scopes[0], 0, axis.size, 1, (inner, at) => loopTogether(bindTogether(scopes, inner, axis, at), rest, body));
}

/** Binds an axis to one value in all scopes, at the place of `inner`. */
export function bindTogether(scopes: Scopes, inner: Scope, axis: Axis, at: Operand): Scopes {
  const bound = bindingOf(bind(inner, axis, at), axis);
  return scopes.map((scope) => ({ ...scope, place: inner.place, axes: new Map(scope.axes).set(axis, bound) }));
}

/**
 * Walks [0, size) of an axis: blocks of `count` vectors while they fit, then single vectors, then one with a mask.
 * `body` gets the vectors of one block.
 */
export function vectorLoop(
  scope: Scope,
  axis: Axis,
  lanes: number,
  count: number,
  body: (vectors: Scopes) => void,
): void {
  if (lanes === 1) return loop(scope, 0, axis.size, 1, (inner, at) => body([bind(inner, axis, at)]));
  const block = lanes * count;
  const blocks = Math.floor(axis.size / block) * block;
  loop(scope, 0, blocks, block, (inner, at) => body(vectorsAt(inner, axis, at, lanes, count)));
  rest(scope, axis, lanes, blocks, body);
}

/** What is left of an axis from `from` on: fewer vectors than a block has, and the tail. */
export function rest(scope: Scope, axis: Axis, lanes: number, from: number, body: (vectors: Scopes) => void): void {
  const whole = Math.floor(axis.size / lanes) * lanes;
  loop(scope, from, whole, lanes, (inner, at) => body(vectorsAt(inner, axis, at, lanes, 1)));
  if (whole === axis.size) return;
  const mask = name(scope.kernel, scope.place, firstLanes(axis.size - whole, lanes));
  body(vectorsAt(scope, axis, whole, lanes, 1, mask));
}
