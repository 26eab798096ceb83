/**
 * Loop expression → Tile expression in a scope: scalar where nothing depends on the vectorized axis, a vector along it
 * where something does. A load is a vector load, a strided one, a gather or a scalar, whatever its index turns out to be.
 */
import { children, insideCondition, isInside, rowMajorStrides } from '../loop/build.ts';
import type { Access, Axis, Coordinate, Expression, Result, Store } from '../loop/loop.ts';
import { add, and, apply, cast, div, index, load, mul, not, number, ramp, splat, where } from '../tile/build.ts';
import type { TileExpression } from '../tile/tile.ts';
import { bindingOf, name, type Place, type Scope, sumOf } from './scope.ts';

type Load = Extract<Expression, { kind: 'load' }>;

interface Needs {
  readonly axes: ReadonlySet<Axis>;
  readonly results: ReadonlySet<Result>;
  /** Some load below may be outside its buffer unless an enclosing `where` says otherwise. */
  readonly unsafe: boolean;
}

const needs = new WeakMap<Expression, Needs>();

/** What an expression depends on. */
export function needsOf(of: Expression): Needs {
  const known = needs.get(of);
  if (known !== undefined) return known;
  const axes = new Set<Axis>();
  const results = new Set<Result>();
  let unsafe = false;
  const note = (at: Coordinate): void => {
    if (at.kind === 'affine') for (const term of at.terms) axes.add(term.axis);
  };
  for (const child of children(of)) {
    const inner = needsOf(child);
    inner.axes.forEach((axis) => axes.add(axis));
    inner.results.forEach((result) => results.add(result));
    unsafe ||= inner.unsafe;
  }
  if (of.kind === 'result') results.add(of.of);
  if (of.kind === 'coordinate') note(of.value);
  if (of.kind === 'load') {
    of.access.index.forEach(note);
    unsafe ||=
      of.guard === 'check' ||
      (of.guard === 'none' &&
        of.access.index.some((at, axis) => at.kind === 'computed' || !isInside(at, of.access.shape[axis])));
  }
  const found = { axes, results, unsafe };
  needs.set(of, found);
  return found;
}

/** Does it depend on any of these axes? */
export const dependsOn = (of: Expression, axes: readonly Axis[]): boolean =>
  axes.some((axis) => needsOf(of).axes.has(axis));

/** The outermost place where everything an expression needs is bound, and a key that says to what. */
function homeOf(scope: Scope, of: Expression): { place: Place; key: string } {
  const { axes, results, unsafe } = needsOf(of);
  let place = scope.floor ?? scope.kernel.root;
  let key = '';
  const deeper = (candidate: Place): void => {
    if (candidate.depth > place.depth) place = candidate;
  };
  for (const axis of axes) {
    const binding = bindingOf(scope, axis);
    deeper(binding.place);
    key += `${binding.id},`;
  }
  for (const result of results) {
    const bound = scope.results.get(result);
    if (bound === undefined) throw new Error(`result ${result.name} is used before it is computed`);
    deeper(bound.place);
    key += `${bound.id},`;
  }
  if (unsafe && scope.condition !== undefined) {
    deeper(scope.condition.place);
    key += `?${scope.condition.id}`;
  }
  return { place, key };
}

/** The value of an expression, computed once per place and binding. */
export function evaluate(scope: Scope, of: Expression): TileExpression {
  if (of.kind === 'number') return number(of.value, of.dtype);
  if (of.kind === 'result') {
    const bound = scope.results.get(of.of);
    if (bound === undefined) throw new Error(`result ${of.of.name} is used before it is computed`);
    return bound.value;
  }
  const { place, key } = homeOf(scope, of);
  const known = place.values.get(of)?.get(key);
  if (known !== undefined) return known;
  const at = { ...scope, place };
  const value = name(scope.kernel, place, compute(at, of));
  const values = place.values.get(of) ?? new Map<string, TileExpression>();
  values.set(key, value);
  place.values.set(of, values);
  return value;
}

