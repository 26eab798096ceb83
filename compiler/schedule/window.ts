/**
 * Windows: the left operand of a convolution reads overlapping pieces of its input, with zeros around it. What a block
 * of the result needs of the input is copied to scratch once, zeros included, so that the micro-kernel reads it in place
 * without asking where the border is. A window over x[b, i + u, j + v, c] for one row i: [u, j + v, c], each element once.
 */
import { elementCount } from '../../common/elements.ts';
import { accessAlong, type Affine, affine, combine } from '../loop/build.ts';
import type { Axis, Coordinate, Expression } from '../loop/loop.ts';
import { strideAlong } from './cost.ts';
import { evaluate, writeValue } from './expression.ts';
import { vectorLoop } from './lanes.ts';
import type { Product } from './product.ts';
import { loopAxes, type Scope } from './scope.ts';

/** What a load reads while some of its axes run and the others stand still. */
export interface Window {
  /** One axis for each coordinate, over the values it takes. */
  readonly axes: readonly Axis[];
  /** What is copied: the load, with the coordinates counted by those axes. */
  readonly copied: Expression;
  /** Where a point of the running axes lies in the window. */
  readonly index: readonly Affine[];
}

/** Elements of a window at most: it should leave room in the second-level cache for the other operand. */
const limit = 32_768;

/**
 * The window of the left operand for `rows` values of m from the one that m is bound to; `row` counts them. Undefined
 * where the operand is not a load with a border, or where that would copy more than is read.
 */
export function windowOf({ left, k, m }: Product, rows: number, row: Axis): Window | undefined {
  if (left.kind !== 'load' || left.guard !== 'zero') return undefined;
  const extent = (axis: Axis): number => (axis === m ? rows : axis.size);
  const axes: Axis[] = [];
  const index: Affine[] = [];
  const copied: Coordinate[] = [];
  for (const [dimension, at] of left.access.index.entries()) {
    if (at.kind !== 'affine') return undefined;
    const running = at.terms.filter(({ axis }) => axis === m || k.includes(axis));
    const reach = (sign: number): number =>
      running.reduce((sum, { axis, scale }) => sum + (Math.sign(scale) === sign ? scale * (extent(axis) - 1) : 0), 0);
    const axis: Axis = { name: `window_${dimension}`, size: reach(1) - reach(-1) + 1 };
    axes.push(axis);
    index.push(
      affine(
        running.map((term) => (term.axis === m ? { axis: row, scale: term.scale } : term)),
        -reach(-1),
      ),
    );
    const standing = at.terms.filter((term) => !k.includes(term.axis));
    copied.push(affine([...standing, { axis, scale: 1 }], at.offset + reach(-1), at.divisor));
  }
  const size = elementCount(axes.map((axis) => axis.size));
  const reads = rows * elementCount(k.map((axis) => axis.size));
  if (size > limit || size > reads) return undefined;
  return joined({ axes, index, copied: { ...left, access: { ...left.access, index: copied } } });
}

/**
 * The last dimension, where all of it is copied, and the one before as one: what lies side by side is copied in whole vectors,
 * however few channels there are. Inside the one is inside both.
 */
function joined(window: Window): Window {
  const { axes, index, copied } = window;
  if (copied.kind !== 'load' || axes.length < 2) return window;
  const { shape, index: at } = copied.access;
  const [row, last] = [axes.length - 2, axes.length - 1];
  const [before, own] = [at[row], at[last]];
  const size = shape[last];
  const isWhole = own.kind === 'affine' && own.terms.length === 1 && own.offset === 0 && axes[last].size === size;
  if (!isWhole || before.kind !== 'affine' || before.divisor !== 1 || own.divisor !== 1) return window;
  const axis: Axis = { name: axes[row].name, size: axes[row].size * size };
  const standing = before.terms.filter((term) => term.axis !== axes[row]);
  const coordinate = affine(
    [...standing.map((term) => ({ ...term, scale: term.scale * size })), { axis, scale: 1 }],
    before.offset * size,
  );
  return joined({
    axes: [...axes.slice(0, row), axis],
    index: [
      ...index.slice(0, row),
      combine(
        [
          { at: index[row], scale: size },
          { at: index[last], scale: 1 },
        ],
        0,
      ),
    ],
    copied: {
      ...copied,
      access: {
        ...copied.access,
        shape: [...shape.slice(0, row), shape[row] * size],
        index: [...at.slice(0, row), coordinate],
      },
    },
  });
}

export const windowSize = (window: Window): number => elementCount(window.axes.map((axis) => axis.size));

/** Vectors that are copied: short rows fill none. */
export function windowVectors(window: Window, lanes: number): number {
  const along = alongOf(window)?.size ?? window.axes[window.axes.length - 1].size;
  return (windowSize(window) / along) * Math.ceil(along / lanes);
}

/** Copies the window; returns how the micro-kernel reads it. */
export function packWindow(scope: Scope, window: Window, lanes: number): Expression {
  const { axes, copied, index } = window;
  const buffer = scope.kernel.scratch(
    copied.dtype,
    axes.map((axis) => axis.size),
  );
  const to = accessAlong(buffer, axes);
  const along = alongOf(window) ?? axes[axes.length - 1];
  loopAxes(
    scope,
    axes.filter((axis) => axis !== along),
    (inner) =>
      vectorLoop(inner, along, lanes, 1, (vectors) =>
        vectors.forEach((vector) => writeValue(vector, to, evaluate(vector, copied))),
      ),
  );
  return { kind: 'load', dtype: copied.dtype, access: { buffer, shape: buffer.shape, index }, guard: 'none' };
}

/** The axis along which the elements lie side by side. */
function alongOf({ axes, copied }: Window): Axis | undefined {
  return copied.kind === 'load'
    ? axes.find((axis) => axis.size > 1 && strideAlong(copied.access, axis) === 1)
    : undefined;
}
