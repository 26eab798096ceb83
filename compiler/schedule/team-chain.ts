/**
 * One side of a chain on machines with workgroups (chain-sides.ts): a workgroup has a block of its lines, and in each pass (chain-passes.ts)
 * walks the other side tile by tile. Tiles lie in workgroup memory; sums stay with the threads until a pass ends. What lies beyond the last
 * row or column is 0 in a tile, and counted nowhere.
 */
import { accessAlong } from '../loop/build.ts';
import type { Buffer, Chain, Contraction, Expression, Result } from '../loop/loop.ts';
import { identity } from '../ops/monoid.ts';
import type { Capabilities } from '../targets/target.ts';
import { add, apply, cast, div, equal, index, max, min, mul, number, read, rem, sub, where } from '../tile/build.ts';
import type { Register, TileExpression } from '../tile/tile.ts';
import { accumulatorDtype, type Dtype } from '../types/dtype.ts';
import { type Part, type Pass, storesOf } from './chain-passes.ts';
import { bindElement, bindSide, type Here, withSums, type Work } from './chain-place.ts';
import { type Held, type Product, startProduct } from './chain-product.ts';
import type { Side } from './chain-sides.ts';
import { type ProductPart, threads, tilesOf } from './chain-tiles.ts';
import { pointsOf } from './cost.ts';
import { evaluate, write, writeValue } from './expression.ts';
import { bindPosition } from './grid.ts';
import { accumulate, combineWith, monoidOf, type ReduceStage, start } from './reduce.ts';
import { type Rewriter, rewriter, rewriteStage } from './rewrite.ts';
import { assign, bindResult, loop, name, type Scope, variable, when } from './scope.ts';
import { joinMembers, put } from './team-region.ts';
import { both, type Extent, meet, type Team, whenInside, within } from './team.ts';

/** Emits the body of a chain's kernel for teams of threads. */
export function emitTeamChain(scope: Scope, chain: Chain, capabilities: Capabilities): Extent {
  const tiles = tilesOf(chain, capabilities);
  if (tiles === undefined) throw new Error('a chain without tiles is apart by now');
  const { passes, size } = tiles;
  const { kernel } = scope;
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const [lines, walked] = passes.lines === 'row' ? [passes.rows, passes.columns] : [passes.columns, passes.rows];
  const blocks = Math.ceil(lines / size);
  const block = keep(rem(kernel.item, blocks));
  const point = bindPosition(scope, chain.axes, keep(div(kernel.item, blocks)));
  const places = tiles.places.map((dtype, place): Buffer => {
    const shape = [size, tiles.pitch(dtype)];
    const buffer: Buffer = { name: `tile${place}`, role: 'temporary', dtype, shape };
    kernel.lay(buffer, kernel.shared(dtype, shape[0] * shape[1]));
    return buffer;
  });
  const work: Work = {
    tiles,
    capabilities,
    row: { name: 'tile_row', size },
    column: { name: 'tile_column', size },
    lineFrom: keep(mul(block, size)),
    strips: tiles.strips.map((of) => new Map([...of].map(([dtype, own]) => [dtype, kernel.shared(dtype, own)]))),
    team: teamOf(point, size),
    sums: new Map(),
  };
  const [from, until] = walkedBlocks(chain.reach, passes.lines, block, size, Math.ceil(walked / size)).map(keep);
  passes.passes.forEach((pass, at) => {
    if (at > 0) meet(point);
    const to = toTiles(new Map([...tiles.placeOf[at]].map(([buffer, place]) => [buffer, places[place]])), work);
    emitPass(point, pass, { ...work, to, tileFrom: index(0) }, from, until);
  });
  return { grid: pointsOf(chain.axes) * blocks, workgroup: threads };
}

/** Which blocks of the other side a block of lines needs: from one up to another. */
function walkedBlocks(
  reach: number | undefined,
  lines: Side,
  block: TileExpression,
  size: number,
  count: number,
): readonly [TileExpression, TileExpression] {
  if (reach === undefined) return [index(0), index(count)];
  // Rows need the columns up to reach more than the last of them; columns the rows from reach less than the first of them on.
  if (lines === 'column') return [max(0, add(block, Math.floor(-reach / size))), index(count)];
  return [index(0), min(count, max(1, add(block, Math.ceil((size + reach) / size))))];
}

