/**
 * Regions on machines with workgroups. Where rows are long, a team walks each: members reduce what they see, then meet in
 * workgroup memory and halve it until one value is left, always in the same order. Otherwise each thread has its own point.
 */
import type { Buffer, Region, Stage } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { add, and, cast, equal, less, load, mul, or, where } from '../tile/build.ts';
import type { Memory, TileExpression } from '../tile/tile.ts';
import { partsOf, pointsOf, strideAlong } from './cost.ts';
import { bindPosition } from './grid.ts';
import { write } from './expression.ts';
import {
  accumulate,
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
        current = reduceTogether(current, stage, team);
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

function reduceTogether(scope: Scope, stage: ReduceStage, team: Team): Scope {
  const position = positionAlong(stage.axes);
  const parts = stage.results.map((of) => start(scope, of, 1));
  walkTogether(scope, stage.axes, team, (inner) =>
    stage.results.forEach((of, which) => accumulate(inner, of, parts[which], position, undefined)),
  );
  const gathered = stage.results.map((of, which): Gathered => {
    const { value, position: found } = parts[which];
    return {
      of,
      values: share(scope, team, valueOf(value)),
      ...(found && { positions: share(scope, team, valueOf(found)) }),
    };
  });
  meet(scope);
  for (let half = team.size / 2; half >= 1; half /= 2) {
    when(scope, less(team.member, half), (inner) => {
      const other = add(team.thread, half * (team.sideBySide ? 1 : team.teams));
      gathered.forEach((from) => combineTwo(inner, from, team.thread, other));
    });
    meet(scope);
  }
  const first = name(scope.kernel, scope.place, team.sideBySide ? mul(team.place, team.size) : team.place);
  return gathered.reduce((bound, { of, values, positions }) => {
    const whole = name(scope.kernel, scope.place, load(positions ?? values, first));
    return bindResult(bound, of.result, name(scope.kernel, scope.place, cast(whole, of.result.dtype)));
  }, scope);
}

/** What the members found, one element a thread. */
interface Gathered {
  readonly of: Reduction;
  readonly values: Memory;
  readonly positions?: Memory;
}

function share(scope: Scope, team: Team, value: TileExpression): Memory {
  if (value.type.dtype === 'index') throw new Error('an index has no memory');
  const memory = scope.kernel.shared(value.type.dtype, team.extent.workgroup);
  put(scope, memory, team.thread, value);
  return memory;
}

const put = (scope: Scope, memory: Memory, offset: TileExpression, value: TileExpression): void =>
  void scope.place.statements.push({ kind: 'store', memory, offset, stride: 1, value });

/** `into` and `other`, left in `into`; of equal ones that come first in the row, the first. */
function combineTwo(
  scope: Scope,
  { of, values, positions }: Gathered,
  into: TileExpression,
  other: TileExpression,
): void {
  const keep = (value: TileExpression): TileExpression => name(scope.kernel, scope.place, value);
  const [a, b] = [keep(load(values, into)), keep(load(values, other))];
  if (positions === undefined) return put(scope, values, into, keep(combineWith(monoidOf(of), a, b)));
  const [at, then] = [keep(load(positions, into)), keep(load(positions, other))];
  const wins = monoidOf(of) === 'max' ? less(a, b) : less(b, a);
  const better = keep(or(wins, and(equal(a, b), less(then, at))));
  put(scope, values, into, keep(where(better, b, a)));
  put(scope, positions, into, keep(where(better, then, at)));
}
