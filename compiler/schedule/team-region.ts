/**
 * Regions on machines with workgroups. Where rows are long, a team walks each: members reduce what they see, then meet in
 * workgroup memory and halve it until one value is left, always in the same order; what a subgroup holds together they hand each
 * other without memory. Otherwise each thread has its own point.
 */
import type { Buffer, Region, Stage } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { add, and, cast, equal, less, load, mul, or, read, rem, where } from '../tile/build.ts';
import type { Memory, Register, TileExpression } from '../tile/tile.ts';
import { partsOf, pointsOf, strideAlong } from './cost.ts';
import { bindPosition } from './grid.ts';
import { write } from './expression.ts';
import {
  accumulate,
  type Accumulator,
  combineWith,
  monoidOf,
  positionAlong,
  type ReduceStage,
  type Reduction,
  start,
  valueOf,
} from './reduce.ts';
import { emitPoint, isEmpty } from './region.ts';
import { bindResult, name, type Scope, when } from './scope.ts';
import { bindTeam, deal, type Extent, meet, type Team, walkTogether, whenActive } from './team.ts';

/** Emits the body of a region's kernel for teams of threads. */
export function emitTeamRegion(scope: Scope, region: Region, capabilities: Capabilities): Extent {
  if (isEmpty(region)) return { grid: 0, workgroup: 1 };
  const { size, sideBySide } = chooseTeam(region, capabilities);
  const team = deal(scope, pointsOf(region.axes), size, sideBySide);
  if (size === 1) {
    whenActive(scope, team, false, (inner) => emitPoint(bindPosition(inner, region.axes, team.position), region));
    return team.extent;
  }
  let current = bindTeam(scope, region.axes, team);
  const stored = new Set<Buffer>();
  for (const stage of region.stages) {
    if (partsOf(stage).accesses.some(({ buffer }) => stored.has(buffer))) {
      meet(current);
      stored.clear();
    }
    switch (stage.kind) {
      case 'reduce':
        current = reduceTogether(current, stage, team, capabilities.subgroupThreads);
        break;
      case 'store':
        whenActive(current, team, stage.axes.length === 0, (inner) =>
          stage.axes.length === 0
            ? write(inner, stage.stores)
            : walkTogether(inner, stage.axes, team, (point) => write(point, stage.stores)),
        );
        stage.stores.forEach(({ access }) => stored.add(access.buffer));
        break;
      case 'cumulate':
        throw new Error('a running combination is no work for a team');
    }
  }
  return team.extent;
}

/** Points of a long enough row, so that a member has a few of them. */
const worthSharing = 32;
const perMember = 4;
/** Threads that keep any machine busy. */
const plenty = 16_384;

/** The size of the teams, and whether its members should be neighbours: where they then read neighbouring elements. */
function chooseTeam(
  { axes, stages }: Region,
  { workgroupThreads, nearMemory }: Capabilities,
): { readonly size: number; readonly sideBySide: boolean } {
  const points = pointsOf(axes);
  const rows = stages.filter((stage) => stage.kind !== 'cumulate' && stage.axes.length > 0);
  const longest = Math.max(1, ...rows.map((stage) => pointsOf(axesOf(stage))));
  const sideBySide = closest(rows, (stage) => axesOf(stage).at(-1)) >= closest(rows, () => axes.at(-1));
  const enough = !sideBySide && points >= plenty;
  if (stages.some((stage) => stage.kind === 'cumulate') || longest < worthSharing || enough)
    return { size: 1, sideBySide };
  const results = stages.reduce((count, stage) => count + (stage.kind === 'reduce' ? 2 * stage.results.length : 0), 0);
  const fitting = Math.floor(nearMemory / (4 * Math.max(1, results)));
  const most = Math.min(workgroupThreads, fitting, longest / perMember, sideBySide ? Infinity : plenty / points);
  let size = 1;
  while (size * 2 <= most) size *= 2;
  return { size, sideBySide };
}

const axesOf = (stage: Stage): Region['axes'] => (stage.kind === 'cumulate' ? [stage.axis] : stage.axes);

/** How many accesses go from element to element along the axis that is asked for. */
function closest(stages: readonly Stage[], axisOf: (stage: Stage) => Region['axes'][number] | undefined): number {
  return stages.reduce((count, stage) => {
    const axis = axisOf(stage);
    const near = partsOf(stage).accesses.filter(
      (access) => axis !== undefined && Math.abs(strideAlong(access, axis) ?? 0) === 1,
    );
    return count + near.length;
  }, 0);
}

