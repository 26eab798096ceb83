/**
 * Tile sizes of a contraction, by a small cost model: rows × vectors of the micro-kernel (all accumulators stay in
 * registers), how much of the result one item computes, how long a run of the sum is packed at a time, and whether an
 * operand is packed at all. A function of shapes and of the machine's registers and caches only.
 */
import type { Capabilities } from '../targets/target.ts';

/** The contraction as a matrix product, for each of `outer` points: [m × k] · [k × n]. */
export interface Problem {
  readonly outer: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Can the sum be cut in runs? */
  readonly cuttable: boolean;
  readonly left: Operand;
  readonly right: Operand;
}

export interface Operand {
  /** `plain`: a load and nothing else. */
  readonly plain: boolean;
  /** Which way the elements lie side by side. */
  readonly contiguous: 'along' | 'sum' | 'neither';
  /** Bytes from one of its rows (or columns, as it lies) to the next. */
  readonly apart: number;
  /** Bytes of all of it that one outer point needs. */
  readonly size: number;
  /** Cycles to evaluate one vector of it. */
  readonly cycles: number;
}

export interface Tiles {
  /** The micro-kernel: rows × vectors. */
  readonly rows: number;
  readonly vectors: number;
  /** The part of the result one item computes. */
  readonly mBlock: number;
  readonly nBlock: number;
  /** Length of the runs the sum is cut into. */
  readonly kBlock: number;
  readonly packLeft: boolean;
  readonly packRight: boolean;
  /** Cycles for everything. */
  readonly cycles: number;
}

export function chooseTiles(problem: Problem, capabilities: Capabilities): Tiles {
  const lanes = capabilities.vectorLanes;
  const shape = chooseShape(problem, lanes, capabilities.vectorRegisters);
  const kBlock = chooseRun(problem);
  const width = shape.vectors * lanes;
  const mTiles = Math.ceil(problem.m / shape.rows);
  const nTiles = Math.ceil(problem.n / width);
  const total = problem.outer * mTiles * nTiles * problem.k * microCycles(problem, shape.rows, shape.vectors);
  let best: Tiles | undefined;
  let bestScore = Infinity;
  for (const mPart of blockCounts(mTiles)) {
    for (const nPart of blockCounts(nTiles)) {
      const items = problem.outer * mPart.parts * nPart.parts;
      if (mPart.parts * nPart.parts > 1 && items > 64) break;
      const mBlock = mPart.tiles * shape.rows;
      const tiles = {
        ...shape,
        mBlock,
        nBlock: nPart.tiles * width,
        kBlock,
        ...packing(problem, mPart.tiles, nPart.tiles, capabilities.cache),
      };
      const cycles = itemCycles(problem, tiles, mPart.tiles, nPart.tiles, lanes, capabilities.cache);
      // Time on one thread, on the machine's and on more, each against a perfect division; no item below a few microseconds.
      let score = cycles < 15_000 && items > 1 ? 15_000 / cycles : 0;
      for (const [threads, weight] of [
        [1, 1],
        [capabilities.units, 2],
        [4 * capabilities.units, 0.2],
      ])
        score +=
          (weight * Math.ceil(items / threads) * cycles) /
          (total / Math.min(threads, Math.max(1, Math.ceil(total / 15_000))));
      if (score >= bestScore) continue;
      bestScore = score;
      best = { ...tiles, cycles: cycles * items };
    }
  }
  if (best === undefined) {
    const tiles = {
      ...shape,
      mBlock: mTiles * shape.rows,
      nBlock: nTiles * width,
      kBlock,
      ...packing(problem, mTiles, nTiles, capabilities.cache),
    };
    return { ...tiles, cycles: itemCycles(problem, tiles, mTiles, nTiles, lanes, capabilities.cache) * problem.outer };
  }
  return best;
}

/** Ways to cut `tiles` into equal blocks. */
function blockCounts(tiles: number): { readonly parts: number; readonly tiles: number }[] {
  const found: { parts: number; tiles: number }[] = [];
  for (let parts = 1; parts <= Math.min(tiles, 64); parts++) {
    const each = Math.ceil(tiles / parts);
    const needed = Math.ceil(tiles / each);
    if (found[found.length - 1]?.parts !== needed) found.push({ parts: needed, tiles: each });
  }
  return found;
}

/**
 * Cycles of one step of the sum. One vector multiply-add a cycle (two on wider cores, which keep the proportions); small
 * tiles wait for their loads, or for the four cycles an addition takes. Every row and every vector is a load, mostly beside the
 * arithmetic: square tiles need fewer of them. In a plain product that decides (6 × 4 instead of 14 × 2 takes a quarter off the
 * job mlp-wide on Cascade Lake); windows of several axes share the loads of their rows, and have come out a tenth slower that way.
 */
