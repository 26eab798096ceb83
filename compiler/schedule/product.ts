/** A contraction seen as a matrix product, and the axes its kernel counts with. */
import { type Affine, affine, axisAt, rowMajorStrides } from '../loop/build.ts';
import type { Axis, Contraction, Expression } from '../loop/loop.ts';
import type { TileExpression } from '../tile/tile.ts';
import type { Dtype } from '../types/dtype.ts';
import type { Tiles } from './choose-tiles.ts';
import { strideAlong } from './cost.ts';
import { walk } from './rewrite.ts';

/** `left` has m, `right` has n; both may have outer axes and the sum's. */
export interface Product {
  readonly outer: readonly Axis[];
  readonly m: Axis;
  readonly n: Axis;
  /** The sum's axes, one along which an operand is contiguous last. */
  readonly k: readonly Axis[];
  readonly left: Expression;
  readonly right: Expression;
  /** `left` is the contraction's right operand. */
  readonly swapped: boolean;
  readonly contraction: Contraction;
}

/** The block of the result one item computes. */
export interface Block {
  readonly product: Product;
  readonly tiles: Tiles;
  readonly lanes: number;
  /** Of the accumulators. */
  readonly dtype: Dtype;
  readonly mFrom: TileExpression;
  readonly nFrom: TileExpression;
  /** Rows in whole tiles, and columns, of this block. */
  readonly wholeRows: TileExpression;
  readonly columns: TileExpression;
  /** Rows after the last whole tile, and the condition for the blocks that have them. */
  readonly restRows: number;
  readonly hasRest: TileExpression;
  /** Columns may end within a vector. */
  readonly ragged: boolean;
  readonly axes: LocalAxes;
}

/** Rows and columns counted from the start of the block, from the start of their tile, and the tile's number. */
export interface LocalAxes {
  readonly row: Axis;
  readonly rowTile: Axis;
  readonly rowLane: Axis;
  readonly column: Axis;
  readonly columnTile: Axis;
  readonly columnLane: Axis;
  /** Position within the run of the sum. */
  readonly position: Axis;
}

export function localAxes(tiles: Tiles): LocalAxes {
  const rows = tiles.mBlock + tiles.rows;
  return {
    row: { name: 'row', size: rows },
    rowTile: { name: 'row_tile', size: rows },
    rowLane: { name: 'row_lane', size: tiles.rows },
    column: { name: 'column', size: tiles.nBlock },
    columnTile: { name: 'column_tile', size: tiles.nBlock },
    columnLane: { name: 'column_lane', size: tiles.nBlock },
    position: { name: 'position', size: tiles.kBlock },
  };
}

/** A part of the sum, from `from` on; undefined: all of it. */
export interface Run {
  readonly from: TileExpression;
  readonly length: TileExpression;
  /** Not the first run: sums go on from where the one before left them. */
  readonly resumes: TileExpression;
  /** The last run: the epilogue follows. */
  readonly last: TileExpression;
}

/** Where along the run a point of the sum is. */
export function positionIn({ product, axes }: Block, run: Run | undefined): Affine {
  if (run !== undefined) return axisAt(axes.position);
  const strides = rowMajorStrides(product.k.map((axis) => axis.size));
  return affine(
    product.k.map((axis, at) => ({ axis, scale: strides[at] })),
    0,
  );
}

/** Do all loads that change along the axis go one element at a time? */
export function contiguousAlong(of: Expression, axis: Axis): boolean {
  let contiguous = true;
  let found = false;
  walk([of], (inner) => {
    if (inner.kind !== 'load') return;
    const stride = strideAlong(inner.access, axis);
    found ||= stride === 1;
    contiguous &&= stride === 1 || stride === 0;
  });
  return contiguous && found;
}
