/**
 * One side of a chain on machines with workgroups (chain-sides.ts): a workgroup has a block of its lines, and in each pass (chain-passes.ts)
 * walks the other side tile by tile. Tiles lie in workgroup memory, sums of lines too; sums of products stay with the threads. What lies
 * beyond the last row or column is 0 in a tile, and counted nowhere.
 */
import { axisAt } from '../loop/build.ts';
import type { Axis, Buffer, Chain, Contraction, Expression, Result } from '../loop/loop.ts';
import { identity } from '../ops/monoid.ts';
import type { Capabilities } from '../targets/target.ts';
import { add, cast, div, equal, index, load, max, min, mul, number, read, rem, where } from '../tile/build.ts';
import { sumAt } from '../tile/matrix.ts';
import type { MatrixOperand, Memory, Register, TileExpression } from '../tile/tile.ts';
import { accumulatorDtype, type Dtype, dtypeBytes } from '../types/dtype.ts';
import { type Part, type Pass, readsOf, storesOf } from './chain-passes.ts';
import type { Side } from './chain-sides.ts';
import {
  type ChainOperand,
  type ChainProduct,
  deep,
  productOf,
  stripOf,
  threads,
  type Tiles,
  tilesOf,
} from './chain-tiles.ts';
import { pointsOf } from './cost.ts';
import { evaluate, write, writeValue } from './expression.ts';
import { bindPosition } from './grid.ts';
import { accumulate, combineWith, monoidOf, type ReduceStage, start } from './reduce.ts';
import { type Rewriter, rewriter, rewriteStage } from './rewrite.ts';
import { bind, bindResult, loop, name, type Scope, variable, when } from './scope.ts';
import {
  copyStrip,
  layDownStrip,
  layStrips,
  matrixStrip,
  placeOfLine,
  type Strips,
  stripsIn,
  subgroup,
} from './matrix-strips.ts';
import { addStrip, type AtHand, startShare, strip, stripIn } from './team-product.ts';
import { joinMembers } from './team-region.ts';
import { both, type Extent, meet, type Team, within } from './team.ts';

