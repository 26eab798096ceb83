/**
 * Contractions as matrix products: one axis of the result becomes the vectors (n), one the rows (m), the rest are outer
 * points. An item computes a block of the result: for each run of the sum it packs what is worth packing, then the
 * micro-kernel goes over the block tile by tile. Where no axis makes a product of it, a region does.
 */
import { apply, cast, number } from '../loop/build.ts';
import type { Axis, Contraction, Expression, Region } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { div, equal, index, min, mul, rem, sub } from '../tile/build.ts';
import type { TileExpression } from '../tile/tile.ts';
import { accumulatorDtype } from '../types/dtype.ts';
import { chooseTiles, type Operand, type Problem, type Tiles } from './choose-tiles.ts';
import { costOf, itemsFor, partsOf, pointsOf, strideAlong } from './cost.ts';
import { dependsOn } from './expression.ts';
import { bindPosition, deal, forUnits } from './grid.ts';
import { emitBlock } from './micro-kernel.ts';
import { packRight } from './pack.ts';
import { type Block, contiguousAlong, localAxes, type Product } from './product.ts';
import { emitRegion } from './region.ts';
import { bind, name, type Scope } from './scope.ts';
import { packWindow, windowOf, windowSize, windowVectors } from './window.ts';

/** Emits the body of a contraction's kernel; returns its grid. */
export function emitContraction(
  scope: Scope,
  item: TileExpression,
  contraction: Contraction,
  capabilities: Capabilities,
): number {
  const found = asProduct(contraction, capabilities.vectorLanes);
  if (found === undefined) return emitRegion(scope, item, asRegion(contraction), capabilities);
  const { product, tiles, windowed } = chooseRows(found, capabilities);
  const lanes = capabilities.vectorLanes;
  const mBlocks = Math.ceil(product.m.size / tiles.mBlock);
  const nBlocks = Math.ceil(product.n.size / tiles.nBlock);
  const units = pointsOf(product.outer) * mBlocks * nBlocks;
  const grid = deal(units, itemsFor(tiles.cycles * 2, units));
  const whole: Block = {
    product,
    tiles,
    lanes,
    dtype: accumulatorDtype(contraction.result.dtype),
    mFrom: index(0),
    nFrom: index(0),
    restRows: product.m.size % tiles.rows,
    wholeRows: index(0),
    columns: index(product.n.size),
    hasRest: equal(0, 0),
    ragged: product.n.size % (tiles.vectors * lanes) !== 0,
    axes: localAxes(tiles),
  };
  const window = windowed ? windowOf(product, tiles.mBlock, whole.axes.row) : undefined;
  // The same panels for every unit of an item: packed once.
  const once =
    tiles.packRight && nBlocks === 1 && tiles.kBlock >= pointsOf(product.k) && !dependsOn(product.right, product.outer);
  const shared = once ? packRight(scope, whole, undefined) : product.right;
  forUnits(scope, item, units, grid, (inner, unit) => {
    const keep = (value: TileExpression): TileExpression => name(inner.kernel, inner.place, value);
    const above = keep(div(unit, nBlocks));
    const row = keep(rem(above, mBlocks));
    const point = bindPosition(inner, product.outer, keep(div(above, mBlocks)));
    const mFrom = keep(mul(row, tiles.mBlock));
    const nFrom = keep(mul(rem(unit, nBlocks), tiles.nBlock));
    const left = window === undefined ? product.left : packWindow(bind(point, product.m, mFrom), window, lanes);
    emitBlock(point, {
      ...whole,
      product: { ...product, left, right: shared },
      tiles: { ...tiles, packRight: tiles.packRight && !once, packLeft: tiles.packLeft && window === undefined },
      mFrom,
      nFrom,
      wholeRows: keep(extent(product.m.size - whole.restRows, mFrom, tiles.mBlock, mBlocks)),
      columns: keep(extent(product.n.size, nFrom, tiles.nBlock, nBlocks)),
      hasRest: keep(equal(row, mBlocks - 1)),
    });
  });
  return grid.items;
}

