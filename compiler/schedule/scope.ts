/**
 * Where Tile statements are put while a kernel is built. A place is a list of statements (a loop's body); a scope says
 * what the Loop IR's axes and results are there. Values are emitted at the outermost place where everything they depend
 * on is known, so what a loop does not change is computed before it.
 */
import { index, less, mul, type Operand, ramp, read, register, splat, add, expression } from '../tile/build.ts';
import type { Memory, Register, Statement, TileExpression } from '../tile/tile.ts';
import type { Access, Axis, Buffer, Expression, Result } from '../loop/loop.ts';
import type { Dtype } from '../types/dtype.ts';

export interface Place {
  readonly statements: Statement[];
  readonly depth: number;
  /** What was already computed here, by expression and by what its axes were bound to. */
  readonly values: Map<Expression, Map<string, TileExpression>>;
  /** Partial sums of index arithmetic. */
  readonly sums: Map<string, TileExpression>;
  /** That an index is inside, where the flag was raised already if it is not. */
  readonly checked: Set<TileExpression>;
}

/** What an axis is: base + plus, in lanes base + plus, base + plus + 1, … where `lanes` > 1. */
export interface Binding {
  /** Differs between bindings; `root` is shared by those that differ in `plus` only. */
  readonly id: number;
  readonly root: number;
  readonly place: Place;
  readonly base: TileExpression;
  readonly plus: number;
  readonly lanes: number;
  /** Lanes beyond the end of the axis are false. */
  readonly mask?: TileExpression;
}

/** What a result is: a scalar, or a vector along the vectorized axis. */
export interface Bound {
  readonly id: number;
  readonly place: Place;
  readonly value: TileExpression;
}

/** What is the same everywhere in one kernel. */
export interface Kernel {
  /** Where values that depend on nothing are computed: once per item. */
  readonly root: Place;
  /** Numbers registers, scratch and bindings: kernels built alike are named alike. */
  next(): number;
  /** The parameter or scratch memory a buffer is. */
  memory(buffer: Buffer): Memory;
  /** A buffer private to one item, read and written through accesses like any other. */
  scratch(dtype: Dtype, shape: readonly number[]): Buffer;
  /** Memory that the threads of a workgroup share. */
  shared(dtype: Dtype, size: number): Memory;
  /** Says which memory a buffer of the schedule's own is. */
  lay(buffer: Buffer, memory: Memory): void;
  /** A single element that must not be read is left out by a mask; otherwise element 0 is read in its place. */
  readonly masksElements: boolean;
  /** The work item, and the thread within its workgroup. */
  readonly item: TileExpression;
  readonly thread: TileExpression;
  /** Values stored to scratch where they are first computed, and loaded from there by later stages. */
  readonly kept: Map<Expression, Access>;
}

export interface Scope {
  readonly kernel: Kernel;
  readonly place: Place;
  readonly axes: ReadonlyMap<Axis, Binding>;
  readonly results: ReadonlyMap<Result, Bound>;
  /** Inside an `if`: nothing is computed before it. */
  readonly floor?: Place;
  /** Inside a `where`'s side: the condition under which it is chosen. */
  readonly condition?: { readonly place: Place; readonly id: number; readonly value: TileExpression };
}

export const newPlace = (depth: number): Place => ({
  statements: [],
  depth,
  values: new Map(),
  sums: new Map(),
  checked: new Set(),
});

export const newScope = (kernel: Kernel): Scope => ({
  kernel,
  place: kernel.root,
  axes: new Map(),
  results: new Map(),
});

/** Names a value at a place; constants and registers stay as they are. */
export function name(kernel: Kernel, place: Place, value: TileExpression): TileExpression {
  if (value.kind === 'number' || value.kind === 'register') return value;
  const named: Register = { name: `r${kernel.next()}`, type: value.type };
  place.statements.push({ kind: 'let', register: named, value });
  return read(named);
}

export interface BindOptions {
  readonly plus?: number;
  readonly lanes?: number;
  readonly mask?: TileExpression;
}

/** The scope in which `axis` is `base` (+ plus). */
export function bind(scope: Scope, axis: Axis, base: Operand, options: BindOptions = {}): Scope {
  const id = scope.kernel.next();
  const value = name(scope.kernel, scope.place, expression(base));
  const binding: Binding = {
    id,
    root: id,
    place: scope.place,
    base: value,
    plus: options.plus ?? 0,
    lanes: options.lanes ?? 1,
    mask: options.mask,
  };
  return { ...scope, axes: new Map(scope.axes).set(axis, binding) };
}

/** The scope in which `axis`, bound already, is `plus` further on; index arithmetic is shared with where it was bound. */
export function shift(scope: Scope, axis: Axis, plus: number, options: Omit<BindOptions, 'plus'> = {}): Scope {
  const known = bindingOf(scope, axis);
  if (plus === 0 && options.lanes === undefined && options.mask === undefined) return scope;
  const binding: Binding = {
    ...known,
    id: scope.kernel.next(),
    plus: known.plus + plus,
    lanes: options.lanes ?? known.lanes,
    mask: options.mask ?? known.mask,
  };
  return { ...scope, axes: new Map(scope.axes).set(axis, binding) };
}