/** Emits the body of a chain's kernel for teams of threads. */
export function emitTeamChain(scope: Scope, chain: Chain, capabilities: Capabilities): Extent {
  const tiles = tilesOf(chain, capabilities);
  if (tiles === undefined) throw new Error('a chain without tiles is apart by now');
  const { passes, size } = tiles;
  const { kernel } = scope;
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const lines = passes.lines === 'row' ? passes.rows : passes.columns;
  const walked = passes.lines === 'row' ? passes.columns : passes.rows;
  const blocks = Math.ceil(lines / size);
  const count = Math.ceil(walked / size);
  const block = keep(rem(kernel.item, blocks));
  const point = bindPosition(scope, chain.axes, keep(div(kernel.item, blocks)));
  const memories = tiles.places.map((dtype, place): Buffer => {
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
  const [from, to] = walkedBlocks(chain.reach, passes.lines, block, size, count);
  passes.passes.forEach((pass, at) => {
    if (at > 0) meet(point);
    const own = inTiles(
      pass,
      new Map([...tiles.placeOf[at]].map(([buffer, place]) => [buffer, memories[place]])),
      work,
    );
    emitPass(point, own, work, keep(from), keep(to));
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

/** What all parts of a chain have in common. */
interface Work {
  readonly tiles: Tiles;
  readonly capabilities: Capabilities;
  /** The place in a tile. */
  readonly row: Axis;
  readonly column: Axis;
  readonly lineFrom: TileExpression;
  /** Memory for strips of both operands of products. */
  readonly strips: readonly ReadonlyMap<Dtype, Memory>[];
  /** Those who sum up a line. */
  readonly team: Team;
  /** Sums of lines, all of them known after the pass that makes them. */
  readonly sums: Map<Result, Memory>;
}

function teamOf({ kernel }: Scope, size: number): Team {
  const { thread } = kernel;
  const members = threads / size;
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const [member, place] = [keep(rem(thread, members)), keep(div(thread, members))];
  const extent = { grid: 1, workgroup: threads };
  return { size: members, teams: size, sideBySide: true, extent, thread, member, place, position: place };
}

/** The pass with what is handed on read from and written to tiles. */
function inTiles(
  pass: Pass,
  tileOf: ReadonlyMap<Buffer, Buffer>,
  { row, column }: Work,
): Pass & { readonly to: Rewriter } {
  const to = rewriter({
    affine: (at) => at,
    access: (access) => {
      const buffer = tileOf.get(access.buffer);
      return buffer === undefined ? access : { buffer, shape: buffer.shape, index: [row, column].map(axisAt) };
    },
  });
  return { ...pass, to };
}

/** Where a workgroup is in a pass: at a tile. */
interface Here extends Work {
  readonly tileFrom: TileExpression;
  readonly to: Rewriter;
}

function emitPass(
  scope: Scope,
  { parts, after, to }: Pass & { readonly to: Rewriter },
  work: Work,
  from: TileExpression,
  until: TileExpression,
): void {
  const { size, passes } = work.tiles;
  const { kernel } = scope;
  for (const part of parts)
    if (part.kind === 'reduce')
      for (const of of part.stage.results) {
        const dtype = accumulatorDtype(of.value.dtype);
        const memory = kernel.shared(dtype, size);
        work.sums.set(of.result, memory);
        byLeader(scope, work, (inner) =>
          put(inner, memory, work.team.place, number(identity(monoidOf(of), dtype), dtype)),
        );
      }
  const products = new Map(
    parts.flatMap((part): [Part, Product][] => (part.kind === 'sum' ? [[part, startProduct(scope, part, work)]] : [])),
  );
  loop(scope, from, until, 1, (body, tile) => {
    const inner: Scope = { ...body, floor: body.place };
    const here: Here = { ...work, to, tileFrom: name(kernel, inner.place, mul(tile, size)) };
    const order = createOrder(inner);
    for (const part of parts) {
      switch (part.kind) {
        case 'product': {
          const product = startProduct(inner, part, work);
          product.add(inner, here);
          order.met();
          for (const { of, row, column } of product.held) {
            const element = bindElement(inner, here, row, column, part);
            const value = name(kernel, inner.place, cast(read(of), part.contraction.result.dtype));
            writeTiles(bindResult(element.scope, part.contraction.result, value), here, part, element.inside);
          }
          break;
        }
        case 'points':
          order.before(part);
          loop(inner, kernel.thread, size * size, threads, (deeper, at) => {
            const [row, column] = [div(at, size), rem(at, size)].map((place) => name(kernel, deeper.place, place));
            const element = bindElement(deeper, here, row, column, part);
            writeTiles(element.scope, here, part, element.inside);
          });
          break;
        case 'reduce':
          order.before(part);
          emitReduce(inner, here, part);
          break;
        case 'sum':
          products.get(part)?.add(inner, here);
          order.met();
          continue;
        case 'lines':
          throw new Error('what is made of whole lines comes after the tiles');
      }
      order.after(part);
    }
    // The next tile begins with meetings, or else with this one.
    if (parts[0]?.kind !== 'product') meet(inner);
  });
  const here: Here = { ...work, to, tileFrom: index(0) };
  for (const [part, { held, width }] of products)
    if (part.kind === 'sum')
      for (const one of held) finishSum({ ...scope, floor: scope.place }, here, part.contraction, width, one);
  for (const part of after)
    byLeader(scope, work, (inner) => {
      const { scope: bound, inside } = bindSide(inner, here, passes.lines, work.team.place);
      const known = withSums(bound, here, part, work.team.place);
      const store = (deeper: Scope): void => write(deeper, storesOf(part).map(to.store));
      if (inside === undefined) store(known);
      else when(known, inside, store);
    });
}

/** Threads meet before they touch tiles that others touched. Element by element each has its own, whichever tile it is of. */
function createOrder(scope: Scope) {
  let touched: 'not' | 'by points' | 'otherwise' = 'not';
  return {
    /** They met, and touched none since. */
    met: (): void => void (touched = 'not'),
    before({ kind }: Part): void {
      if (touched === 'not' || (touched === 'by points' && kind === 'points')) return;
      meet(scope);
      touched = 'not';
    },
    after({ kind }: Part): void {
      touched = kind === 'points' && touched !== 'otherwise' ? 'by points' : 'otherwise';
    },
  };
}

/** The scope in which all axes of a side are at a place of the tile; beyond the last row or column they stay there, and it is not inside. */
function bindSide(
  scope: Scope,
  { tiles: { size, passes }, row, column, lineFrom, tileFrom }: Here,
  side: Side,
  place: TileExpression,
): Element {
  const all = side === 'row' ? passes.rows : passes.columns;
  const keep = (value: TileExpression): TileExpression => name(scope.kernel, scope.place, value);
  const at = keep(add(side === passes.lines ? lineFrom : tileFrom, place));
  const inside = within(at, all, size);
  const held = inside === undefined ? at : keep(min(at, all - 1));
  let bound = bind(scope, side === 'row' ? row : column, place);
  for (const [axis, of] of passes.sides) if (of === side) bound = bind(bound, axis, held);
  return { scope: bound, inside: inside && keep(inside) };
}

/** A point of a tile, and that it is one of the rows and columns that there are. */
interface Element {
  readonly scope: Scope;
  readonly inside: TileExpression | undefined;
}

/** An element of a tile, where a part may read sums of its line. */
function bindElement(scope: Scope, here: Here, row: TileExpression, column: TileExpression, part: Part): Element {
  const inRow = bindSide(scope, here, 'row', row);
  const both_ = bindSide(inRow.scope, here, 'column', column);
  const line = here.tiles.passes.lines === 'row' ? row : column;
  return { scope: withSums(both_.scope, here, part, line), inside: both(inRow.inside, both_.inside) };
}

/** The sums of earlier passes that a part reads, at a line. */
function withSums(scope: Scope, { sums }: Work, part: Part, line: TileExpression): Scope {
  let bound = scope;
  const reads = readsOf(part);
  for (const [result, memory] of sums)
    if (reads.has(result))
      bound = bindResult(bound, result, name(scope.kernel, scope.place, cast(load(memory, line), result.dtype)));
  return bound;
}

const put = (scope: Scope, memory: Memory, offset: TileExpression, value: TileExpression): void =>
  void scope.place.statements.push({ kind: 'store', memory, offset, stride: 1, value });

/** By one of the threads that share a line: what it leaves there it finds again without a meeting. */
const byLeader = (scope: Scope, { team }: Work, body: (inner: Scope) => void): void =>
  when(scope, equal(team.member, 0), body);

/** The stores of an element of a tile. */
function writeTiles(scope: Scope, { to }: Here, part: Part, inside: TileExpression | undefined): void {
  const stores = storesOf(part).map(to.store);
  const values = stores.map(({ value }) => evaluate(scope, value));
  stores.forEach(({ access }, at) => {
    const value = cast(values[at], access.buffer.dtype);
    const kept = inside === undefined ? value : where(inside, value, number(0, access.buffer.dtype));
    writeValue(scope, access, name(scope.kernel, scope.place, kept));
  });
}

/** Adds what a tile has of each line to its sums. */
function emitReduce(scope: Scope, here: Here, part: Extract<Part, { kind: 'reduce' }>): void {
  const { team, tiles, sums, capabilities, to } = here;
  const { lines } = tiles.passes;
  const stage = rewriteStage(part.stage, to, (axes) => axes) as ReduceStage;
  const line = withSums(bindSide(scope, here, lines, team.place).scope, here, part, team.place);
  const parts = stage.results.map((of) => start(line, of, 1));
  loop(line, team.member, tiles.size, team.size, (inner, at) => {
    const element = bindSide(inner, here, lines === 'row' ? 'column' : 'row', at);
    stage.results.forEach((of, which) => accumulate(element.scope, of, parts[which], nowhere, element.inside));
  });
  const found = joinMembers(line, stage, parts, team, capabilities.subgroupThreads);
  byLeader(scope, here, (inner) =>
    found.forEach(({ of, value }) => {
      const memory = sums.get(of.result);
      if (memory === undefined) throw new Error('a sum without memory');
      put(inner, memory, team.place, combineWith(monoidOf(of), load(memory, team.place), value));
    }),
  );
}

/** No part asks for the place of a largest element. */
const nowhere: Expression = { kind: 'number', dtype: 'i32', value: 0 };

/** One of the sums of a product that a thread holds, and where in the tile it is. */
interface Held {
  readonly of: Register;
  readonly row: TileExpression;
  readonly column: TileExpression;
}

interface Product {
  /** Columns of the tile of sums. */
  readonly width: number;
  readonly held: readonly Held[];
  /** Adds what a tile has of it, or, where it is made into a tile, all of it. All threads met when it ends. */
  add(scope: Scope, here: Here): void;
}

/** Sums that begin with 0 at the scope's place. */
function startProduct(scope: Scope, part: Extract<Part, { kind: 'product' | 'sum' }>, work: Work): Product {
  const { tiles, capabilities } = work;
  const product = productOf(part, tiles.passes, tiles.size, capabilities);
  if (product === undefined) throw new Error('a product that was laid out is one');
  return product.matrix === undefined
    ? threadProduct(scope, part, product, work)
    : matrixProduct(scope, part, product, work, product.matrix);
}

/** The first line of an operand: of the tile's rows or columns, or of what is its own. */
function firstOf({ lines }: ChainOperand, { tiles: { passes }, lineFrom, tileFrom }: Here): TileExpression {
  const side = passes.sides.get(lines[0]);
  return side === undefined ? index(0) : side === passes.lines ? lineFrom : tileFrom;
}

/** What is summed: all of it, or as much as a tile has. */
function reach({ kind, contraction }: Extract<Part, { kind: 'product' | 'sum' }>, { tiles, tileFrom }: Here) {
  return kind === 'product'
    ? { from: index(0), length: pointsOf(contraction.reduce) }
    : { from: tileFrom, length: tiles.size };
}

function memoryFor(product: ChainProduct, { strips }: Work, which: 0 | 1): Memory {
  const memory = strips[which].get(stripOf(product, product.operands[which]).dtype);
  if (memory === undefined) throw new Error('a strip without memory');
  return memory;
}

function threadProduct(
  scope: Scope,
  part: Extract<Part, { kind: 'product' | 'sum' }>,
  product: ChainProduct,
  work: Work,
): Product {
  const { size } = work.tiles;
  const { contraction, width, operands } = product;
  const dtype = accumulatorDtype(contraction.result.dtype);
  const shape = { threadRows: size / deep, threadColumns: (width * deep) / threads };
  const share = startShare(scope, { rows: size, columns: width, ...shape }, dtype);
  const [rows, columns] = [share.rows, share.columns];
  return {
    width,
    held: share.sums.flatMap((line, i) => line.map((of, j): Held => ({ of, row: rows[i], column: columns[j] }))),
    add(inner, here) {
      const { from, length } = reach(part, here);
      const brought = operands.map((operand, which) => {
        if (operand.isHere) return undefined;
        const { lines, count } = operand;
        const of = here.to.expression(operand.of);
        const own = { lines, count, sum: contraction.reduce, multiple: part.kind === 'product' ? strip : size };
        return stripIn(memoryFor(product, work, which === 0 ? 0 : 1), {
          of,
          first: firstOf(operand, here),
          ...own,
          threads,
        });
      });
      loop(inner, 0, length, strip, (deeper, start) => {
        for (const of of brought) of?.copy(deeper, add(from, start));
        meet(deeper);
        const here_ = elementOf(here, part, operands[0].of, dtype, start);
        addStrip(deeper, share, brought[0]?.at ?? here_, brought[1]?.at ?? here_);
        meet(deeper);
      });
    },
  };
}

/** An operand made of tiles that are there, from a place along the sum on. */
function elementOf(here: Here, part: Part, of: Expression, dtype: Dtype, start: TileExpression): AtHand {
  return (scope, at, line) => {
    const along = name(scope.kernel, scope.place, add(start, at));
    const [row, column] = here.tiles.passes.lines === 'row' ? [line, along] : [along, line];
    return cast(evaluate(bindElement(scope, here, row, column, part).scope, here.to.expression(of)), dtype);
  };
}

function matrixProduct(
  scope: Scope,
  part: Extract<Part, { kind: 'product' | 'sum' }>,
  product: ChainProduct,
  work: Work,
  dtype: Dtype,
): Product {
  const { kernel } = scope;
  const { size, passes } = work.tiles;
  const { contraction, width, operands } = product;
  // Four subgroups have a quarter of the sums each.
  const [ownRows, ownColumns] = [size / 2, width / 2];
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const own = keep(div(kernel.thread, subgroup));
  const firsts = [keep(mul(div(own, 2), ownRows)), keep(mul(rem(own, 2), ownColumns))];
  const lane = keep(rem(kernel.thread, subgroup));
  const [row, column] = [keep(add(firsts[0], div(lane, 4))), keep(add(firsts[1], mul(rem(lane, 4), 2)))];
  const sums = Array.from({ length: (ownRows * ownColumns) / subgroup }, () => variable(scope, number(0, 'f32')));
  return {
    width,
    held: sums.map((of, at): Held => {
      const place = sumAt(at, ownColumns, subgroup);
      return { of, row: add(row, place.row), column: add(column, place.column) };
    }),
    add(inner, here) {
      const { from, length } = reach(part, here);
      const depth = matrixStrip / dtypeBytes[dtype];
      const brought = operands.map((operand, which): Strips | undefined => {
        if (operand.isHere) return undefined;
        const { lines, count } = operand;
        const of = here.to.expression(operand.of);
        const first = firstOf(operand, here);
        const own = { lines, count, sum: contraction.reduce, multiple: part.kind === 'product' ? depth : size };
        const lying = layStrips({ of, dtype, first, ...own, threads, team: subgroup });
        return stripsIn(inner, memoryFor(product, work, which === 0 ? 0 : 1), lying);
      });
      loop(inner, 0, length, depth, (deeper, start) => {
        for (const of of brought)
          if (of !== undefined) {
            copyStrip(deeper, of, name(kernel, deeper.place, add(from, start)), index(0));
            layDownStrip(deeper, of, index(0));
          }
        meet(deeper);
        const [left, right] = operands.map((operand, which): MatrixOperand => {
          const of = brought[which];
          if (of !== undefined) {
            const { memory, pitch, turned } = of;
            return { memory, pitch, turned, offset: name(kernel, deeper.place, placeOfLine(of, firsts[which])) };
          }
          const tile = here.to.expression(operand.of);
          if (tile.kind !== 'load') throw new Error('matrix instructions take whole tiles');
          const [pitch, turned] = [tile.access.shape[1], passes.lines === 'column'];
          const offset = turned ? add(mul(start, pitch), firsts[which]) : add(mul(firsts[which], pitch), start);
          return {
            memory: kernel.memory(tile.access.buffer),
            pitch,
            turned,
            offset: name(kernel, deeper.place, offset),
          };
        });
        deeper.place.statements.push({
          kind: 'multiply',
          threads: subgroup,
          rows: ownRows,
          columns: ownColumns,
          depth: Math.min(depth, size),
          left,
          right,
          sums,
        });
        meet(deeper);
      });
    },
  };
}

/** Stores a sum over all tiles. */
function finishSum(scope: Scope, here: Here, contraction: Contraction, width: number, { of, row, column }: Held): void {
  const { passes } = here.tiles;
  const { kernel } = scope;
  const own = contraction.axes.filter((axis) => !passes.sides.has(axis));
  const line = bindSide(scope, here, passes.lines, row);
  const at = name(kernel, scope.place, column);
  const inside = both(line.inside, within(at, pointsOf(own), width));
  const store = (inner: Scope): void => {
    const bound = bindPosition({ ...line.scope, place: inner.place, floor: inner.place }, own, at);
    const value = name(kernel, inner.place, cast(read(of), contraction.result.dtype));
    write(bindResult(bound, contraction.result, value), contraction.stores.map(here.to.store));
  };
  if (inside === undefined) store(scope);
  else when(scope, inside, store);
}