interface Rows {
  readonly product: Product;
  readonly tiles: Tiles;
  /** The left operand is read from a copied window. */
  readonly windowed: boolean;
}

/**
 * The product as it is, or with another axis as its rows along which a window of the left operand is short: whichever
 * takes fewer cycles.
 */
function chooseRows(product: Product, capabilities: Capabilities): Rows {
  const lanes = capabilities.vectorLanes;
  const problem = problemOf(product, lanes);
  const tiles = chooseTiles(problem, capabilities);
  let best: Rows = { product, tiles, windowed: false };
  if (product.left.kind !== 'load' || product.left.guard !== 'zero') return best;
  const { access } = product.left;
  const points = problem.outer * problem.m * problem.n * problem.k;
  // Asking for the border at every element takes longer than the multiplication.
  const asking = tiles.packLeft ? 0 : (2 * points) / (tiles.vectors * lanes);
  let least = tiles.cycles + asking + storingCycles(product, lanes);
  const { contraction, outer, m, left, right } = product;
  const candidates = contraction.axes
    .filter((axis) => (axis === m || outer.includes(axis)) && dependsOn(left, [axis]) && !dependsOn(right, [axis]))
    .map((axis) => ({ axis, stride: Math.abs(strideAlong(access, axis) ?? Infinity) }))
    .sort((a, b) => a.stride - b.stride);
  for (const { axis } of candidates) {
    const turned: Product = {
      ...product,
      m: axis,
      outer: contraction.axes.filter((of) => of !== product.n && of !== axis),
    };
    const whole = windowOf(turned, axis.size, axis);
    if (whole === undefined) continue;
    const of = problemOf(turned, lanes);
    const chosen = chooseTiles(
      { ...of, left: { ...of.left, plain: true, contiguous: 'sum', apart: 4, size: 4 * windowSize(whole) } },
      capabilities,
    );
    const blocks = Math.ceil(axis.size / chosen.mBlock) * Math.ceil(turned.n.size / chosen.nBlock);
    const copying = of.outer * blocks * windowVectors(whole, lanes) * 6;
    const cycles = chosen.cycles + copying + storingCycles(turned, lanes);
    if (cycles >= least) continue;
    least = cycles;
    best = { product: turned, tiles: chosen, windowed: true };
  }
  return best;
}

/** Cycles the stores wait for memory: rows on different pages are neither fetched ahead nor together. */
function storingCycles({ contraction, m }: Product, lanes: number): number {
  const { accesses } = partsOf({ kind: 'store', axes: [], stores: contraction.stores });
  const far = accesses.filter((access) => Math.abs(strideAlong(access, m) ?? Infinity) >= 1024).length;
  return (20 * far * pointsOf(contraction.axes)) / lanes;
}

/** How much of `size` a block of `block` from `from` has. */
const extent = (size: number, from: TileExpression, block: number, blocks: number): TileExpression =>
  blocks === 1
    ? index(size)
    : size % block === 0 && size / block === blocks
      ? index(block)
      : min(sub(index(size), from), block);

/** The same as reduce and store stages. */
export function asRegion({ axes, reduce, left, right, bytes, result, stores }: Contraction): Region {
  const dtype = accumulatorDtype(result.dtype);
  const value = bytes === true ? sumOfFour(left, right) : apply('mul', cast(left, dtype), cast(right, dtype));
  return {
    kind: 'region',
    axes,
    stages: [
      { kind: 'reduce', axes: reduce, results: [{ result, monoid: 'sum', value }] },
      { kind: 'store', axes: [], stores },
    ],
  };
}

/** The product of two words of bytes, one byte after the other. */
function sumOfFour(left: Expression, right: Expression): Expression {
  const count = (value: number): Expression => number(value, 'i32');
  return [0, 8, 16, 24]
    .map((at) => {
      const unsigned = apply('and', apply('shr', left, count(at)), count(255));
      return apply('mul', unsigned, apply('shr', apply('shl', right, count(24 - at)), count(24)));
    })
    .reduce((sum, product) => apply('add', sum, product));
}

