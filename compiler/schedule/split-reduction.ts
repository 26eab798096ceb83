/**
 * A long reduction with few results has nothing to deal to threads. It is cut into parts of fixed number and size: a
 * first kernel reduces each part to a temporary, a second one reduces the parts. How many depends on shapes alone, so
 * the bits of a sum do not depend on the number of threads.
 *
 *   mean over 65536:  reduce k  →  partial[p] = reduce k' of k = p·4096 + k';  then reduce p
 */
import { apply, axisAt, combine, number } from '../loop/build.ts';
import type {
  Access,
  Axis,
  Buffer,
  Chain,
  Contraction,
  Expression,
  Link,
  Region,
  Segment,
  Stage,
} from '../loop/loop.ts';
import { identity } from '../ops/monoid.ts';
import type { Capabilities } from '../targets/target.ts';
import { accumulatorDtype } from '../types/dtype.ts';
import { linksApart, splitSides } from './chain-sides.ts';
import { tilesOf } from './chain-tiles.ts';
import { costOf, itemsFor, pointsOf } from './cost.ts';
import { type Cut, spellCut } from './cut-axis.ts';
import type { ReduceStage } from './reduce.ts';
import { rewriter } from './rewrite.ts';
import { simplify } from './simplify.ts';
import { type NewTemporary, splitChain } from './split-chain.ts';

/** The segments, in order, that compute what `segment` does. */
export function splitReductions(
  segment: Segment,
  capabilities: Capabilities,
  temporary: NewTemporary,
): readonly Segment[] {
  switch (segment.kind) {
    case 'region':
      return splitRegion(segment, capabilities.vectorLanes, temporary);
    case 'contraction':
      return splitContraction(segment, capabilities.vectorLanes, temporary);
    case 'chain':
      return capabilities.workgroupThreads > 1
        ? splitForTeams(segment, capabilities, temporary)
        : [...splitChain(segment, temporary), ...afterPoints(segment)];
    case 'scatter':
      return [segment];
  }
}

/** What comes after all points of a chain, where nothing is added up for it: segments like any other. */
const afterPoints = ({ totals, end }: Chain): readonly Link[] => (totals.length === 0 ? end : []);

/** By its sides, where these have room in a workgroup; else its links by themselves. */
function splitForTeams(chain: Chain, capabilities: Capabilities, temporary: NewTemporary): readonly Segment[] {
  const unplaced: NewTemporary = (dtype, shape) => ({ name: 'unplaced', role: 'temporary', dtype, shape });
  const isFit = splitSides(chain, unplaced)?.every((side) => tilesOf(side, capabilities) !== undefined);
  const sides = isFit === true ? splitSides(chain, temporary) : undefined;
  const links = [...(sides === undefined ? linksApart(chain, temporary) : []), ...afterPoints(chain)];
  const split = links.flatMap((link) => splitReductions(simplify(link), capabilities, temporary));
  return [...(sides ?? []), ...split];
}

/** A product with few results and a long sum (the weights of a convolution): parts of the sum, then their sum. */
function splitContraction(contraction: Contraction, lanes: number, temporary: NewTemporary): readonly Segment[] {
  const { axes, reduce, left, right, result, stores } = contraction;
  const sum = pointsOf(reduce);
  const points = pointsOf(axes);
  const tiles = Math.ceil(points / (16 * lanes));
  const enough = Math.min(Math.floor(sum / 512), Math.ceil(itemsFor((points * sum) / lanes, Infinity) / tiles));
  // A sum over several axes is packed whole: it has to be cut to stay near the caches.
  const wanted = reduce.length > 1 ? Math.max(enough, Math.ceil(sum / 2048)) : enough;
  if (sum < 4096 || (tiles >= 8 && (reduce.length === 1 || sum <= 2048)) || wanted < 2) return [contraction];
  const cut = cutAxis(reduce, wanted);
  const part = { name: `${result.name}_part`, dtype: accumulatorDtype(result.dtype) };
  const shape = [cut.part.size, ...axes.map((axis) => axis.size)];
  const buffer = temporary(part.dtype, shape);
  const access: Access = { buffer, shape, index: [cut.part, ...axes].map(axisAt) };
  const first: Contraction = {
    ...contraction,
    axes: [cut.part, ...axes],
    reduce: reduce.map((axis) => (axis === cut.axis ? cut.inner : axis)),
    left: within(cut, left, 0),
    right: within(cut, right, 0),
    result: part,
    stores: [{ access, value: { kind: 'result', dtype: part.dtype, of: part } }],
  };
  const value: Expression = { kind: 'load', dtype: part.dtype, access, guard: 'none' };
  const second: Region = {
    kind: 'region',
    axes,
    stages: [
      { kind: 'reduce', axes: [cut.part], results: [{ result, monoid: 'sum', value }] },
      { kind: 'store', axes: [], stores },
    ],
  };
  return [first, second];
}

