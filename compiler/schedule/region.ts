/**
 * Regions: elementwise work, reductions, and rows of both. One axis is vectorized: a kept one (each lane its own point)
 * or, per stage, one of the stage's own (a row is walked by vectors). The rest is dealt to the grid.
 */
import type { Access, Axis, Buffer, Region, Stage } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { add, div, equal, expression, min, mul, rem } from '../tile/build.ts';
import type { TileExpression } from '../tile/tile.ts';
import { accessCost, costOf, itemsFor, partsOf, pointsOf, strideAlong } from './cost.ts';
import { cumulate } from './cumulate.ts';
import { evaluate, prefetch, write, writeValue } from './expression.ts';
import { bindPosition, deal, forUnits } from './grid.ts';
import { findKept, type Keeping } from './keep.ts';
import { loopTogether, rest, type Scopes, vectorLoop, vectorsAt } from './lanes.ts';
import { reduceAlong, reduceKept } from './reduce.ts';
import { loop, loopAxes, name, type Scope, shift, when } from './scope.ts';

interface Plan {
  /** The region axis whose points are lanes. */
  readonly kept?: Axis;
  /** Otherwise, the axis of each stage that is walked by vectors. */
  readonly along: ReadonlyMap<Stage, Axis>;
  /** While this stage works on a row, these lines of the next one are asked for. */
  readonly ahead?: { readonly stage: Stage; readonly accesses: readonly Access[] };
  /** Cycles for the whole region. */
  readonly cycles: number;
}

/** Emits the body of a region's kernel; returns its grid. */
export function emitRegion(scope: Scope, item: TileExpression, region: Region, capabilities: Capabilities): number {
  if (isEmpty(region)) return 0;
  const plan = choosePlan(region, capabilities.vectorLanes);
  if (plan.kept !== undefined) return emitKept(scope, item, region, plan, plan.kept, capabilities.vectorLanes);
  const keeping = findKept(region, scope.kernel.scratch);
  keeping.loads.forEach((access, of) => scope.kernel.kept.set(of, access));
  const units = pointsOf(region.axes);
  const grid = deal(units, itemsFor(plan.cycles, units));
  forUnits(scope, item, units, grid, (inner, unit) =>
    emitStages([bindPosition(inner, region.axes, unit)], region, plan, keeping, capabilities.vectorLanes, 1),
  );
  return grid.items;
}

/** Is there nothing to store? */
export const isEmpty = ({ stages: [stage, ...others] }: Region): boolean =>
  others.length === 0 && stage?.kind === 'store' && pointsOf(stage.axes) === 0;

/** The vectorization that costs least. */
function choosePlan(region: Region, lanes: number): Plan {
  const points = pointsOf(region.axes);
  const stages = region.stages.map((stage) => {
    const { accesses, values } = partsOf(stage);
    const inner = stage.kind === 'cumulate' ? stage.axis.size : pointsOf(stage.axes);
    return { stage, accesses, work: costOf(values), points: points * inner };
  });
  const price = (of: (typeof stages)[number], axis: Axis | undefined): number => {
    const used = axis === undefined ? 1 : Math.ceil(axis.size / lanes) / axis.size;
    return of.points * (accessCost(of.accesses, axis, lanes) + of.work * used);
  };
  const along = new Map<Stage, Axis>();
  let cycles = 0;
  for (const of of stages) {
    let best = price(of, undefined);
    const candidates = lanes > 1 && of.stage.kind !== 'cumulate' ? of.stage.axes : [];
    for (const axis of candidates) {
      // Combining the lanes at the end takes about as long as a handful of vectors.
      const overhead =
        of.stage.kind === 'reduce' ? (12 * of.stage.results.length * of.points) / pointsOf(of.stage.axes) : 0;
      const candidate = price(of, axis) + overhead;
      if (candidate >= best) continue;
      best = candidate;
      along.set(of.stage, axis);
    }
    cycles += best;
  }
  let kept: Axis | undefined;
  for (const axis of lanes > 1 ? region.axes : []) {
    const candidate = stages.reduce((total, of) => total + price(of, axis), 0);
    if (candidate > cycles || (candidate === cycles && kept === undefined && along.size > 0)) continue;
    cycles = candidate;
    kept = axis;
  }
  return { kept, along, cycles, ahead: kept === undefined ? nextRow(region, along) : undefined };
}

/**
 * Rows are short for the machine's own prefetching, which stops at pages: the last reduction, which is the one that
 * computes most, asks for the row after its own. Measured on Zen 4: softmax over rows of 1024.
 */