function teamOf({ kernel }: Scope, size: number): Team {
  const { thread } = kernel;
  const members = threads / size;
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const [member, place] = [keep(rem(thread, members)), keep(div(thread, members))];
  const extent = { grid: 1, workgroup: threads };
  return { size: members, teams: size, sideBySide: true, extent, thread, member, place, position: place };
}

/** What is handed on is read from tiles and written to tiles. */
const toTiles = (tileOf: ReadonlyMap<Buffer, Buffer>, { row, column }: Work): Rewriter =>
  rewriter({
    affine: (at) => at,
    access: (access) => {
      const buffer = tileOf.get(access.buffer);
      return buffer === undefined ? access : accessAlong(buffer, [row, column]);
    },
  });

/** A sum of a line while tiles are walked, which all who share the line know; `before`: what it was until this tile, where another follows it. */
interface Running {
  readonly dtype: Dtype;
  readonly value: Register;
  readonly before: Register | undefined;
}

function emitPass(scope: Scope, pass: Pass, work: Here, from: TileExpression, until: TileExpression): void {
  const { size } = work.tiles;
  const running = new Map<Result, Running>();
  const products = new Map<ProductPart, Product>();
  for (const part of pass.parts) {
    if (part.kind === 'sum') products.set(part, startProduct(scope, part, work));
    if (part.kind !== 'reduce') continue;
    for (const of of part.stage.results) {
      const isFollowed = pass.parts.some((other) => other.kind === 'reduce' && other.follows === of.result);
      running.set(of.result, startRunning(scope, of, isFollowed));
    }
  }
  loop(scope, from, until, 1, (body, tile) => {
    const inner: Scope = { ...body, floor: body.place };
    const here: Here = { ...work, tileFrom: name(inner.kernel, inner.place, mul(tile, size)) };
    const order = createOrder(inner);
    for (const part of pass.parts) {
      order.before(part);
      if (part.kind === 'product') emitProduct(inner, here, part);
      else if (part.kind === 'points') emitPoints(inner, here, part);
      else if (part.kind === 'reduce') emitReduce(inner, here, part, running);
      else if (part.kind === 'sum') products.get(part)?.add(inner, here);
      order.after(part);
    }
    // The next tile begins with meetings, or else with this one.
    if (pass.parts[0]?.kind !== 'product') meet(inner);
  });
  const then: Scope = { ...scope, floor: scope.place };
  for (const [result, { dtype, value }] of running) {
    const memory = scope.kernel.shared(dtype, size);
    work.sums.set(result, memory);
    byLeader(then, work, (inner) => put(inner, memory, work.team.place, read(value)));
  }
  for (const [{ contraction }, { held, width }] of products)
    for (const one of held) finishSum(then, work, contraction, width, one);
  for (const part of pass.after)
    byLeader(then, work, (inner) => {
      const line = bindSide(inner, work, work.tiles.passes.lines, work.team.place);
      const known = withSums(line.scope, work, part, work.team.place);
      whenInside(known, line.inside, (deeper) => write(deeper, storesOf(part).map(work.to.store)));
    });
}

/** By one of the threads that share a line: what it leaves in memory it finds again without a meeting. */
const byLeader = (scope: Scope, { team }: Work, body: (inner: Scope) => void): void =>
  when(scope, equal(team.member, 0), body);

/**
 * Threads meet before they touch tiles that others touched. Element by element each has its own, whichever tile it is of; lines are read only;
 * and who multiplies meets others anyway.
 */
function createOrder(scope: Scope) {
  let last: Part['kind'] | undefined;
  return {
    before({ kind }: Part): void {
      if (last !== undefined && last !== kind && (kind === 'points' || kind === 'reduce')) meet(scope);
    },
    after({ kind }: Part): void {
      last = kind === 'sum' ? undefined : kind;
    },
  };
}

/** All of a product for each element of a tile. */
function emitProduct(scope: Scope, here: Here, part: Extract<Part, { kind: 'product' }>): void {
  const { result } = part.contraction;
  const product = startProduct(scope, part, here);
  product.add(scope, here);
  for (const { of, row, column } of product.held) {
    const element = bindElement(scope, here, row, column, part);
    const value = name(scope.kernel, scope.place, cast(read(of), result.dtype));
    writeTiles(bindResult(element.scope, result, value), here, part, element.inside);
  }
}

function emitPoints(scope: Scope, here: Here, part: Part): void {
  const { kernel } = scope;
  const { size } = here.tiles;
  loop(scope, kernel.thread, size * size, threads, (inner, at) => {
    const [row, column] = [div(at, size), rem(at, size)].map((place) => name(kernel, inner.place, place));
    const element = bindElement(inner, here, row, column, part);
    writeTiles(element.scope, here, part, element.inside);
  });
}

