/**
 * Chains on a CPU: an item does some points from beginning to end. The links are scheduled as if they were kernels, but their
 * items run one after the other, and what they hand on stays in scratch.
 */
import { accessAlong, number, ownBuffers } from '../loop/build.ts';
import type { Axis, Chain, Link, Region, Sum } from '../loop/loop.ts';
import { identity } from '../ops/monoid.ts';
import type { Capabilities } from '../targets/target.ts';
import { index, read } from '../tile/build.ts';
import type { TileExpression } from '../tile/tile.ts';
import { emitContraction } from './contract.ts';
import { costOf, itemsFor, pointsOf } from './cost.ts';
import { bindPosition, deal, forUnits } from './grid.ts';
import { emitRegion } from './region.ts';
import { rootsOf } from './rewrite.ts';
import { simplify } from './simplify.ts';
import { loopAxes, newCounter, newPlace, type Scope } from './scope.ts';

/** Emits the body of a chain's kernel; returns its grid. */
export function emitChain(scope: Scope, item: TileExpression, chain: Chain, capabilities: Capabilities): number {
  const { kernel } = scope;
  for (const own of ownBuffers(chain)) kernel.lay(own, kernel.memory(kernel.scratch(own.dtype, own.shape)));
  const units = pointsOf(chain.axes);
  const cyclesOfAll = (links: readonly Link[]): number => links.reduce((sum, link) => sum + cyclesOf(link), 0);
  const walked = chain.spans.reduce((sum, span) => sum + pointsOf(span.axes) * cyclesOfAll(span.parts), 0);
  const cycles = (pointsOf(chain.walk) * walked + cyclesOfAll(chain.last)) / capabilities.vectorLanes;
  const grid = deal(units, itemsFor(units * cycles, units));
  forUnits(scope, item, units, grid, (inner, unit) => {
    const point = bindPosition(inner, chain.axes, unit);
    const all = (at: Scope, links: readonly Link[]): void => links.forEach((link) => emitLink(at, link, capabilities));
    all(point, chain.sums.map(atFirst));
    loopAxes(point, chain.walk, (some) =>
      chain.spans.forEach((span) => loopAxes(some, span.axes, (block) => all(block, span.parts))),
    );
    all(point, chain.last);
  });
  return grid.items;
}

/** What fills a sum before anything is added to it. */
function atFirst({ buffer, monoid }: Sum): Region {
  const axes = buffer.shape.map((size, dim): Axis => ({ name: `f${dim}`, size }));
  const access = accessAlong(buffer, axes);
  const value = number(identity(monoid, buffer.dtype), buffer.dtype);
  return simplify({ kind: 'region', axes, stages: [{ kind: 'store', axes: [], stores: [{ access, value }] }] });
}

/** All items of a link, in turn. Nothing of it is computed before its turn: it reads what the links before it leave. */
function emitLink(scope: Scope, link: Link, capabilities: Capabilities): void {
  const counter = newCounter(scope.kernel);
  const place = newPlace(scope.place.depth + 1);
  const inner: Scope = { ...scope, place, floor: place };
  const items =
    link.kind === 'region'
      ? emitRegion(inner, read(counter), link, capabilities)
      : emitContraction(inner, read(counter), link, capabilities);
  if (items <= 1) scope.place.statements.push(...place.statements);
  else
    scope.place.statements.push({
      kind: 'for',
      index: counter,
      from: index(0),
      to: index(items),
      step: 1,
      body: place.statements,
    });
}

/** Of all its points, one by one. */
function cyclesOf(link: Link): number {
  const points = pointsOf(link.axes);
  if (link.kind === 'contraction') return points * pointsOf(link.reduce);
  return link.stages.reduce((sum, stage) => {
    const inner = stage.kind === 'cumulate' ? stage.axis.size : pointsOf(stage.axes);
    return sum + points * inner * (1 + costOf(rootsOf({ ...link, stages: [stage] })));
  }, 0);
}