/** Cuts the longest axis in about `parts`, evenly where a nearby number divides it. */
export function cutAxis(axes: readonly Axis[], parts: number): Cut {
  const axis = axes.reduce((longest, candidate) => (candidate.size > longest.size ? candidate : longest));
  let count = Math.min(parts, axis.size);
  for (let candidate = count; candidate * 2 > count; candidate--)
    if (axis.size % candidate === 0) {
      count = candidate;
      break;
    }
  const size = Math.ceil(axis.size / count);
  return {
    axis,
    part: { name: `${axis.name}_part`, size: Math.ceil(axis.size / size) },
    inner: { name: `${axis.name}_in`, size },
  };
}

/** The expression with the cut axis spelled part·size + inner; `outside` where that is beyond the axis' end. */
function within(cut: Cut, of: Expression, outside: number): Expression {
  const position = combine(
    [
      { at: axisAt(cut.part), scale: cut.inner.size },
      { at: axisAt(cut.inner), scale: 1 },
    ],
    0,
  );
  const moved = rewriter({ affine: spellCut(cut) }).expression(of);
  if (cut.part.size * cut.inner.size === cut.axis.size) return moved;
  const inside = apply('lt', { kind: 'coordinate', dtype: 'i32', value: position }, number(cut.axis.size, 'i32'));
  return apply('where', inside, moved, number(outside, of.dtype));
}

function splitRegion(region: Region, lanes: number, temporary: NewTemporary): readonly Segment[] {
  const points = pointsOf(region.axes);
  const at = region.stages.findIndex((stage) => stage.kind === 'reduce' && worthCutting(stage, points, lanes));
  const stage = region.stages[at];
  if (stage === undefined || stage.kind !== 'reduce') return [region];
  if (at > 0) return splitLater(region, at, lanes, temporary);
  const wanted = partsFor(stage, points, lanes);
  const cut = cutAxis(stage.axes, wanted);
  const inner = stage.axes.map((axis) => (axis === cut.axis ? cut.inner : axis));
  const shape = [cut.part.size, ...region.axes.map((axis) => axis.size)];
  const partials = stage.results.map(({ value }) => temporary(accumulatorDtype(value.dtype), shape));
  const access = (buffer: Buffer): Access => ({ buffer, shape, index: [cut.part, ...region.axes].map(axisAt) });
  const parts = stage.results.map(({ result, monoid, value }) => ({
    result: { name: `${result.name}_part`, dtype: accumulatorDtype(value.dtype) },
    monoid,
    value: within(cut, value, identity(monoid === 'argmax' || monoid === 'argmin' ? 'sum' : monoid, value.dtype)),
  }));
  const first: Region = {
    kind: 'region',
    axes: [cut.part, ...region.axes],
    stages: [
      { kind: 'reduce', axes: inner, results: parts },
      {
        kind: 'store',
        axes: [],
        stores: parts.map(({ result }, which) => ({
          access: access(partials[which]),
          value: { kind: 'result', dtype: result.dtype, of: result },
        })),
      },
    ],
  };
  const second: Stage = {
    kind: 'reduce',
    axes: [cut.part],
    results: stage.results.map(({ result, monoid }, which) => ({
      result,
      monoid,
      value: { kind: 'load', dtype: partials[which].dtype, access: access(partials[which]), guard: 'none' },
    })),
  };
  return [first, ...splitRegion({ ...region, stages: [second, ...region.stages.slice(1)] }, lanes, temporary)];
}