/** The stores of an element of a tile: all there is of a tile, in memory what is inside. */
function writeTiles(scope: Scope, { tiles, to }: Here, part: Part, inside: TileExpression | undefined): void {
  const stores = storesOf(part);
  const values = stores.map(({ value }) => evaluate(scope, to.expression(value)));
  stores.forEach((store, at) => {
    const { access } = to.store(store);
    const value = name(scope.kernel, scope.place, cast(values[at], access.buffer.dtype));
    if (!tiles.passes.locals.has(store.access.buffer))
      return whenInside(scope, inside, (inner) => writeValue(inner, access, value));
    const kept = inside === undefined ? value : where(inside, value, number(0, access.buffer.dtype));
    writeValue(scope, access, name(scope.kernel, scope.place, kept));
  });
}

function startRunning(scope: Scope, of: ReduceStage['results'][number], isFollowed: boolean): Running {
  const dtype = accumulatorDtype(of.value.dtype);
  const first = number(identity(monoidOf(of), dtype), dtype);
  return { dtype, value: variable(scope, first), before: isFollowed ? variable(scope, first) : undefined };
}

/** No part asks for the place of a largest element. */
const nowhere: Expression = { kind: 'number', dtype: 'i32', value: 0 };

/** Adds what a tile has of each line to its sums. */
function emitReduce(
  scope: Scope,
  here: Here,
  part: Extract<Part, { kind: 'reduce' }>,
  running: ReadonlyMap<Result, Running>,
): void {
  const { team, tiles, capabilities, to } = here;
  const { lines } = tiles.passes;
  const stage = rewriteStage(part.stage, to, (axes) => axes) as ReduceStage;
  const { follows } = part;
  const largest = follows && running.get(follows);
  const known = withSums(bindSide(scope, here, lines, team.place).scope, here, part, team.place);
  // The largest so far stands for the largest.
  const line =
    follows && largest
      ? bindResult(known, follows, name(known.kernel, known.place, cast(read(largest.value), follows.dtype)))
      : known;
  const parts = stage.results.map((of) => start(line, of, 1));
  loop(line, team.member, tiles.size, team.size, (inner, at) => {
    const element = bindSide(inner, here, lines === 'row' ? 'column' : 'row', at);
    stage.results.forEach((of, which) => accumulate(element.scope, of, parts[which], nowhere, element.inside));
  });
  for (const { of, value } of joinMembers(line, stage, parts, team, capabilities.subgroupThreads)) {
    const own = running.get(of.result);
    if (own === undefined) throw new Error('a sum that was not begun');
    if (own.before !== undefined) assign(scope, own.before, read(own.value));
    const sofar = largest === undefined ? read(own.value) : rescaled(read(own.value), largest);
    const more = largest === undefined ? value : where(isNothing(largest), number(0, value.type.dtype), value);
    assign(scope, own.value, combineWith(monoidOf(of), sofar, more));
  }
}

/** A sum of exp(x - largest) as it is with the new largest: times exp(old - new) (Milakov and Gimelshein 2018). */
function rescaled(sum: TileExpression, { value, before }: Running): TileExpression {
  if (before === undefined) throw new Error('a sum follows what says not what it was');
  const [now, old] = [read(value), read(before)];
  return where(equal(now, old), sum, mul(sum, apply('exp', sub(old, now))));
}

/** Everything so far is masked out: exp(-inf - -inf) would be no number. */
const isNothing = ({ value }: Running): TileExpression => equal(read(value), number(-Infinity, value.type.dtype));

/** Stores a sum over all tiles. */
function finishSum(scope: Scope, here: Here, contraction: Contraction, width: number, { of, row, column }: Held): void {
  const { passes } = here.tiles;
  const { kernel } = scope;
  const own = contraction.axes.filter((axis) => !passes.sides.has(axis));
  const line = bindSide(scope, here, passes.lines, row);
  const at = name(kernel, scope.place, column);
  const inside = both(line.inside, within(at, pointsOf(own), width));
  whenInside(scope, inside, (inner) => {
    const bound = bindPosition({ ...line.scope, place: inner.place, floor: inner.place }, own, at);
    const value = name(kernel, inner.place, cast(read(of), contraction.result.dtype));
    write(bindResult(bound, contraction.result, value), contraction.stores.map(here.to.store));
  });
}
