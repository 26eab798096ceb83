/**
 * Teams, for machines whose threads run in workgroups: the threads of a workgroup are dealt to points of outer axes, a team of
 * `size` threads to each; a team walks inner axes together. With a size of 1 every thread has a point of its own.
 */
import type { Axis } from '../loop/loop.ts';
import { add, and, div, equal, index, less, min, mul, rem } from '../tile/build.ts';
import type { TileExpression } from '../tile/tile.ts';
import { pointsOf } from './cost.ts';
import { bindPosition } from './grid.ts';
import { loop, name, type Scope, when } from './scope.ts';

/** How often a kernel's body runs: workgroups, and threads in each. */
export interface Extent {
  readonly grid: number;
  readonly workgroup: number;
}

export interface Team {
  /** Threads of a team, a power of two, and teams of a workgroup. */
  readonly size: number;
  readonly teams: number;
  /** Members of a team are neighbours; otherwise neighbours belong to neighbouring points. */
  readonly sideBySide: boolean;
  readonly extent: Extent;
  readonly thread: TileExpression;
  /** The place of this thread in its team, and of its team in the workgroup. */
  readonly member: TileExpression;
  readonly place: TileExpression;
  /** The point, beyond the last one where the grid has more teams than points. */
  readonly position: TileExpression;
  /** Is there such a point? Undefined where there always is. */
  readonly active?: TileExpression;
}

/** Threads of a workgroup of which each works alone: a warp or two of any machine. */
export const alone = 64;

/** Deals `points` to teams of `size`. */
export function deal(scope: Scope, points: number, size: number, sideBySide: boolean): Team {
  const { kernel } = scope;
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const workgroup = Math.max(size, alone);
  const teams = workgroup / size;
  const grid = Math.ceil(points / teams);
  const { thread } = kernel;
  const member = size === 1 ? index(0) : keep(sideBySide ? rem(thread, size) : div(thread, teams));
  const place = teams === 1 ? index(0) : keep(sideBySide ? div(thread, size) : rem(thread, teams));
  const position = keep(add(mul(kernel.item, teams), place));
  const active = grid * teams === points ? {} : { active: keep(less(position, points)) };
  return { size, teams, sideBySide, extent: { grid, workgroup }, thread, member, place, position, ...active };
}

/** The scope with `axes` bound to the team's point; teams without one stand at the last, and may not store. */
export function bindTeam(scope: Scope, axes: readonly Axis[], { position, active }: Team): Scope {
  const inside = active === undefined ? position : name(scope.kernel, scope.place, min(position, pointsOf(axes) - 1));
  return bindPosition(scope, axes, inside);
}

/** The points of inner axes, dealt to the members one after the other. */
export function walkTogether(scope: Scope, axes: readonly Axis[], team: Team, body: (inner: Scope) => void): void {
  loop(scope, team.member, pointsOf(axes), team.size, (inner, at) => body(bindPosition(inner, axes, at)));
}

/** Only where the team has a point, and, where `first` is asked for, by its first member. */
export function whenActive(scope: Scope, team: Team, first: boolean, body: (inner: Scope) => void): void {
  const leads = first && team.size > 1 ? equal(team.member, 0) : undefined;
  const { active } = team;
  if (leads === undefined && active === undefined) return body(scope);
  when(
    scope,
    leads === undefined || active === undefined ? (leads ?? active ?? equal(0, 0)) : and(active, leads),
    body,
  );
}

/** Only where the condition holds, if there is one. */
export const whenInside = (scope: Scope, inside: TileExpression | undefined, body: (inner: Scope) => void): void =>
  inside === undefined ? body(scope) : when(scope, inside, body);

/** All threads of the workgroup arrive; what was fetched since the meeting that many before this one may be on its way still. */
export const meet = (scope: Scope, leaves = 0): void =>
  void scope.place.statements.push({ kind: 'barrier', ...(leaves > 0 && { leaves }) });

/** For each point of `outer`: rows × sum times sum × columns. */
export interface Matrices {
  readonly outer: readonly Axis[];
  readonly rows: readonly Axis[];
  readonly columns: readonly Axis[];
  readonly sum: readonly Axis[];
}

/** at < size, where blocks of `block` may end beyond it. */
export const within = (at: TileExpression, size: number, block: number): TileExpression | undefined =>
  size % block === 0 ? undefined : less(at, size);

export const both = (a: TileExpression | undefined, b: TileExpression | undefined): TileExpression | undefined =>
  a === undefined ? b : b === undefined ? a : and(a, b);