function nextRow(region: Region, along: ReadonlyMap<Stage, Axis>): Plan['ahead'] {
  const [row, ...others] = region.axes;
  const stage = region.stages.findLast((candidate) => candidate.kind === 'reduce' && along.has(candidate));
  const axis = stage === undefined ? undefined : along.get(stage);
  if (stage === undefined || axis === undefined || row === undefined || others.length > 0) return undefined;
  const accesses = new Map<Buffer, Access>();
  for (const access of partsOf(stage).accesses)
    if (strideAlong(access, axis) === 1 && (strideAlong(access, row) ?? 0) >= 256) accesses.set(access.buffer, access);
  return { stage, accesses: [...accesses.values()] };
}

/** Blocks of vectors along a kept axis; several vectors side by side where each carries a sum through a loop. */
function emitKept(scope: Scope, item: TileExpression, region: Region, plan: Plan, kept: Axis, lanes: number): number {
  const outer = region.axes.filter((axis) => axis !== kept);
  const sums = region.stages.some(
    (stage) => stage.kind === 'reduce' && costOf(stage.results.map((of) => of.value)) <= 12,
  );
  const count = sums ? Math.min(4, Math.max(1, Math.floor(kept.size / lanes))) : 1;
  const block = lanes * count;
  const blocks = Math.floor(kept.size / block);
  const points = pointsOf(outer);
  const wanted = itemsFor(plan.cycles, points * Math.max(1, blocks));
  const perChunk = Math.max(1, Math.ceil(blocks / Math.ceil(wanted / points)));
  const chunks = Math.max(1, Math.ceil(blocks / perChunk));
  const grid = deal(points * chunks, wanted);
  const keeping: Keeping = { stores: new Map(), loads: new Map() };
  const stages = (vectors: Scopes): void => emitStages(vectors, region, plan, keeping, lanes, lanes);
  forUnits(scope, item, points * chunks, grid, (inner, unit) => {
    const chunk = name(inner.kernel, inner.place, rem(unit, chunks));
    const point = bindPosition(inner, outer, name(inner.kernel, inner.place, div(unit, chunks)));
    const from = name(inner.kernel, inner.place, mul(chunk, perChunk * block));
    const to =
      chunks * perChunk === blocks ? add(from, perChunk * block) : min(add(from, perChunk * block), blocks * block);
    loop(point, from, chunks === 1 ? expression(blocks * block) : to, block, (body, at) =>
      stages(vectorsAt(body, kept, at, lanes, count)),
    );
    if (blocks * block < kept.size)
      when(point, equal(chunk, chunks - 1), (last) => rest(last, kept, lanes, blocks * block, stages));
  });
  return grid.items;
}

/** Nothing is vectorized: the stages of one point, by one thread. */
export function emitPoint(scope: Scope, region: Region): void {
  emitStages([scope], region, { along: new Map(), cycles: 0 }, { stores: new Map(), loads: new Map() }, 1, 1);
}

/** The stages of one point, or of some vectors of points side by side (`width` lanes each). */
function emitStages(scopes: Scopes, region: Region, plan: Plan, keeping: Keeping, lanes: number, width: number): void {
  let current = scopes;
  for (const stage of region.stages) {
    const along = plan.kept === undefined ? plan.along.get(stage) : undefined;
    const ahead = stage === plan.ahead?.stage ? plan.ahead : undefined;
    const each = (vector: Scope): void => {
      for (const access of ahead?.accesses ?? []) prefetch(shift(vector, region.axes[0], 1), access);
      for (const { value, access } of keeping.stores.get(stage) ?? [])
        writeValue(vector, access, evaluate(vector, value));
    };
    switch (stage.kind) {
      case 'reduce':
        current =
          along === undefined
            ? reduceKept(current, stage, width, each)
            : [reduceAlong(current[0], stage, along, lanes, each)];
        break;
      case 'store':
        if (along === undefined)
          loopTogether(current, stage.axes, (inner) => inner.forEach((scope) => write(scope, stage.stores)));
        else
          loopAxes(
            current[0],
            stage.axes.filter((axis) => axis !== along),
            (outer) =>
              vectorLoop(outer, along, lanes, 1, (vectors) => vectors.forEach((vector) => write(vector, stage.stores))),
          );
        break;
      case 'cumulate':
        cumulate(current, stage, width);
        break;
    }
  }
}
