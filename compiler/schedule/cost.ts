/**
 * What work costs, roughly, in cycles of one core: decides vector axes, how many items a grid has, what is worth
 * keeping. The numbers were taken on Zen 4; only their proportions matter.
 */
import { rowMajorStrides } from '../loop/build.ts';
import type { Access, Axis, Expression, Scalar, Stage } from '../loop/loop.ts';
import { scaleOf } from './simplify.ts';
import { walk } from './rewrite.ts';

const expensive: ReadonlyMap<Scalar, number> = new Map<Scalar, number>([
  ['exp', 12],
  ['log', 16],
  ['sin', 24],
  ['cos', 24],
  ['tanh', 20],
  ['erf', 20],
  ['pow', 40],
  ['philox', 60],
  ['div', 6],
  ['rem', 12],
  ['sqrt', 8],
  ['rsqrt', 8],
]);

/** Cycles that one scalar function takes. */
export const cyclesOf = (op: Scalar): number => expensive.get(op) ?? 1;

/** Is computing it again dearer than reading it back? */
export function isExpensive(of: Expression): boolean {
  return of.kind === 'apply' && (expensive.get(of.op) ?? 1) >= 12;
}

/** Cycles one evaluation takes with everything shared, vector or scalar alike; loads from cache. */
export function costOf(roots: readonly Expression[]): number {
  let total = 0;
  walk(roots, (of) => {
    if (of.kind === 'apply') total += expensive.get(of.op) ?? 1;
    if (of.kind === 'load') total += of.guard === 'none' ? 1.5 : 4;
  });
  return total;
}

/** How far apart the elements are that an access reads along an axis; undefined where that is not one distance. */
export function strideAlong(access: Access, axis: Axis): number | undefined {
  const strides = rowMajorStrides(access.shape);
  let stride = 0;
  for (const [dimension, at] of access.index.entries()) {
    if (at.kind === 'computed') {
      if (mentions(at.value, axis)) return undefined;
      continue;
    }
    const scale = scaleOf(at, axis);
    if (scale !== 0 && at.divisor !== 1) return undefined;
    stride += scale * strides[dimension];
  }
  return stride;
}

function mentions(of: Expression, axis: Axis): boolean {
  let found = false;
  walk([of], (inner) => {
    if (inner.kind === 'coordinate' && inner.value.kind === 'affine') found ||= scaleOf(inner.value, axis) !== 0;
    if (inner.kind === 'load')
      found ||= inner.access.index.some((at) => at.kind === 'affine' && scaleOf(at, axis) !== 0);
  });
  return found;
}

/** Cycles per point that the accesses of one stage cost when `axis` is vectorized (undefined: scalar code). */
export function accessCost(accesses: readonly Access[], axis: Axis | undefined, lanes: number): number {
  if (axis === undefined || lanes === 1) return accesses.length;
  const used = (Math.ceil(axis.size / lanes) * lanes) / axis.size;
  let total = 0;
  for (const access of accesses) {
    const stride = strideAlong(access, axis);
    total += stride === 0 || stride === 1 ? (used * (stride === 0 ? 0.7 : 1)) / lanes : 1.6 * used;
  }
  return total;
}

/** The accesses and the values of one stage. */
export function partsOf(stage: Stage): {
  readonly accesses: readonly Access[];
  readonly values: readonly Expression[];
} {
  const stores = stage.kind === 'reduce' ? [] : stage.stores;
  const values = stores.map((store) => store.value);
  if (stage.kind === 'reduce') values.push(...stage.results.map((result) => result.value));
  if (stage.kind === 'cumulate') values.push(stage.value);
  const accesses = stores.map((store) => store.access);
  walk(values, (of) => {
    if (of.kind === 'load') accesses.push(of.access);
  });
  return { accesses, values };
}

export const pointsOf = (axes: readonly Axis[]): number => axes.reduce((points, axis) => points * axis.size, 1);

/**
 * Into how many items work is cut: enough for the threads of any machine, none shorter than a few microseconds. A
 * function of the work alone, so that results do not depend on the machine's threads.
 */
export function itemsFor(cycles: number, units: number): number {
  const worth = cycles / 20_000;
  let items = 1;
  while (items * 2 <= worth && items < 64) items *= 2;
  return Math.max(1, Math.min(items, units));
}
