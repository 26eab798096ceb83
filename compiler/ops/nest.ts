/**
 * The interpreter's loops for view and contract: out[shape axes] += Π operand[affine index], over shape and reduce
 * axes.
 *
 * Everything affine is turned into flat strides first. A coordinate that may leave its axis, or is divided, becomes a
 * guard; a guard narrows the range of the innermost loop, so that loop itself never tests anything.
 */
import type { AffineIndex } from '../graph/graph.ts';
import { concrete } from '../types/dim.ts';
import { isInside, normalize } from './affine.ts';
import { stridesOf } from './numeric.ts';

export interface Read {
  readonly data: Float64Array;
  readonly shape: readonly number[];
  readonly index: readonly AffineIndex[];
}

/**
 * `assign` copies (one operand, nothing reduced, bits kept); `sum` multiplies doubles; `wrap` multiplies modulo 2³².
 */
export type NestMode = 'assign' | 'sum' | 'wrap';

interface Guard {
  readonly scales: readonly number[];
  readonly size: number;
  readonly divisor: number;
  readonly operand: number;
  /** Flat stride of the guarded axis, where the coordinate is divided and so not in the operand's strides. */
  readonly stride: number;
  /** The numerator at the current outer point. */
  value: number;
}

interface Nest {
  readonly strides: readonly number[][];
  readonly positions: number[];
  readonly guards: readonly Guard[];
}

export function runNest(
  out: Float64Array,
  shape: readonly number[],
  reduce: readonly number[],
  reads: readonly Read[],
  mode: NestMode,
): void {
  const sizes = [...shape, ...reduce];
  if (sizes.includes(0)) return;
  const outStrides = [...stridesOf(shape), ...reduce.map(() => 0)];
  const nest = flatten(reads, sizes);
  const inner = chooseInner(sizes, outStrides, nest);
  const outer = sizes.map((_, axis) => axis).filter((axis) => axis !== inner && sizes[axis] !== 1);
  const count = inner < 0 ? 1 : sizes[inner];
  const line = makeLine(out, reads, nest, inner, inner < 0 ? 0 : outStrides[inner], count, mode);

  const counter = outer.map(() => 0);
  let position = 0;
  for (;;) {
    line(position);
    let depth = outer.length - 1;
    for (; depth >= 0; depth--) {
      const axis = outer[depth];
      const wraps = ++counter[depth] === sizes[axis];
      const step = wraps ? 1 - sizes[axis] : 1;
      position += step * outStrides[axis];
      for (let k = 0; k < reads.length; k++) nest.positions[k] += step * nest.strides[k][axis];
      for (const guard of nest.guards) guard.value += step * guard.scales[axis];
      if (!wraps) break;
      counter[depth] = 0;
    }
    if (depth < 0) return;
  }
}

function flatten(reads: readonly Read[], sizes: readonly number[]): Nest {
  const guards: Guard[] = [];
  const positions: number[] = [];
  const strides = reads.map(({ shape, index }, operand) => {
    const own = stridesOf(shape);
    const flat = new Array<number>(sizes.length).fill(0);
    let base = 0;
    index.map(normalize).forEach((coordinate, axis) => {
      const [offset, divisor] = concrete([coordinate.offset, coordinate.divisor]);
      const scales = new Array<number>(sizes.length).fill(0);
      for (const { axis: loop, scale } of coordinate.terms) scales[loop] = concrete([scale])[0];
      if (divisor === 1) {
        base += offset * own[axis];
        scales.forEach((scale, loop) => (flat[loop] += scale * own[axis]));
      }
      if (!isInside(coordinate, sizes, shape[axis]))
        guards.push({
          scales,
          size: shape[axis],
          divisor,
          operand,
          stride: divisor === 1 ? 0 : own[axis],
          value: offset,
        });
    });
    positions.push(base);
    return flat;
  });
  return { strides, positions, guards };
}

/**
 * The axis whose neighbours lie closest in memory, long enough to be worth a loop; -1 when every axis has one element.
 */
function chooseInner(sizes: readonly number[], outStrides: readonly number[], { strides, guards }: Nest): number {
  const price = (stride: number): number => Math.min(Math.abs(stride), 8);
  let best = -1;
  let least = Infinity;
  sizes.forEach((size, axis) => {
    if (size === 1) return;
    let cost = 60 / size + price(outStrides[axis]) + (outStrides[axis] === 0 ? 0 : 1);
    for (const flat of strides) cost += price(flat[axis]);
    for (const guard of guards) if (guard.scales[axis] % guard.divisor !== 0) cost += 1000;
    if (cost < least) [least, best] = [cost, axis];
  });
  return best;
}

type Line = (position: number) => void;

