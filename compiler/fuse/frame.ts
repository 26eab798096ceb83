/**
 * What fusion knows while it works. A frame is one graph being lowered: the whole step, or the body of a loop inside it.
 * A value is either computed where it is needed (virtual) or a root: kept in a buffer, or in a register of its group.
 */
import { elementCount } from '../../common/elements.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { concrete } from '../types/dim.ts';
import { affine, apply, number } from '../loop/build.ts';
import type { Affine } from '../loop/build.ts';
import type { Access, Axis, Buffer, BufferRole, Coordinate } from '../loop/loop.ts';

/** Where a value is in memory: an element is at [...prefix, ...index] of the buffer, seen as [...sizes, ...shape]. */
export interface Place {
  readonly buffer: Buffer;
  readonly prefix: readonly Affine[];
  readonly sizes: readonly number[];
  /**
   * An axis of the value is a part of a longer one: starts there, of so many. What a loop carries is one slot longer than
   * its steps; a part of a concatenation lies inside the whole.
   */
  readonly window?: { readonly axis: number; readonly start: number; readonly size: number };
}

/** A loop body's input that is a value outside the loop, at the loop's position along its first axis or whole. */
export interface Alias {
  readonly frame: Frame;
  readonly value: Value;
  readonly prefix: readonly Affine[];
}

/** The next value of a buffer that is read as `old` before. */
export interface Update {
  readonly value: Value;
  readonly old: Value | undefined;
  readonly place: Place;
}

export interface Frame {
  readonly graph: Graph;
  /** Loops around it. */
  readonly depth: number;
  readonly nodes: Node[];
  readonly producers: Map<Value, Node>;
  readonly places: Map<Value, Place>;
  readonly aliases: Map<Value, Alias>;
  /** Values that are computed once, not at every use. */
  readonly roots: Set<Value>;
  /** Roots that lowering asked for because they cannot be computed at a use. */
  readonly forced: Set<Value>;
  readonly updates: Update[];
  /** Elementwise values that are kept although their uses could compute them, and why. */
  readonly kept: Map<Value, string>;
  /** Values that nothing computes: their parts are written side by side. */
  readonly assembled: Map<Value, readonly Value[]>;
  readonly session: Session;
}

/** Shared by all frames of one program. */
export interface Session {
  readonly buffers: Map<string, Buffer>;
  readonly constants: Map<string, Buffer>;
  /** Nothing is fused: every operation is kept. */
  readonly apart: boolean;
  /** Operands of products of halves are rounded in memory, and read as they lie. */
  readonly asItLies: boolean;
  readonly wholeChains: boolean;
}

/** Lowering found that a value cannot be computed at a use: it has to be a root of its frame. Thrown, always caught; no error, so no stack is kept. */
export class NeedsRoot {
  readonly frame: Frame;
  readonly value: Value;
  constructor(frame: Frame, value: Value) {
    this.frame = frame;
    this.value = value;
  }
}

/** Lowering found that an axis has to be cut in two for a reshape to become affine. */
export class NeedsCut {
  readonly axis: Axis;
  readonly inner: number;
  constructor(axis: Axis, inner: number) {
    this.axis = axis;
    this.inner = inner;
  }
}

export const shapeOf = (value: Value): readonly number[] => {
  let shape = shapes.get(value);
  if (shape === undefined) shapes.set(value, (shape = concrete(value.type.shape)));
  return shape;
};
const shapes = new WeakMap<Value, readonly number[]>();

export const elements = (value: Value): number => elementCount(shapeOf(value));

/** A buffer with a name nobody has yet. */
export function createBuffer(
  session: Session,
  name: string,
  role: BufferRole,
  dtype: Buffer['dtype'],
  shape: readonly number[],
  data?: readonly number[],
): Buffer {
  let unique = name;
  for (let count = 2; session.buffers.has(unique); count++) unique = `${name}.${count}`;
  const buffer: Buffer =
    data === undefined ? { name: unique, role, dtype, shape } : { name: unique, role, dtype, shape, data };
  session.buffers.set(unique, buffer);
  return buffer;
}

/** Where a root is, or will be, in memory. */
export function placeOf(frame: Frame, value: Value): Place {
  let place = frame.places.get(value);
  if (place === undefined) {
    place = {
      buffer: createBuffer(frame.session, `v${value.id}`, 'temporary', value.type.dtype, shapeOf(value)),
      prefix: [],
      sizes: [],
    };
    frame.places.set(value, place);
  }
  return place;
}

/** Can the place be seen with this shape? A window has to keep its axis, and all axes before it. */
export const canSee = ({ window }: Place, own: readonly number[], shape: readonly number[]): boolean =>
  window === undefined || own.every((size, axis) => axis > window.axis || shape[axis] === size);

/** The access to an element of a place; `shape` is how the value is seen. */
export function accessAt(
  { buffer, prefix, sizes, window }: Place,
  shape: readonly number[],
  index: readonly Coordinate[],
): Access {
  const seen = [...shape];
  const at = [...index];
  if (window !== undefined) {
    seen[window.axis] = window.size;
    at[window.axis] = shifted(index[window.axis], window.start, shape[window.axis]);
  }
  return { buffer, shape: [...sizes, ...seen], index: [...prefix, ...at] };
}

/** The coordinate in the longer axis; one computed from data stays out of range where it was. */
function shifted(at: Coordinate, by: number, size: number): Coordinate {
  if (at.kind === 'affine') return affine(at.terms, at.offset + by * at.divisor, at.divisor);
  const inside = apply('and', apply('le', number(0, 'i32'), at.value), apply('lt', at.value, number(size, 'i32')));
  return {
    kind: 'computed',
    value: apply('where', inside, apply('add', at.value, number(by, 'i32')), number(-1, 'i32')),
  };
}

/** The producer of a root or virtual value; inputs have none. */
export function producerOf(frame: Frame, value: Value): Node {
  const node = frame.producers.get(value);
  if (node === undefined) throw new Error(`value ${value.id} of '${frame.graph.name}' has no producer`);
  return node;
}