/** Chooses n by what it costs: lanes left empty, an operand read across its rows, results stored across theirs. */
function asProduct(contraction: Contraction, lanes: number): Product | undefined {
  const { axes, reduce } = contraction;
  const sum = pointsOf(reduce);
  const last = reduce[reduce.length - 1];
  if (sum < 4 || last === undefined || pointsOf(axes) === 0) return undefined;
  let best: { n: Axis; left: Expression; right: Expression; swapped: boolean } | undefined;
  let least = Infinity;
  for (const n of axes) {
    for (const swapped of [false, true]) {
      const left = swapped ? contraction.right : contraction.left;
      const right = swapped ? contraction.left : contraction.right;
      if (dependsOn(left, [n]) || !dependsOn(right, [n])) continue;
      const used = (Math.ceil(n.size / lanes) * lanes) / n.size;
      const compute = (pointsOf(axes) * sum * used) / lanes;
      const across = contiguousAlong(right, n)
        ? 0
        : (contiguousAlong(right, last) ? 0.6 : 1.6) *
          pointsOf([...axes, ...reduce].filter((axis) => dependsOn(right, [axis])));
      const storing =
        contraction.stores.filter(({ access }) => strideAlong(access, n) !== 1).length * 3 * pointsOf(axes);
      // Of two that are alike, the one whose border is asked for once a vector.
      const border = left.kind === 'load' && left.guard === 'zero' ? 0.05 * compute : 0;
      const cost = compute + across + storing + border;
      if (cost >= least || (used > 4 && n.size < lanes)) continue;
      least = cost;
      best = { n, left, right, swapped };
    }
  }
  if (best === undefined) return undefined;
  const { n, left, right, swapped } = best;
  const rows = axes.filter((axis) => axis !== n && !dependsOn(right, [axis]) && dependsOn(left, [axis]));
  const m = rowsOf(contraction, rows) ?? { name: 'm', size: 1 };
  const outer = axes.filter((axis) => axis !== n && axis !== m);
  const k = [...reduce].sort(
    (a, b) =>
      Number(contiguousAlong(left, a) || contiguousAlong(right, a)) -
      Number(contiguousAlong(left, b) || contiguousAlong(right, b)),
  );
  return { outer, m, n, k, left, right, swapped, contraction };
}

/** The axis whose points lie closest in the result, if it fills a tile: else the longest. */
function rowsOf({ stores }: Contraction, rows: readonly Axis[]): Axis | undefined {
  const apart = (axis: Axis): number => Math.abs(strideAlong(stores[0].access, axis) ?? Infinity);
  const close = rows.filter(({ size }) => size >= 12).sort((a, b) => apart(a) - apart(b));
  return close[0] ?? [...rows].sort((a, b) => b.size - a.size)[0];
}

/** Bytes between the rows of an operand that lies along one of the two axes. */
function apartOf(of: Expression, along: Axis, last: Axis): number {
  if (of.kind !== 'load') return 0;
  const strides = [along, last].map((axis) => Math.abs(strideAlong(of.access, axis) ?? 0));
  return 4 * Math.max(...strides);
}

function problemOf({ outer, m, n, k, left, right }: Product, lanes: number): Problem {
  const last = k[k.length - 1];
  const operand = (of: Expression, along: Axis): Operand => ({
    plain: of.kind === 'load' && of.guard === 'none',
    contiguous: lanes === 1 || contiguousAlong(of, along) ? 'along' : contiguousAlong(of, last) ? 'sum' : 'neither',
    apart: apartOf(of, along, last),
    size: 4 * pointsOf([along, ...k].filter((axis) => dependsOn(of, [axis]))),
    cycles: costOf([of]),
  });
  return {
    outer: pointsOf(outer),
    m: m.size,
    n: n.size,
    k: pointsOf(k),
    cuttable: k.length === 1,
    left: operand(left, m),
    right: operand(right, n),
  };
}
