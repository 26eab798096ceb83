/**
 * Contractions on machines with workgroups, as matrix products: a workgroup computes a tile of the result. Again and again its
 * threads copy a strip of both operands to workgroup memory, meet, and each multiplies its own few rows and columns of it.
 */
import type { Axis, Contraction, Expression } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { add, cast, div, mul, read, rem } from '../tile/build.ts';
import type { TileExpression } from '../tile/tile.ts';
import { accumulatorDtype } from '../types/dtype.ts';
import { asRegion } from './contract.ts';
import { pointsOf } from './cost.ts';
import { dependsOn, write } from './expression.ts';
import { bindPosition } from './grid.ts';
import { bindResult, loop, name, type Scope } from './scope.ts';
import { emitMatrixContraction, matrixProduct } from './team-matrix.ts';
import { addStrip, startShare, strip, stripIn, stripSize, type TeamTile, threadsOf } from './team-product.ts';
import { emitTeamRegion } from './team-region.ts';
import { both, type Extent, type Matrices, meet, whenInside, within } from './team.ts';

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
  const share = startShare(point, tile, dtype);
  const [left, right] = [
    { of: contraction.left, lines: rows, first: rowFrom, count: tile.rows },
    { of: contraction.right, lines: columns, first: columnFrom, count: tile.columns },
  ].map((of) => {
    const operand = { ...of, sum, multiple: strip, threads };
    return stripIn(kernel.shared(dtype, stripSize(operand)), operand);
  });
  loop(point, 0, length, strip, (inner, from) => {
    left.copy(inner, from);
    right.copy(inner, from);
    meet(inner);
    addStrip(inner, share, left.at, right.at);
    meet(inner);
  });
  share.sums.forEach((line, i) =>
    line.forEach((of, j) => {
      const row = name(kernel, point.place, add(rowFrom, share.rows[i]));
      const column = name(kernel, point.place, add(columnFrom, share.columns[j]));
      const inside = both(within(row, height, tile.rows), within(column, width, tile.columns));
      whenInside(point, inside, (inner) => {
        const bound = bindPosition(bindPosition(inner, rows, row), columns, column);
        const value = name(kernel, inner.place, cast(read(of), contraction.result.dtype));
        write(bindResult(bound, contraction.result, value), contraction.stores);
      });
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