function compute(scope: Scope, of: Exclude<Expression, { kind: 'number' | 'result' }>): TileExpression {
  const kept = scope.kernel.kept.get(of);
  if (kept !== undefined) return read(scope, { kind: 'load', dtype: of.dtype, access: kept, guard: 'none' });
  switch (of.kind) {
    case 'coordinate':
      return coordinateValue(scope, of.value);
    case 'load':
      return read(scope, of);
    case 'apply': {
      if (of.op === 'where') return choose(scope, of.operands);
      const operands = of.operands.map((operand) => evaluate(scope, operand));
      if (of.op === 'cast') return cast(operands[0], of.dtype);
      return apply(of.op, ...operands);
    }
  }
}

/** Only the chosen side is loaded from. */
function choose(scope: Scope, [condition, yes, no]: readonly Expression[]): TileExpression {
  const chosen = evaluate(scope, condition);
  const side = (of: Expression, when: () => TileExpression): TileExpression =>
    needsOf(of).unsafe ? evaluate(under(scope, when()), of) : evaluate(scope, of);
  return where(
    chosen,
    side(yes, () => chosen),
    side(no, () => name(scope.kernel, scope.place, not(chosen))),
  );
}

function under(scope: Scope, condition: TileExpression): Scope {
  const whole =
    scope.condition === undefined ? condition : name(scope.kernel, scope.place, and(scope.condition.value, condition));
  return { ...scope, condition: { place: scope.place, id: scope.kernel.next(), value: whole } };
}

/** A coordinate as i32, scalar or vector. */
function coordinateValue(scope: Scope, at: Coordinate): TileExpression {
  if (at.kind === 'computed') return cast(evaluate(scope, at.value), 'i32');
  const { at: base, stride, binding } = sumOf(scope, at.terms, at.offset);
  const scalar = cast(base, 'i32');
  const value =
    binding === undefined || stride === 0
      ? scalar
      : add(scalar, mul(ramp('i32', binding.lanes), number(stride, 'i32')));
  return at.divisor === 1 ? value : div(value, number(at.divisor, 'i32'));
}

interface Address {
  /** Scalar; a vector where lanes are not evenly apart. */
  readonly offset: TileExpression;
  readonly stride: number;
  readonly lanes: number;
  /** The tail mask of the vectorized axis. */
  readonly mask?: TileExpression;
}

/** Where an access is in memory. */
function addressOf(scope: Scope, access: Access): Address {
  const strides = rowMajorStrides(access.shape);
  const terms = new Map<Axis, number>();
  let constant = 0;
  const scalars: TileExpression[] = [];
  const vectors: TileExpression[] = [];
  let mask: TileExpression | undefined;
  let lanes = 1;
  access.index.forEach((at, dimension) => {
    const stride = strides[dimension];
    if (at.kind === 'affine' && at.divisor === 1) {
      constant += at.offset * stride;
      for (const { axis, scale } of at.terms) terms.set(axis, (terms.get(axis) ?? 0) + scale * stride);
      return;
    }
    const value = cast(coordinateValue(scope, at), 'index');
    if (value.type.lanes === 1) scalars.push(mul(value, stride));
    else vectors.push(stride === 1 ? value : mul(value, index(stride)));
  });
  const sum = sumOf(
    scope,
    [...terms].map(([axis, scale]) => ({ axis, scale })).filter(({ scale }) => scale !== 0),
    constant,
  );
  // Data-dependent parts last: they are the ones that change from point to point.
  let offset = sum.at;
  for (const part of scalars) offset = add(offset, part);
  if (sum.binding !== undefined) {
    lanes = sum.binding.lanes;
    mask = sum.binding.mask;
  }
  if (vectors.length > 0) {
    lanes = vectors[0].type.lanes;
    for (const axis of scope.axes.values()) if (axis.lanes > 1 && axis.mask !== undefined) mask = axis.mask;
    offset = splat(offset, lanes);
    if (sum.stride !== 0) offset = add(offset, mul(ramp('index', lanes), index(sum.stride)));
    for (const part of vectors) offset = add(offset, part);
  }
  return {
    offset,
    stride: vectors.length > 0 ? 1 : sum.stride,
    lanes: vectors.length > 0 || sum.stride !== 0 ? lanes : 1,
    mask,
  };
}

const conditions = new WeakMap<Coordinate, Map<number, Expression | undefined>>();

/** The condition that a coordinate is inside, made once so that its value is shared; undefined where it always is. */
function insideOf(at: Coordinate, size: number): Expression | undefined {
  const bySize = conditions.get(at) ?? new Map<number, Expression | undefined>();
  conditions.set(at, bySize);
  if (!bySize.has(size)) bySize.set(size, insideCondition(at, size));
  return bySize.get(size);
}

