/**
 * Weights in few bits: a group of rows of each column shares a scale, an element is a whole number of scales.
 *
 *   scale = max |w| / most      code = round(w / scale), from −most to most      w ≈ code · scale
 *
 * Symmetric, so that 0 stays 0. `most` is 127 for 8 bits, one byte each, and 7 for 4 bits, of which a byte holds two rows:
 * the upper half of the byte is the second one's, both with 8 added. Jacob et al. 2018; per channel: Krishnamoorthi 2018.
 */
import { elementCount } from '../../common/elements.ts';
import type { Builder } from '../graph/build.ts';
import type { Value } from '../graph/graph.ts';
import { arithmetic } from '../ops/arithmetic.ts';
import { whole } from '../ops/affine.ts';
import { concrete } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';

export interface Scheme {
  readonly bits: 8 | 4;
  /** Rows (all axes but the last, in their order) that share a scale; undefined: all of a column's. */
  readonly group: number | undefined;
  /** What the weight is multiplied with is in 8 bits as well, and the product one of integers. */
  readonly activations: boolean;
}

/** The largest code. */
export const most = (bits: Scheme['bits']): number => 2 ** (bits - 1) - 1;

/** Rows and columns of a weight, rows to a group and the number of groups (the last may be shorter). */
function layout(
  { shape }: TensorType,
  { group }: Scheme,
): { rows: number; columns: number; group: number; groups: number } {
  const sizes = concrete(shape);
  const columns = sizes[sizes.length - 1];
  const rows = elementCount(sizes.slice(0, -1));
  const of = Math.min(group ?? rows, rows);
  return { rows, columns, group: of, groups: Math.ceil(rows / of) };
}

/** The type of a weight's codes. */
export function codesType(type: TensorType, scheme: Scheme): TensorType {
  const { rows, columns } = layout(type, scheme);
  return scheme.bits === 8
    ? { dtype: 'i8', shape: type.shape }
    : { dtype: 'u8', shape: [Math.ceil(rows / 2), columns] };
}

export function scaleType(type: TensorType, scheme: Scheme): TensorType {
  const { groups, columns } = layout(type, scheme);
  return { dtype: 'f32', shape: [groups, columns] };
}

/** To the nearest whole number; the gradient passes straight through. Bengio, Léonard and Courville 2013. */
export function roundThrough(build: Builder, x: Value): Value {
  // Exact: the difference of a number and its neighbour is one of the type, and so is their sum.
  return build.binary('add', x, build.detach(build.binary('sub', build.unary('round', x), x)));
}

/** A scale that nothing is lost by: 1 where all is 0. */
export function scaleOf(build: Builder, largest: Value, bits: Scheme['bits']): Value {
  const { divide, filled, less } = arithmetic(build);
  return build.where(
    less(filled(largest, 0), largest),
    divide(largest, filled(largest, most(bits))),
    filled(largest, 1),
  );
}

/** Codes as f32, in groups: [groups, rows of a group, columns], and their scales: [groups, columns]. The gradient passes. */
function code(build: Builder, weight: Value, scheme: Scheme): { readonly codes: Value; readonly scale: Value } {
  const { rows, columns, group, groups } = layout(weight.type, scheme);
  const matrix = padRows(build, build.reshape(weight, [rows, columns]), groups * group);
  const grouped = build.reshape(matrix, [groups, group, columns]);
  const scale = build.detach(scaleOf(build, build.reduce('max', build.unary('abs', grouped), [1]), scheme.bits));
  return { codes: roundThrough(build, build.binary('div', grouped, spread(build, scale, group))), scale };
}

/** Each group's scale for all of its rows. */
function spread(build: Builder, scale: Value, group: number): Value {
  const [groups, columns] = scale.type.shape;
  return build.broadcast(build.reshape(scale, [groups, 1, columns]), [groups, group, columns]);
}

/** Rows of zeros below. */
const padRows = (build: Builder, matrix: Value, rows: number): Value =>
  matrix.type.shape[0] === rows ? matrix : build.view(matrix, [rows, matrix.type.shape[1]], whole(2));

/** What the program `quantize` keeps of a weight. */
export function encode(
  build: Builder,
  weight: Value,
  scheme: Scheme,
): { readonly codes: Value; readonly scale: Value } {
  const { rows, columns, group, groups } = layout(weight.type, scheme);
  const { codes, scale } = code(build, weight, scheme);
  const matrix = build.slice(build.reshape(codes, [groups * group, columns]), 0, 0, rows);
  if (scheme.bits === 8) return { codes: build.reshape(build.cast(matrix, 'i8'), weight.type.shape), scale };
  const bytes = build.cast(build.binary('add', matrix, build.constant(8, 'f32', matrix.type.shape)), 'u8');
  const half = Math.ceil(rows / 2);
  const pairs = build.reshape(padRows(build, bytes, 2 * half), [half, 2, columns]);
  const [low, high] = [0, 1].map((at) => build.reshape(build.slice(pairs, 1, at, 1), [half, columns]));
  return { codes: build.binary('or', low, build.binary('shl', high, build.constant(4, 'u8', high.type.shape))), scale };
}

/** The weight that codes and scales stand for. */
export function decode(build: Builder, codes: Value, scale: Value, type: TensorType, scheme: Scheme): Value {
  const { rows, columns, group, groups } = layout(type, scheme);
  const numbers = build.cast(
    scheme.bits === 8 ? build.reshape(codes, [rows, columns]) : unpack(build, codes, rows),
    'f32',
  );
  const centred =
    scheme.bits === 8 ? numbers : build.binary('sub', numbers, build.constant(8, 'f32', numbers.type.shape));
  const grouped = build.reshape(padRows(build, centred, groups * group), [groups, group, columns]);
  const scaled = build.reshape(build.binary('mul', grouped, spread(build, scale, group)), [groups * group, columns]);
  return build.reshape(build.slice(scaled, 0, 0, rows), type.shape);
}

/** u8[rows, columns] of u8[rows / 2, columns]. */
function unpack(build: Builder, bytes: Value, rows: number): Value {
  const [half, columns] = concrete(bytes.type.shape);
  const filled = (value: number): Value => build.constant(value, 'u8', bytes.type.shape);
  const low = build.binary('and', bytes, filled(15));
  const high = build.binary('shr', bytes, filled(4));
  const pairs = build.concat(
    [low, high].map((part) => build.reshape(part, [half, 1, columns])),
    1,
  );
  return build.slice(build.reshape(pairs, [2 * half, columns]), 0, 0, rows);
}

/** The weight as its codes stand for it, for a forward pass whose gradients reach the weight itself. */
export function simulate(build: Builder, weight: Value, scheme: Scheme): Value {
  const { rows, columns, group, groups } = layout(weight.type, scheme);
  const { codes, scale } = code(build, weight, scheme);
  const scaled = build.binary('mul', codes, spread(build, scale, group));
  return build.reshape(build.slice(build.reshape(scaled, [groups * group, columns]), 0, 0, rows), weight.type.shape);
}
