/**
 * How much of one side of a chain a workgroup takes: square tiles of what is handed on, the largest that fit its memory and whose sums fit
 * the registers of its threads. Tiles that are not needed at the same time share a place.
 */
import type { Axis, Buffer, Chain, Contraction, Expression } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { index } from '../tile/build.ts';
import { accumulatorDtype, type Dtype, dtypeBytes } from '../types/dtype.ts';
import { type Part, type Pass, type Passes, passesOf, readsIn, readsOf, storesOf } from './chain-passes.ts';
import type { Side } from './chain-sides.ts';
import { pointsOf } from './cost.ts';
import { dependsOn } from './expression.ts';
import { layStrips, subgroup } from './matrix-strips.ts';
import { matrixProduct } from './team-matrix.ts';
import { stripSize } from './team-product.ts';

/** Of a workgroup: each subgroup multiplies a quarter of a tile, or each thread some rows and columns of it. */
export const threads = 128;
/** So many threads share a column. */
export const deep = 8;
const abreast = threads / deep;
/** Sums that a thread holds at most: a guess at what leaves it registers for everything else. */
const mostSums = 128;
const sizes = [64, 32, 16] as const;

export interface Tiles {
  readonly passes: Passes;
  /** Rows, and columns, of a tile, and elements from one row to the next. */
  readonly size: number;
  pitch(dtype: Dtype): number;
  /** What tiles take in memory, by their elements; and in each pass, where what is handed on lies. */
  readonly places: readonly Dtype[];
  readonly placeOf: readonly ReadonlyMap<Buffer, number>[];
  /** Of both operands of products: elements that strips take at most. */
  readonly strips: readonly [ReadonlyMap<Dtype, number>, ReadonlyMap<Dtype, number>];
}

/** The largest tiles of which there are enough for the machine, else the smallest; undefined where none fit, or where it is no work for tiles. */
export function tilesOf(chain: Chain, capabilities: Capabilities): Tiles | undefined {
  const possible = sizes.flatMap((size): { readonly tiles: Tiles; readonly groups: number }[] => {
    const passes = passesOf(chain, (walked) => walked <= size);
    if (passes === undefined) return [];
    const longest = Math.max(passes.rows, passes.columns);
    if (size > sizes[sizes.length - 1] && size >= 2 * longest) return [];
    const tiles = lay(chain, passes, size, capabilities);
    const groups = pointsOf(chain.axes) * Math.ceil(passes[passes.lines === 'row' ? 'rows' : 'columns'] / size);
    return tiles === undefined ? [] : [{ tiles, groups }];
  });
  return (possible.find(({ groups }) => groups >= capabilities.units) ?? possible.at(-1))?.tiles;
}

function lay(chain: Chain, passes: Passes, size: number, capabilities: Capabilities): Tiles | undefined {
  const { matrices, smallestElement, nearMemory, subgroupThreads } = capabilities;
  // From one row to the next, so that those above each other do not fall on one bank.
  const pitch = (dtype: Dtype): number => size + (matrices.length > 0 ? 16 / dtypeBytes[dtype] : 1);
  const bytesOf = (dtype: Dtype, count: number): number => count * Math.max(smallestElement, dtypeBytes[dtype]);
  const { places, placeOf } = findPlaces(passes.passes, new Set(chain.locals));
  const strips = [new Map<Dtype, number>(), new Map<Dtype, number>()] as const;
  let bytes = places.reduce((sum, dtype) => sum + bytesOf(dtype, size * pitch(dtype)), 0);
  for (const { parts } of passes.passes) {
    let [sums, ownSums] = [0, 0];
    for (const part of parts) {
      if (part.kind === 'reduce') {
        const own = size + (threads / size > subgroupThreads ? threads : 0);
        bytes += part.stage.results.reduce((sum, { value }) => sum + bytesOf(accumulatorDtype(value.dtype), own), 0);
      }
      if (part.kind !== 'product' && part.kind !== 'sum') continue;
      const product = productOf(part, passes, size, capabilities);
      if (product === undefined) return undefined;
      if (part.kind === 'product') ownSums = Math.max(ownSums, (size * product.width) / threads);
      else sums += (size * product.width) / threads;
      product.operands.forEach((operand, which) => {
        if (operand.isHere) return;
        const { dtype, size: own } = stripOf(product, operand);
        strips[which].set(dtype, Math.max(own, strips[which].get(dtype) ?? 0));
      });
    }
    if (sums + ownSums > mostSums) return undefined;
  }
  for (const of of strips) for (const [dtype, count] of of) bytes += bytesOf(dtype, count);
  return bytes > nearMemory ? undefined : { passes, size, pitch, places, placeOf, strips };
}

/** A part that multiplies. */
export type ProductPart = Extract<Part, { kind: 'product' | 'sum' }>;

/** An operand of a product: lines of the tile of sums, brought strip by strip, or made of tiles that are there. */
export interface ChainOperand {
  readonly of: Expression;
  readonly lines: readonly Axis[];
  readonly count: number;
  readonly isHere: boolean;
}

