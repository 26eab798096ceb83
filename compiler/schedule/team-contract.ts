/**
 * Contractions on machines with workgroups, as matrix products: a workgroup computes a tile of the result. Again and again its
 * threads copy a strip of both operands to workgroup memory, meet, and each multiplies its own few rows and columns of it.
 */
import type { Axis, Contraction, Expression } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { add, cast, div, expression, fma, load, min, mul, number, read, rem, where } from '../tile/build.ts';
import type { Memory, TileExpression } from '../tile/tile.ts';
import { accumulatorDtype } from '../types/dtype.ts';
import { asRegion } from './contract.ts';
import { pointsOf, strideAlong } from './cost.ts';
import { dependsOn, evaluate, write } from './expression.ts';
import { bindPosition } from './grid.ts';
import { assign, bindResult, loop, name, type Scope, variable, when } from './scope.ts';
import { emitMatrixContraction, matrixProduct } from './team-matrix.ts';
import { emitTeamRegion } from './team-region.ts';
import { both, type Extent, type Matrices, meet, within } from './team.ts';

/** A tile of the result, and what of it one thread computes. */
interface TeamTile {
  readonly rows: number;
  readonly columns: number;
  readonly threadRows: number;
  readonly threadColumns: number;
}

/** The length of a strip: what is summed between two meetings. */
const strip = 16;

const tiles: readonly TeamTile[] = [
  { rows: 64, columns: 64, threadRows: 4, threadColumns: 4 },
  { rows: 32, columns: 64, threadRows: 4, threadColumns: 4 },
  { rows: 64, columns: 32, threadRows: 4, threadColumns: 4 },
  { rows: 32, columns: 32, threadRows: 4, threadColumns: 4 },
  { rows: 64, columns: 16, threadRows: 4, threadColumns: 4 },
  { rows: 16, columns: 64, threadRows: 4, threadColumns: 4 },
  { rows: 32, columns: 32, threadRows: 2, threadColumns: 2 },
  { rows: 16, columns: 32, threadRows: 2, threadColumns: 2 },
  { rows: 32, columns: 16, threadRows: 2, threadColumns: 2 },
  { rows: 16, columns: 16, threadRows: 2, threadColumns: 2 },
];

const threadsOf = (tile: TeamTile): number => (tile.rows / tile.threadRows) * (tile.columns / tile.threadColumns);

/** Emits the body of a contraction's kernel for teams of threads. */
export function emitTeamContraction(scope: Scope, contraction: Contraction, capabilities: Capabilities): Extent {
  const matrices = asMatrices(contraction);
  if (matrices === undefined) return emitTeamRegion(scope, asRegion(contraction), capabilities);
  const product = matrixProduct(contraction, capabilities);
  if (product !== undefined) return emitMatrixContraction(scope, contraction, matrices, product, capabilities);
  const { outer, rows, columns, sum } = matrices;
  const tile = chooseTile(matrices, capabilities);
  const threads = threadsOf(tile);
  const dtype = accumulatorDtype(contraction.result.dtype);
  const [height, width, length] = [pointsOf(rows), pointsOf(columns), pointsOf(sum)];
  const [downward, across] = [Math.ceil(height / tile.rows), Math.ceil(width / tile.columns)];
  const { kernel } = scope;
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const above = keep(div(kernel.item, across));
  const point = bindPosition(scope, outer, keep(div(above, downward)));
  const rowFrom = keep(mul(rem(above, downward), tile.rows));
  const columnFrom = keep(mul(rem(kernel.item, across), tile.columns));
  // Neighbouring threads have neighbouring columns; a thread's own lie a whole row of threads apart.
  const abreast = tile.columns / tile.threadColumns;
  const deep = tile.rows / tile.threadRows;
  const threadRow = keep(div(kernel.thread, abreast));
  const threadColumn = keep(rem(kernel.thread, abreast));
  const sums = Array.from({ length: tile.threadRows }, () =>
    Array.from({ length: tile.threadColumns }, () => variable(point, number(0, dtype))),
  );
  const left = operand(scope, contraction.left, rows, sum, rowFrom, tile.rows, threads, dtype);
  const right = operand(scope, contraction.right, columns, sum, columnFrom, tile.columns, threads, dtype);
  loop(point, 0, length, strip, (inner, from) => {
    left.copy(inner, from);
    right.copy(inner, from);
    meet(inner);
    loop(inner, 0, strip, 1, (deeper, at) => {
      const several = (of: Strip, first: TileExpression, apart: number, count: number): TileExpression[] =>
        Array.from({ length: count }, (_, which) =>
          name(kernel, deeper.place, load(of.memory, add(mul(at, of.pitch), add(first, which * apart)))),
        );
      const a = several(left, threadRow, deep, tile.threadRows);
      const b = several(right, threadColumn, abreast, tile.threadColumns);
      sums.forEach((row, i) => row.forEach((of, j) => assign(deeper, of, fma(a[i], b[j], read(of)))));
    });
    meet(inner);
  });
  sums.forEach((line, i) =>
    line.forEach((of, j) => {
      const row = name(kernel, point.place, add(rowFrom, add(threadRow, i * deep)));
      const column = name(kernel, point.place, add(columnFrom, add(threadColumn, j * abreast)));
      const inside = both(within(row, height, tile.rows), within(column, width, tile.columns));
      const store = (inner: Scope): void => {
        const bound = bindPosition(bindPosition(inner, rows, row), columns, column);
        const value = name(kernel, inner.place, cast(read(of), contraction.result.dtype));
        write(bindResult(bound, contraction.result, value), contraction.stores);
      };
      if (inside === undefined) store(point);
      else when(point, inside, store);
    }),
  );
  return { grid: pointsOf(outer) * downward * across, workgroup: threads };
}