/** The innermost loop, as a function of where the output starts. */
function makeLine(
  out: Float64Array,
  reads: readonly Read[],
  nest: Nest,
  inner: number,
  outStride: number,
  count: number,
  mode: NestMode,
): Line {
  const { positions, guards } = nest;
  const scaleOf = (guard: Guard): number => (inner < 0 ? 0 : guard.scales[inner]);
  const broken = guards.filter((guard) => scaleOf(guard) % guard.divisor !== 0);
  const steps = nest.strides.map((flat) => (inner < 0 ? 0 : flat[inner]));
  for (const guard of guards)
    if (guard.divisor !== 1 && !broken.includes(guard))
      steps[guard.operand] += (scaleOf(guard) / guard.divisor) * guard.stride;
  const kernel = makeKernel(out, reads, steps, outStride, mode);
  const starts = positions.slice();

  return (position) => {
    let [low, high] = [0, count];
    for (let k = 0; k < starts.length; k++) starts[k] = positions[k];
    for (const guard of guards) {
      const { divisor, size, value } = guard;
      const scale = scaleOf(guard);
      if (scale % divisor !== 0) continue;
      if (value % divisor !== 0) return;
      const at = value / divisor;
      const step = scale / divisor;
      starts[guard.operand] += at * guard.stride;
      if (step === 0) {
        if (at < 0 || at >= size) return;
      } else if (step > 0) {
        low = Math.max(low, Math.ceil(-at / step));
        high = Math.min(high, Math.ceil((size - at) / step));
      } else {
        low = Math.max(low, Math.floor((at - size) / -step) + 1);
        high = Math.min(high, Math.floor(at / -step) + 1);
      }
    }
    if (broken.length === 0) {
      if (low < high) kernel(position + low * outStride, starts, low, high - low);
      return;
    }
    // A coordinate divided unevenly along this axis: only some elements exist, found one by one.
    const whole = starts.slice();
    for (let t = low; t < high; t++) {
      for (let k = 0; k < starts.length; k++) starts[k] = whole[k];
      const exists = broken.every((guard) => {
        const value = guard.value + t * scaleOf(guard);
        if (value % guard.divisor !== 0 || value / guard.divisor < 0 || value / guard.divisor >= guard.size)
          return false;
        starts[guard.operand] += (value / guard.divisor) * guard.stride;
        return true;
      });
      if (exists) kernel(position + t * outStride, starts, t, 1);
    }
  };
}

/** Multiplies along `count` elements from the `skip`-th of each operand's line. */
type Kernel = (position: number, starts: readonly number[], skip: number, count: number) => void;

function makeKernel(
  out: Float64Array,
  reads: readonly Read[],
  steps: readonly number[],
  outStep: number,
  mode: NestMode,
): Kernel {
  const [first, second] = reads;
  const a = first.data;
  const stepA = steps[0];
  if (mode === 'assign')
    return (position, starts, skip, count) => {
      let pa = starts[0] + skip * stepA;
      for (let t = 0, p = position; t < count; t++, p += outStep, pa += stepA) out[p] = a[pa];
    };
  if (mode === 'wrap')
    return (position, starts, skip, count) => {
      for (let t = 0, p = position; t < count; t++, p += outStep) {
        let product = 1;
        for (let k = 0; k < reads.length; k++)
          product = Math.imul(product, reads[k].data[starts[k] + (skip + t) * steps[k]]);
        out[p] += product;
      }
    };
  if (reads.length === 1)
    return (position, starts, skip, count) => {
      let pa = starts[0] + skip * stepA;
      for (let t = 0, p = position; t < count; t++, p += outStep, pa += stepA) out[p] += a[pa];
    };
  if (reads.length > 2)
    return (position, starts, skip, count) => {
      for (let t = 0, p = position; t < count; t++, p += outStep) {
        let product = 1;
        for (let k = 0; k < reads.length; k++) product *= reads[k].data[starts[k] + (skip + t) * steps[k]];
        out[p] += product;
      }
    };
  const b = second.data;
  const stepB = steps[1];
  if (outStep === 0)
    return (position, starts, skip, count) => {
      let pa = starts[0] + skip * stepA;
      let pb = starts[1] + skip * stepB;
      let sum = 0;
      for (let t = 0; t < count; t++, pa += stepA, pb += stepB) sum += a[pa] * b[pb];
      out[position] += sum;
    };
  if (stepA === 0)
    return (position, starts, skip, count) => {
      const factor = a[starts[0]];
      let pb = starts[1] + skip * stepB;
      for (let t = 0, p = position; t < count; t++, p += outStep, pb += stepB) out[p] += factor * b[pb];
    };
  return (position, starts, skip, count) => {
    let pa = starts[0] + skip * stepA;
    let pb = starts[1] + skip * stepB;
    for (let t = 0, p = position; t < count; t++, p += outStep, pa += stepA, pb += stepB) out[p] += a[pa] * b[pb];
  };
}