/** A product of a chain: the tile of its sums has `size` rows (rows, or lines) and so many columns. */
export interface ChainProduct {
  readonly contraction: Contraction;
  readonly width: number;
  readonly operands: readonly [ChainOperand, ChainOperand];
  /** What matrix instructions take, where they do. */
  readonly matrix: Dtype | undefined;
}

/** Undefined where not each of the two operands has an axis of its own. */
export function productOf(
  { kind, contraction }: ProductPart,
  { sides, lines, locals }: Passes,
  size: number,
  capabilities: Capabilities,
): ChainProduct | undefined {
  const of = (side: Side): readonly Axis[] => contraction.axes.filter((axis) => sides.get(axis) === side);
  const first = of(kind === 'product' ? 'row' : lines);
  const second = kind === 'product' ? of('column') : contraction.axes.filter((axis) => !first.includes(axis));
  const { left, right } = contraction;
  const isOwn = (one: Expression, axes: readonly Axis[], others: readonly Axis[]): boolean =>
    dependsOn(one, axes) && !dependsOn(one, others);
  const isTurned = isOwn(right, first, second) && !dependsOn(left, first);
  if (!isTurned && !(isOwn(left, first, second) && !dependsOn(right, first))) return undefined;
  // A quarter of a smaller tile has too few rows for them.
  const matrix = size < 32 ? undefined : matrixProduct(contraction, capabilities);
  const given: readonly [Expression, Expression] = isTurned ? [right, left] : [left, right];
  const taken: typeof given | undefined =
    matrix && (isTurned ? [matrix.right, matrix.left] : [matrix.left, matrix.right]);
  const isHere = given.map((one) => [...locals].some((local) => readsIn([one]).has(local)));
  // What is brought has to be in memory; what matrices take of tiles has to be one of them.
  if (isHere[1] || (kind === 'product' && isHere[0])) return undefined;
  const isTaken =
    taken !== undefined && (!isHere[0] || (taken[0].kind === 'load' && locals.has(taken[0].access.buffer)));
  const [one, other] = isTaken ? taken : given;
  // As many as threads, or half as many as two subgroups, have side by side.
  const multiple = isTaken ? subgroup : abreast;
  const own = Math.ceil(pointsOf(second) / multiple) * multiple;
  return {
    contraction,
    width: kind === 'product' ? size : own,
    operands: [
      { of: one, lines: first, count: size, isHere: isHere[0] },
      { of: other, lines: second, count: kind === 'product' ? size : own, isHere: false },
    ],
    matrix: isTaken ? matrix?.dtype : undefined,
  };
}

/** What a strip of an operand takes. */
export function stripOf(
  { contraction, matrix }: ChainProduct,
  { of, lines, count }: ChainOperand,
): { readonly dtype: Dtype; readonly size: number } {
  const operand = { of, lines, sum: contraction.reduce, first: index(0), count, multiple: 1, threads };
  if (matrix !== undefined)
    return { dtype: matrix, size: layStrips({ ...operand, dtype: matrix, team: subgroup }).size };
  return { dtype: accumulatorDtype(contraction.result.dtype), size: stripSize(operand) };
}

/** A tile from the part that writes it to the last one that reads it. */
interface Life {
  readonly buffer: Buffer;
  readonly pass: number;
  readonly first: number;
  last: number;
  place: number;
}

function findPlaces(passes: readonly Pass[], locals: ReadonlySet<Buffer>): Pick<Tiles, 'places' | 'placeOf'> {
  const parts = passes.flatMap((pass, number) => pass.parts.map((part) => ({ part, number })));
  const newest = new Map<object, Life>();
  const lives: Life[] = [];
  const placed = passes.map(() => new Map<Buffer, Life>());
  parts.forEach(({ part, number }, at) => {
    for (const read of readsOf(part)) {
      const life = newest.get(read);
      if (life === undefined) continue;
      life.last = at;
      placed[number].set(life.buffer, life);
    }
    for (const buffer of new Set(storesOf(part).map(({ access }) => access.buffer))) {
      if (!locals.has(buffer)) continue;
      const life: Life = { buffer, pass: number, first: at, last: at, place: -1 };
      newest.set(buffer, life);
      lives.push(life);
      placed[number].set(buffer, life);
    }
  });
  const places: { readonly dtype: Dtype; until: number }[] = [];
  for (const life of lives) {
    // An element that is read where the new one is stored may make room for it.
    const begin = parts[life.first].part.kind === 'points' ? life.first : life.first - 1;
    const free = places.findIndex(({ dtype, until }) => dtype === life.buffer.dtype && until <= begin);
    life.place = free === -1 ? places.length : free;
    if (free === -1) places.push({ dtype: life.buffer.dtype, until: life.last });
    else places[free].until = life.last;
  }
  return {
    places: places.map(({ dtype }) => dtype),
    placeOf: placed.map((of) => new Map([...of].map(([buffer, { place }]) => [buffer, place]))),
  };
}