/** Takes bindings of `axes` from another scope of the same kernel. */
export function adopt(scope: Scope, from: Scope, axes: readonly Axis[]): Scope {
  const merged = new Map(scope.axes);
  for (const axis of axes) merged.set(axis, bindingOf(from, axis));
  return { ...scope, axes: merged };
}

export function bindingOf(scope: Scope, axis: Axis): Binding {
  const binding = scope.axes.get(axis);
  if (binding === undefined) throw new Error(`axis ${axis.name} is used where it is not bound`);
  return binding;
}

/** The scope in which `result` is `value`. */
export function bindResult(scope: Scope, result: Result, value: TileExpression): Scope {
  const bound: Bound = { id: scope.kernel.next(), place: scope.place, value };
  return { ...scope, results: new Map(scope.results).set(result, bound) };
}

/** Of a loop. Not called i32, ever: that is a type. */
export const newCounter = (kernel: Kernel): Register => register(`n${kernel.next()}`, 'index');

/** for n = from; n < to; n += step, with its own place. Unrolled where it is known to run once or never. */
export function loop(
  scope: Scope,
  from: Operand,
  to: Operand,
  step: number,
  body: (inner: Scope, at: TileExpression) => void,
): void {
  const start = expression(from);
  const end = expression(to);
  if (start.kind === 'number' && end.kind === 'number') {
    if (start.value >= end.value) return;
    if (start.value + step >= end.value) return body(scope, start);
  }
  const counter = newCounter(scope.kernel);
  const place = newPlace(scope.place.depth + 1);
  body({ ...scope, place }, read(counter));
  scope.place.statements.push({
    kind: 'for',
    index: counter,
    from: name(scope.kernel, scope.place, start),
    to: name(scope.kernel, scope.place, end),
    step,
    body: place.statements,
  });
}

/** Loops over whole axes, the last one innermost. */
export function loopAxes(scope: Scope, axes: readonly Axis[], body: (inner: Scope) => void): void {
  const [first, ...rest] = axes;
  if (first === undefined) return body(scope);
  loop(scope, 0, first.size, 1, (inner, at) => loopAxes(bind(inner, first, at), rest, body));
}

/** if (condition) body else otherwise, each with its own place. */
export function when(
  scope: Scope,
  condition: TileExpression,
  body: (inner: Scope) => void,
  otherwise: (inner: Scope) => void = () => {},
): void {
  if (condition.kind === 'number') return condition.value !== 0 ? body(scope) : otherwise(scope);
  const then = newPlace(scope.place.depth + 1);
  body({ ...scope, place: then, floor: then });
  const other = newPlace(scope.place.depth + 1);
  otherwise({ ...scope, place: other, floor: other });
  scope.place.statements.push({ kind: 'if', condition, then: then.statements, else: other.statements });
}

/** A variable that loops assign. */
export function variable(scope: Scope, value: TileExpression): Register {
  const made: Register = { name: `v${scope.kernel.next()}`, type: value.type };
  scope.place.statements.push({ kind: 'var', register: made, value });
  return made;
}

export const assign = (scope: Scope, to: Register, value: TileExpression): void => {
  scope.place.statements.push({ kind: 'assign', register: to, value });
};

/** Lanes 0 … count-1 are true. */
export const firstLanes = (count: Operand, lanes: number): TileExpression => {
  const bound = expression(count);
  const limit: TileExpression =
    bound.kind === 'number'
      ? { kind: 'number', type: { dtype: 'i32', lanes: 1 }, value: bound.value }
      : { kind: 'cast', type: { dtype: 'i32', lanes: 1 }, operand: bound };
  return less(ramp('i32', lanes), splat(limit, lanes));
};

/** base + Σ scale·axis as index arithmetic, each part summed where it is first known; and the step between lanes. */
export function sumOf(
  scope: Scope,
  terms: readonly { readonly axis: Axis; readonly scale: number }[],
  offset: number,
): { readonly at: TileExpression; readonly stride: number; readonly binding?: Binding } {
  const parts = terms.map(({ axis, scale }) => ({ scale, binding: bindingOf(scope, axis) }));
  parts.sort((a, b) => a.binding.place.depth - b.binding.place.depth || a.binding.root - b.binding.root);
  let constant = offset;
  let stride = 0;
  let lane: Binding | undefined;
  let key = '';
  let sum: TileExpression = index(0);
  parts.forEach(({ scale, binding }, at) => {
    constant += scale * binding.plus;
    if (binding.lanes > 1) {
      stride += scale;
      lane = binding;
    }
    key += `|${binding.root}*${scale}`;
    sum = add(sum, mul(binding.base, scale));
    const next = parts[at + 1];
    if (next !== undefined && next.binding.place === binding.place) return;
    const known = binding.place.sums.get(key);
    sum = known ?? name(scope.kernel, binding.place, sum);
    binding.place.sums.set(key, sum);
  });
  return { at: add(sum, constant), stride, binding: lane };
}