/** Too few of anything for a tile: a region sums as well. */
const worthTiling = 8;

/** Axes of the result that one operand depends on are its own; those of both, or of neither, are outer. */
function asMatrices({ axes, reduce, left, right, bytes }: Contraction): Matrices | undefined {
  const owned = (axis: Axis, of: Expression, other: Expression): boolean =>
    dependsOn(of, [axis]) && !dependsOn(other, [axis]);
  const rows = axes.filter((axis) => owned(axis, left, right));
  const columns = axes.filter((axis) => owned(axis, right, left));
  const outer = axes.filter((axis) => !rows.includes(axis) && !columns.includes(axis));
  const least = Math.min(pointsOf(rows), pointsOf(columns), pointsOf(reduce));
  return bytes === true || least < worthTiling || pointsOf(axes) === 0
    ? undefined
    : { outer, rows, columns, sum: reduce };
}

/** The tile with which the machine's units are done first. */
function chooseTile(
  { outer, rows, columns }: Matrices,
  { units, nearMemory, workgroupThreads }: Capabilities,
): TeamTile {
  const cost = (tile: TeamTile): number => {
    const groups =
      pointsOf(outer) * Math.ceil(pointsOf(rows) / tile.rows) * Math.ceil(pointsOf(columns) / tile.columns);
    const { threadRows, threadColumns } = tile;
    const threads = threadsOf(tile);
    // A multiplication, a read of workgroup memory, a read of the operands: as a thread waits for them.
    const step = threadRows * threadColumns + threadRows + threadColumns + (4 * (tile.rows + tile.columns)) / threads;
    return Math.ceil((groups * threads) / (128 * units)) * step;
  };
  const fitting = tiles.filter(
    (tile) => threadsOf(tile) <= workgroupThreads && 4 * strip * (tile.rows + tile.columns + 2) <= nearMemory,
  );
  return fitting.reduce((best, tile) => (cost(tile) < cost(best) ? tile : best));
}

/** A strip of an operand in workgroup memory: element (at, line) lies at pitch·at + line. */
interface Strip {
  readonly memory: Memory;
  readonly pitch: number;
}

interface Copied extends Strip {
  /** Copies what lies from `from` on along the sum. */
  copy(scope: Scope, from: TileExpression): void;
}

function operand(
  scope: Scope,
  of: Expression,
  lines: readonly Axis[],
  sum: readonly Axis[],
  lineFrom: TileExpression,
  count: number,
  threads: number,
  dtype: ReturnType<typeof accumulatorDtype>,
): Copied {
  const last = sum[sum.length - 1];
  const alongSum = of.kind === 'load' && last !== undefined && Math.abs(strideAlong(of.access, last) ?? 0) === 1;
  // One more, so that neighbours along the sum do not fall on the same bank.
  const pitch = alongSum ? count + 1 : count;
  const memory = scope.kernel.shared(dtype, strip * pitch);
  const { kernel } = scope;
  const [height, length] = [pointsOf(lines), pointsOf(sum)];
  return {
    memory,
    pitch,
    copy(inner, from) {
      for (let first = 0; first < strip * count; first += threads) {
        const keep = (value: TileExpression): TileExpression => name(kernel, inner.place, value);
        const element = keep(add(kernel.thread, first));
        const line = keep(alongSum ? div(element, strip) : rem(element, count));
        const at = keep(alongSum ? rem(element, strip) : div(element, count));
        const lineAt = keep(add(lineFrom, line));
        const sumAt = keep(add(expression(from), at));
        const inside = both(within(lineAt, height, count), within(sumAt, length, strip));
        const held = (place: TileExpression, size: number, block: number): TileExpression =>
          size % block === 0 ? place : keep(min(place, size - 1));
        const bound = bindPosition(
          bindPosition(inner, lines, held(lineAt, height, count)),
          sum,
          held(sumAt, length, strip),
        );
        const value = keep(cast(evaluate(bound, of), dtype));
        inner.place.statements.push({
          kind: 'store',
          memory,
          offset: keep(add(mul(at, pitch), line)),
          stride: 1,
          value: inside === undefined ? value : keep(where(inside, value, number(0, dtype))),
        });
      }
    },
  };
}