/** A later stage is long: the earlier ones are finished first, their results handed on through temporaries. */
function splitLater(region: Region, at: number, lanes: number, temporary: NewTemporary): readonly Segment[] {
  const before = region.stages.slice(0, at);
  const results = before.flatMap((stage) => (stage.kind === 'reduce' ? stage.results.map((of) => of.result) : []));
  const shape = region.axes.map((axis) => axis.size);
  const handed = new Map(
    results.map((result): [typeof result, Access] => {
      const buffer = temporary(result.dtype, shape);
      return [result, { buffer, shape, index: region.axes.map(axisAt) }];
    }),
  );
  const stores = [...handed].map(([result, access]) => ({
    access,
    value: { kind: 'result', dtype: result.dtype, of: result } as const,
  }));
  const first: Region = { ...region, stages: [...before, { kind: 'store', axes: [], stores }] };
  const replace = (of: Expression): Expression => replaceResults(of, handed);
  const after = region.stages.slice(at).map((stage): Stage => {
    if (stage.kind === 'reduce')
      return { ...stage, results: stage.results.map((of) => ({ ...of, value: replace(of.value) })) };
    const stores = stage.stores.map((store) => ({ ...store, value: replace(store.value) }));
    return stage.kind === 'cumulate' ? { ...stage, value: replace(stage.value), stores } : { ...stage, stores };
  });
  return [...splitRegion(first, lanes, temporary), ...splitRegion({ ...region, stages: after }, lanes, temporary)];
}

function replaceResults(root: Expression, by: ReadonlyMap<object, Access>): Expression {
  const done = new Map<Expression, Expression>();
  const replace = (of: Expression): Expression => {
    const known = done.get(of);
    if (known !== undefined) return known;
    let made = of;
    const access = of.kind === 'result' ? by.get(of.of) : undefined;
    if (access !== undefined) made = { kind: 'load', dtype: of.dtype, access, guard: 'none' };
    else if (of.kind === 'apply') made = { ...of, operands: of.operands.map(replace) };
    else if (of.kind === 'load' && of.access.index.some((at) => at.kind === 'computed'))
      made = {
        ...of,
        access: {
          ...of.access,
          index: of.access.index.map((at) =>
            at.kind === 'computed' ? { kind: 'computed', value: replace(at.value) } : at,
          ),
        },
      };
    done.set(of, made);
    return made;
  };
  return replace(root);
}

const positional = (stage: ReduceStage): boolean =>
  stage.results.some(({ monoid }) => monoid === 'argmax' || monoid === 'argmin');

const cyclesOf = (stage: ReduceStage, points: number, lanes: number): number =>
  (points * pointsOf(stage.axes) * (1 + costOf(stage.results.map((of) => of.value)))) / lanes;

/** Vectors of points that could be items as they are. */
const unitsOf = (points: number, lanes: number): number => (points >= lanes ? Math.ceil(points / lanes) : points);

const partsFor = (stage: ReduceStage, points: number, lanes: number): number =>
  Math.ceil(itemsFor(cyclesOf(stage, points, lanes), Infinity) / unitsOf(points, lanes));

/** More than a hundred microseconds of work that the region's own axes do not deal to at least eight items. */
function worthCutting(stage: ReduceStage, points: number, lanes: number): boolean {
  if (positional(stage) || stage.axes.length === 0) return false;
  const cycles = cyclesOf(stage, points, lanes);
  return cycles > 100_000 && unitsOf(points, lanes) < 8 && partsFor(stage, points, lanes) > 1;
}