function microCycles({ cuttable }: Problem, rows: number, vectors: number): number {
  const loads = cuttable ? 0.4 * vectors + 0.2 * rows : 0.7 * vectors + 0.1 * rows;
  return Math.max(rows * vectors, vectors + 0.8 * rows + 1, 5) + loads;
}

/** Rows × vectors with the least work for this shape, edges included, that fits the registers. */
function chooseShape(problem: Problem, lanes: number, registers: number): { rows: number; vectors: number } {
  let best = { rows: 1, vectors: 1 };
  let least = Infinity;
  const mostVectors = Math.min(6, Math.max(1, Math.ceil(problem.n / lanes)));
  for (let vectors = 1; vectors <= mostVectors; vectors++) {
    // Without vectors there are no masks: the tile must divide the columns.
    if (lanes === 1 && problem.n % vectors !== 0) continue;
    for (let rows = 1; rows <= Math.min(problem.m, 24) && rows * vectors + vectors + 1 <= registers; rows++) {
      const whole = Math.floor(problem.m / rows);
      const left = problem.m % rows;
      const perColumn =
        whole * microCycles(problem, rows, vectors) + (left > 0 ? microCycles(problem, left, vectors) : 0);
      // A remainder is a second micro-kernel to compile.
      const cost = Math.ceil(problem.n / (vectors * lanes)) * perColumn * (left > 0 ? 1.01 : 1);
      if (cost >= least) continue;
      least = cost;
      best = { rows, vectors };
    }
  }
  return best;
}

/** Equal runs of at most 1024: a panel of the right operand stays in the second-level cache beside the rows it meets. */
function chooseRun({ k, cuttable }: Problem): number {
  if (!cuttable || k <= 1024) return k;
  const runs = Math.ceil(k / 1024);
  for (let count = runs; count < runs * 2; count++) if (k % count === 0) return k / count;
  return Math.ceil(Math.ceil(k / runs) / 4) * 4;
}

/**
 * Packing pays when a panel is read often enough, unless the operand is small and lies well as it is. Rows a multiple of
 * 2 or 4 KiB apart fall on the same few cache lines: those are packed soon.
 */
function packing(
  { left, right }: Problem,
  mTiles: number,
  nTiles: number,
  cache: number,
): { packLeft: boolean; packRight: boolean } {
  const fits = (of: Operand, collides: number): boolean =>
    of.plain && of.size <= cache / 3 && of.apart % collides !== 0;
  return {
    packLeft: nTiles >= 2 && !fits(left, 2048),
    packRight:
      right.contiguous === 'sum' ||
      (mTiles >= 2 &&
        !(right.contiguous === 'along' && fits(right, 4096)) &&
        (mTiles >= 4 || right.contiguous !== 'along' || !right.plain)),
  };
}

/**
 * Cycles one element takes to come from memory or from the cache all cores share: copied row after row, read in place
 * by a tile's many rows at once, or again from a packed block that has left the core's own cache.
 */
const fetch = { copied: 0.4, inPlace: 0.8, again: 0.05 } as const;

/** Cycles of one item. */
function itemCycles(
  problem: Problem,
  tiles: Omit<Tiles, 'cycles'>,
  mTiles: number,
  nTiles: number,
  lanes: number,
  cache: number,
): number {
  const { k, left, right } = problem;
  const compute = mTiles * nTiles * k * microCycles(problem, tiles.rows, tiles.vectors);
  const operand = (of: Operand, packed: boolean, size: number, times: number): number => {
    const near = 4 * size <= cache / 2;
    if (!packed) return size * fetch.inPlace * (near ? 1 : times);
    const copy = of.contiguous === 'neither' ? 1.5 + of.cycles / lanes : (3 + of.cycles) / lanes;
    return size * (fetch.copied + copy + (near ? 0 : fetch.again * (times - 1)));
  };
  const lefts = operand(left, tiles.packLeft, tiles.mBlock * k, nTiles);
  // Each panel of the right operand meets all rows at once.
  const rights = operand(right, tiles.packRight, tiles.nBlock * k, 1) * (right.contiguous === 'sum' ? 1.4 : 1);
  const again = Math.ceil(k / tiles.kBlock) - 1;
  return compute + lefts + rights + (again * 4 * tiles.mBlock * tiles.nBlock) / lanes + 500;
}
