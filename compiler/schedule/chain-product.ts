/**
 * Products in a chain: into a tile, of operands in memory, or over all tiles, of a tile and an operand in memory. What comes from memory comes
 * strip by strip; threads multiply by themselves, or with matrix instructions.
 */
import { add, cast, div, index, mul, number, rem } from '../tile/build.ts';
import type { MatrixOperand, Memory, Register, TileExpression } from '../tile/tile.ts';
import type { Expression } from '../loop/loop.ts';
import { accumulatorDtype, type Dtype, dtypeBytes } from '../types/dtype.ts';
import type { Part } from './chain-passes.ts';
import { bindElement, type Here, type Work } from './chain-place.ts';
import {
  type ChainOperand,
  type ChainProduct,
  deep,
  productOf,
  type ProductPart,
  stripOf,
  threads,
} from './chain-tiles.ts';
import { pointsOf } from './cost.ts';
import { evaluate } from './expression.ts';
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
import { placesOfSums } from './team-matrix.ts';
import { loop, name, type Scope, variable } from './scope.ts';
import { addStrip, type AtHand, type Operand, startShare, strip, stripIn } from './team-product.ts';
import { meet } from './team.ts';

/** One of the sums of a product that a thread holds, and where in the tile it is. */
export interface Held {
  readonly of: Register;
  readonly row: TileExpression;
  readonly column: TileExpression;
}

export interface Product {
  /** Columns of the tile of sums. */
  readonly width: number;
  readonly held: readonly Held[];
  /** Adds what a tile has of it, or, where it is made into a tile, all of it. All threads met when it ends. */
  add(scope: Scope, here: Here): void;
}

/** Sums that begin with 0 at the scope's place. */
export function startProduct(scope: Scope, part: ProductPart, work: Work): Product {
  const { tiles, capabilities } = work;
  const product = productOf(part, tiles.passes, tiles.size, capabilities);
  if (product === undefined) throw new Error('a product that was laid out is one');
  return product.matrix === undefined
    ? threadProduct(scope, part, product, work)
    : matrixProduct(scope, part, product, work, product.matrix);
}

/** What strips of an operand are copied of, so much of the sum at a time: of the tile's rows or columns, or of what is its own. */
function linesOf(
  { of, lines, count }: ChainOperand,
  { kind, contraction }: ProductPart,
  here: Here,
  strip: number,
): Operand {
  const { passes, size } = here.tiles;
  const side = passes.sides.get(lines[0]);
  return {
    of: here.to.expression(of),
    lines,
    count,
    first: side === undefined ? index(0) : side === passes.lines ? here.lineFrom : here.tileFrom,
    sum: contraction.reduce,
    multiple: kind === 'product' ? strip : size,
    threads,
  };
}

/** What is summed: all of it, or as much as a tile has. */
function extentOf({ kind, contraction }: ProductPart, { tiles, tileFrom }: Here) {
  return kind === 'product'
    ? { from: index(0), length: pointsOf(contraction.reduce) }
    : { from: tileFrom, length: tiles.size };
}

function memoryFor(product: ChainProduct, { strips }: Work, which: number): Memory {
  const memory = strips[which].get(stripOf(product, product.operands[which]).dtype);
  if (memory === undefined) throw new Error('a strip without memory');
  return memory;
}

function threadProduct(scope: Scope, part: ProductPart, product: ChainProduct, work: Work): Product {
  const { size } = work.tiles;
  const { contraction, width, operands } = product;
  const dtype = accumulatorDtype(contraction.result.dtype);
  const shape = { threadRows: size / deep, threadColumns: (width * deep) / threads };
  const share = startShare(scope, { rows: size, columns: width, ...shape }, dtype);
  return {
    width,
    held: share.sums.flatMap((line, i) =>
      line.map((of, j): Held => ({ of, row: share.rows[i], column: share.columns[j] })),
    ),
    add(inner, here) {
      const { from, length } = extentOf(part, here);
      const brought = operands.map((operand, which) => {
        if (operand.isHere) return undefined;
        return stripIn(memoryFor(product, work, which), linesOf(operand, part, here, strip));
      });
      loop(inner, 0, length, strip, (deeper, start) => {
        for (const of of brought) of?.copy(deeper, add(from, start));
        meet(deeper);
        const atHand = elementOf(here, part, operands[0].of, dtype, start);
        addStrip(deeper, share, brought[0]?.at ?? atHand, brought[1]?.at ?? atHand);
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

function matrixProduct(scope: Scope, part: ProductPart, product: ChainProduct, work: Work, dtype: Dtype): Product {
  const { kernel } = scope;
  const { size, passes } = work.tiles;
  const { width, operands } = product;
  // Four subgroups have a quarter of the sums each.
  const [ownRows, ownColumns] = [size / 2, width / 2];
  const keep = (value: TileExpression): TileExpression => name(kernel, kernel.root, value);
  const own = keep(div(kernel.thread, subgroup));
  const firsts = [keep(mul(div(own, 2), ownRows)), keep(mul(rem(own, 2), ownColumns))];
  const sums = Array.from({ length: (ownRows * ownColumns) / subgroup }, () => variable(scope, number(0, 'f32')));
  const places = placesOfSums(scope, { team: subgroup, ownColumns }, sums.length, firsts[0], firsts[1]);
  return {
    width,
    held: sums.map((of, at): Held => ({ of, ...places[at] })),
    add(inner, here) {
      const { from, length } = extentOf(part, here);
      const depth = matrixStrip / dtypeBytes[dtype];
      const brought = operands.map((operand, which): Strips | undefined => {
        if (operand.isHere) return undefined;
        const lying = layStrips({ ...linesOf(operand, part, here, depth), dtype, team: subgroup });
        return stripsIn(inner, memoryFor(product, work, which), lying);
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