/** What one thread found so far. */
interface Found {
  readonly of: Reduction;
  readonly value: TileExpression;
  readonly position?: TileExpression;
}

/** All members know the results. However much of it goes through memory, it is the same tree. */
function reduceTogether(scope: Scope, stage: ReduceStage, team: Team, subgroupThreads: number): Scope {
  const along = positionAlong(stage.axes);
  const parts = stage.results.map((of) => start(scope, of, 1));
  walkTogether(scope, stage.axes, team, (inner) =>
    stage.results.forEach((of, which) => accumulate(inner, of, parts[which], along, undefined)),
  );
  const all = joinMembers(scope, stage, parts, team, subgroupThreads);
  return all.reduce(
    (bound, { of, value, position }) =>
      bindResult(bound, of.result, name(scope.kernel, scope.place, cast(position ?? value, of.result.dtype))),
    scope,
  );
}

/** What the members of a team found, as one: all of them know it. */
export function joinMembers(
  scope: Scope,
  stage: ReduceStage,
  parts: readonly Accumulator[],
  team: Team,
  subgroupThreads: number,
): readonly Found[] {
  let found = stage.results.map((of, which): Found => {
    const { value, position } = parts[which];
    return { of, value: valueOf(value), ...(position && { position: valueOf(position) }) };
  });
  const together = team.sideBySide ? Math.min(team.size, subgroupThreads) : 1;
  if (team.size > together) found = halve(scope, team, found, together);
  for (let distance = together / 2; distance >= 1; distance /= 2)
    found = found.map((own) => {
      const take = (value: TileExpression): TileExpression => exchange(scope, value, distance);
      const { value, position } = own;
      return join(scope, own, { ...own, value: take(value), ...(position && { position: take(position) }) });
    });
  return found;
}

/** Through workgroup memory until `left` values are left; every so many members have all of them. */
function halve(scope: Scope, team: Team, found: readonly Found[], left: number): Found[] {
  const shared = found.map(({ of, value, position }) => ({
    of,
    values: share(scope, team, value),
    ...(position && { positions: share(scope, team, position) }),
  }));
  meet(scope);
  const at = (inner: Scope, { of, values, positions }: (typeof shared)[number], offset: TileExpression): Found => {
    const keep = (memory: Memory): TileExpression => name(inner.kernel, inner.place, load(memory, offset));
    return { of, value: keep(values), ...(positions && { position: keep(positions) }) };
  };
  for (let half = team.size / 2; half >= left; half /= 2) {
    when(scope, less(team.member, half), (inner) => {
      const other = add(team.thread, half * (team.sideBySide ? 1 : team.teams));
      for (const from of shared) {
        const { value, position } = join(inner, at(inner, from, team.thread), at(inner, from, other));
        put(inner, from.values, team.thread, value);
        if (from.positions !== undefined && position !== undefined) put(inner, from.positions, team.thread, position);
      }
    });
    meet(scope);
  }
  const first = team.sideBySide ? mul(team.place, team.size) : team.place;
  const own = name(scope.kernel, scope.place, left === 1 ? first : add(first, rem(team.member, left)));
  return shared.map((from) => at(scope, from, own));
}

function share(scope: Scope, team: Team, value: TileExpression): Memory {
  if (value.type.dtype === 'index') throw new Error('an index has no memory');
  const memory = scope.kernel.shared(value.type.dtype, team.extent.workgroup);
  put(scope, memory, team.thread, value);
  return memory;
}

/** Stores one element. */
export const put = (scope: Scope, memory: Memory, offset: TileExpression, value: TileExpression): void =>
  void scope.place.statements.push({ kind: 'store', memory, offset, stride: 1, value });

function exchange(scope: Scope, value: TileExpression, distance: number): TileExpression {
  const register: Register = { name: `r${scope.kernel.next()}`, type: value.type };
  scope.place.statements.push({ kind: 'exchange', register, value, distance });
  return read(register);
}

/** The two together; of equal ones that come first in the row, the first. */
function join(scope: Scope, a: Found, b: Found): Found {
  const keep = (value: TileExpression): TileExpression => name(scope.kernel, scope.place, value);
  const monoid = monoidOf(a.of);
  if (a.position === undefined || b.position === undefined)
    return { of: a.of, value: keep(combineWith(monoid, a.value, b.value)) };
  const wins = monoid === 'max' ? less(a.value, b.value) : less(b.value, a.value);
  const better = keep(or(wins, and(equal(a.value, b.value), less(b.position, a.position))));
  return {
    of: a.of,
    value: keep(where(better, b.value, a.value)),
    position: keep(where(better, b.position, a.position)),
  };
}