/** Raises the flag where an index computed from data is outside: where it is computed, not at each element that is read with it. */
function flagOutside(scope: Scope, condition: Expression, within: TileExpression): void {
  const active = activeLanes(scope, within.type.lanes);
  const place = active === undefined ? homeOf(scope, condition).place : scope.place;
  if (active === undefined && place.checked.has(within)) return;
  place.checked.add(within);
  const outside = active === undefined ? not(within) : and(active, not(within));
  place.statements.push({ kind: 'flag', condition: name(scope.kernel, place, outside) });
}

const both = (a: TileExpression | undefined, b: TileExpression | undefined): TileExpression | undefined =>
  a === undefined ? b : b === undefined ? a : and(a, b);

function read(scope: Scope, of: Load): TileExpression {
  const { access, guard } = of;
  const memory = scope.kernel.memory(access.buffer);
  const address = addressOf(scope, access);
  let inside: TileExpression | undefined;
  access.index.forEach((at, dimension) => {
    const condition = guard === 'none' ? undefined : insideOf(at, access.shape[dimension]);
    if (condition === undefined) return;
    const within = evaluate(scope, condition);
    inside = both(inside, within);
    if (guard === 'check' && at.kind === 'computed') flagOutside(scope, condition, within);
  });
  if (scope.condition !== undefined && needsOf(of).unsafe) inside = both(inside, scope.condition.value);
  const wanted = inside === undefined ? undefined : name(scope.kernel, scope.place, inside);
  if (address.lanes === 1 && (wanted === undefined || wanted.type.lanes === 1))
    return readScalar(scope, of, address.offset, wanted);
  const lanes = Math.max(address.lanes, wanted?.type.lanes ?? 1);
  const mask = both(address.mask, wanted);
  return load(memory, address.offset, lanes, { stride: address.stride, ...(mask && { mask: splat(mask, lanes) }) });
}

/** A scalar that may be outside reads element 0 instead: no branch. Threads do not branch; another may be writing there. */
function readScalar(
  scope: Scope,
  of: Load,
  offset: TileExpression,
  inside: TileExpression | undefined,
): TileExpression {
  const memory = scope.kernel.memory(of.access.buffer);
  if (inside === undefined) return load(memory, offset);
  if (scope.kernel.masksElements) return load(memory, offset, 1, { mask: inside });
  const at = where(inside, offset, index(0));
  return where(inside, load(memory, name(scope.kernel, scope.place, at)), number(0, memory.dtype));
}

/** Lanes whose values count: not beyond the end of the axis, and on the chosen side of a `where`. */
function activeLanes(scope: Scope, lanes: number): TileExpression | undefined {
  let mask: TileExpression | undefined;
  if (lanes > 1) for (const binding of scope.axes.values()) if (binding.lanes > 1) mask = binding.mask;
  return both(mask, scope.condition?.value);
}

/** The first element of an access, counted from the start of its memory. */
export const offsetOf = (scope: Scope, access: Access): TileExpression => addressOf(scope, access).offset;

/** Asks for the cache line of an access. */
export function prefetch(scope: Scope, access: Access): void {
  const memory = scope.kernel.memory(access.buffer);
  scope.place.statements.push({ kind: 'prefetch', memory, offset: offsetOf(scope, access) });
}

/** Writes one element, or one vector of them, per store; all values are computed before any is written. */
export function write(scope: Scope, stores: readonly Store[]): void {
  const values = stores.map((store) => evaluate(scope, store.value));
  stores.forEach((store, at) => writeValue(scope, store.access, values[at]));
}

/** Writes a value computed already. */
export function writeValue(scope: Scope, access: Access, value: TileExpression): void {
  const memory = scope.kernel.memory(access.buffer);
  const { offset, stride, lanes, mask } = addressOf(scope, access);
  const stored = splat(cast(value, memory.dtype), lanes);
  scope.place.statements.push({
    kind: 'store',
    memory,
    offset: name(scope.kernel, scope.place, offset),
    stride,
    value: name(scope.kernel, scope.place, stored),
    ...(mask && { mask }),
  });
}
