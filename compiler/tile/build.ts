/**
 * Terse construction of Tile IR. Operands are brought to the same number of lanes (a scalar beside a vector is
 * splatted), and index arithmetic is folded as it is built, so that schedules may write it naively.
 */
import type { Monoid } from '../graph/graph.ts';
import type { Dtype } from '../types/dtype.ts';
import type { Memory, Register, Statement, TileExpression, TileOp, TileType } from './tile.ts';

export type TileDtype = TileType['dtype'];

export const tileType = (dtype: TileDtype, lanes = 1): TileType => ({ dtype, lanes });

/** A constant; the same in every lane. */
export const number = (value: number, dtype: TileDtype = 'f32', lanes = 1): TileExpression => ({
  kind: 'number',
  type: { dtype, lanes },
  value,
});

/** An index constant. */
export const index = (value: number): TileExpression => number(value, 'index');

export const register = (name: string, dtype: TileDtype, lanes = 1): Register => ({ name, type: { dtype, lanes } });

/** The value a register holds. */
export const read = (of: Register): TileExpression => ({ kind: 'register', type: of.type, register: of });

/** A number stands for an index constant wherever an expression is expected. */
export type Operand = TileExpression | number;

export const expression = (operand: Operand): TileExpression =>
  typeof operand === 'number' ? index(operand) : operand;

/** One scalar in every lane; a constant stays a constant. */
export function splat(operand: Operand, lanes: number): TileExpression {
  const scalar = expression(operand);
  if (scalar.type.lanes === lanes) return scalar;
  if (scalar.type.lanes !== 1) throw new Error(`splat of ${scalar.type.lanes} lanes to ${lanes}`);
  const type = { dtype: scalar.type.dtype, lanes };
  return scalar.kind === 'number'
    ? { kind: 'number', type, value: scalar.value }
    : { kind: 'splat', type, operand: scalar };
}

const comparisons: ReadonlySet<TileOp> = new Set<TileOp>(['eq', 'ne', 'lt', 'le']);

/** The type an op gives for operands of these types: theirs, except for comparisons, `where` and `philox`. */
export function resultType(op: TileOp, operands: readonly TileType[]): TileType {
  const first = operands[0];
  if (first === undefined) throw new Error(`${op} without operands`);
  if (comparisons.has(op)) return { dtype: 'bool', lanes: first.lanes };
  if (op === 'philox') return { dtype: 'u32', lanes: first.lanes };
  if (op === 'where') return operands[1] ?? first;
  return first;
}

/** Any op by name. Index arithmetic is simplified. */
export function apply(op: TileOp, ...operands: readonly Operand[]): TileExpression {
  const given = operands.map(expression);
  const lanes = Math.max(...given.map((operand) => operand.type.lanes));
  const folded = foldIndex(op, given);
  if (folded !== undefined) return folded;
  const level = given.map((operand) => splat(operand, lanes));
  return {
    kind: 'apply',
    type: resultType(
      op,
      level.map((operand) => operand.type),
    ),
    op,
    operands: level,
  };
}

export const add = (a: Operand, b: Operand): TileExpression => apply('add', a, b);
export const sub = (a: Operand, b: Operand): TileExpression => apply('sub', a, b);
export const mul = (a: Operand, b: Operand): TileExpression => apply('mul', a, b);
export const div = (a: Operand, b: Operand): TileExpression => apply('div', a, b);
export const rem = (a: Operand, b: Operand): TileExpression => apply('rem', a, b);
export const max = (a: Operand, b: Operand): TileExpression => apply('max', a, b);
export const min = (a: Operand, b: Operand): TileExpression => apply('min', a, b);
export const less = (a: Operand, b: Operand): TileExpression => apply('lt', a, b);
export const lessEqual = (a: Operand, b: Operand): TileExpression => apply('le', a, b);
export const equal = (a: Operand, b: Operand): TileExpression => apply('eq', a, b);
export const and = (a: Operand, b: Operand): TileExpression => apply('and', a, b);
export const or = (a: Operand, b: Operand): TileExpression => apply('or', a, b);
export const not = (a: Operand): TileExpression => apply('not', a);
export const fma = (a: Operand, b: Operand, c: Operand): TileExpression => apply('fma', a, b, c);
export const dot4 = (a: Operand, b: Operand, c: Operand): TileExpression => apply('dot4', a, b, c);
export const where = (condition: Operand, a: Operand, b: Operand): TileExpression => apply('where', condition, a, b);

/** The expression itself where nothing changes. */
export function cast(operand: Operand, dtype: TileDtype): TileExpression {
  const from = expression(operand);
  if (from.type.dtype === dtype) return from;
  const type = { dtype, lanes: from.type.lanes };
  const exact =
    from.kind === 'number' &&
    from.type.dtype === 'index' &&
    (dtype === 'f64' ||
      (dtype === 'f32' && Math.fround(from.value) === from.value) ||
      (dtype === 'i32' && (from.value | 0) === from.value));
  return exact ? { kind: 'number', type, value: from.value } : { kind: 'cast', type, operand: from };
}

/** 0, 1, 2, … */
export const ramp = (dtype: TileDtype, lanes: number): TileExpression => ({ kind: 'ramp', type: { dtype, lanes } });

/** All lanes into one scalar; a scalar stays itself. */
export const combine = (monoid: Monoid, operand: TileExpression): TileExpression =>
  operand.type.lanes === 1
    ? operand
    : { kind: 'combine', type: { dtype: operand.type.dtype, lanes: 1 }, monoid, operand };

/** Lane i is lane picks[i] of a's and b's lanes one after the other. */
export const shuffle = (a: TileExpression, b: TileExpression, picks: readonly number[]): TileExpression => ({
  kind: 'shuffle',
  type: { dtype: a.type.dtype, lanes: picks.length },
  picks,
  operands: [a, b],
});

export interface AccessOptions {
  /** Elements between lanes; 1 if not given. */
  readonly stride?: number;
  /** Lanes where it is false are left alone. */
  readonly mask?: TileExpression;
}

/** memory[offset …], `lanes` elements of it (as many as the offset has, if that is a vector). */
export function load(memory: Memory, offset: Operand, lanes = 1, options: AccessOptions = {}): TileExpression {
  const at = expression(offset);
  const type = { dtype: memory.dtype, lanes: at.type.lanes > 1 ? at.type.lanes : lanes };
  return {
    kind: 'load',
    type,
    memory,
    offset: at,
    stride: options.stride ?? 1,
    ...(options.mask && { mask: options.mask }),
  };
}

/** Collects statements; `for` and `if` run their callback with the inner body as the place to add to. */
export interface Block {
  readonly statements: Statement[];
  /** Names a value: computed once, here. Constants and registers are passed through. */
  let(name: string, value: TileExpression): TileExpression;
  var(name: string, value: TileExpression): Register;
  assign(register: Register, value: TileExpression): void;
  store(memory: Memory, offset: Operand, value: TileExpression, options?: AccessOptions): void;
  /** A loop that is known to run once or never is unrolled. */
  for(name: string, from: Operand, to: Operand, step: number, body: (index: TileExpression) => void): void;
  if(condition: TileExpression, then: () => void, otherwise?: () => void): void;
  prefetch(memory: Memory, offset: Operand): void;
  barrier(): void;
  flag(condition: TileExpression): void;
}

export function block(): Block {
  const statements: Statement[] = [];
  let current = statements;
  const inside = (body: () => void): Statement[] => {
    const outer = current;
    const inner: Statement[] = [];
    current = inner;
    body();
    current = outer;
    return inner;
  };
  return {
    statements,
    let(name, value) {
      if (value.kind === 'number' || value.kind === 'register') return value;
      const named: Register = { name, type: value.type };
      current.push({ kind: 'let', register: named, value });
      return read(named);
    },
    var(name, value) {
      const named: Register = { name, type: value.type };
      current.push({ kind: 'var', register: named, value });
      return named;
    },
    assign(target, value) {
      current.push({ kind: 'assign', register: target, value });
    },
    store(memory, offset, value, options = {}) {
      current.push({
        kind: 'store',
        memory,
        offset: expression(offset),
        stride: options.stride ?? 1,
        value,
        ...(options.mask && { mask: options.mask }),
      });
    },
    for(name, from, to, step, body) {
      const start = expression(from);
      const end = expression(to);
      if (start.kind === 'number' && end.kind === 'number') {
        if (start.value >= end.value) return;
        if (start.value + step >= end.value) return body(start);
      }
      const counter = register(name, 'index');
      current.push({
        kind: 'for',
        index: counter,
        from: start,
        to: end,
        step,
        body: inside(() => body(read(counter))),
      });
    },
    if(condition, then, otherwise = () => {}) {
      if (condition.kind === 'number') return condition.value !== 0 ? then() : otherwise();
      current.push({ kind: 'if', condition, then: inside(then), else: inside(otherwise) });
    },
    prefetch(memory, offset) {
      current.push({ kind: 'prefetch', memory, offset: expression(offset) });
    },
    barrier() {
      current.push({ kind: 'barrier' });
    },
    flag(condition) {
      current.push({ kind: 'flag', condition });
    },
  };
}

export const parameter = (name: string, dtype: Dtype, size: number, access: Memory['access']): Memory => ({
  name,
  space: 'global',
  dtype,
  size,
  access,
});
export const scratch = (
  name: string,
  dtype: Dtype,
  size: number,
  space: 'private' | 'workgroup' = 'private',
): Memory => ({
  name,
  space,
  dtype,
  size,
  access: 'read-write',
});

/** Simplifies one application of index arithmetic; undefined where there is nothing to gain. */
function foldIndex(op: TileOp, operands: readonly TileExpression[]): TileExpression | undefined {
  const [a, b] = operands;
  if (a === undefined || b === undefined || operands.length !== 2) return undefined;
  if (a.type.dtype !== 'index' || b.type.dtype !== 'index' || a.type.lanes !== 1 || b.type.lanes !== 1)
    return undefined;
  if (a.kind === 'number' && b.kind === 'number') return foldNumbers(op, a.value, b.value);
  if (a.kind === 'number' && (op === 'add' || op === 'mul')) return apply(op, b, a);
  if (b.kind !== 'number') {
    // (x + c) + y = (x + y) + c, and the same on the right: constants gather at the end.
    if (op === 'add') {
      const left = constantTerm(a);
      const right = constantTerm(b);
      if (left.constant !== 0 || right.constant !== 0)
        return add(add(left.rest, right.rest), left.constant + right.constant);
    }
    return undefined;
  }
  const value = b.value;
  switch (op) {
    case 'add': {
      const { rest, constant } = constantTerm(a);
      if (constant + value === 0) return rest;
      return constant === 0 ? undefined : add(rest, constant + value);
    }
    case 'sub':
      return add(a, -value);
    case 'mul': {
      if (value === 0) return index(0);
      if (value === 1) return a;
      const { rest, constant } = constantTerm(a);
      if (constant !== 0) return add(mul(rest, value), constant * value);
      const factor = constantFactor(a);
      return factor === undefined ? undefined : mul(factor.rest, factor.factor * value);
    }
    case 'div': {
      if (value === 1) return a;
      const factor = constantFactor(a);
      return factor !== undefined && factor.factor % value === 0 ? mul(factor.rest, factor.factor / value) : undefined;
    }
    case 'rem': {
      if (value === 1) return index(0);
      const factor = constantFactor(a);
      return factor !== undefined && factor.factor % value === 0 ? index(0) : undefined;
    }
    default:
      return undefined;
  }
}

function foldNumbers(op: TileOp, a: number, b: number): TileExpression | undefined {
  switch (op) {
    case 'add':
      return index(a + b);
    case 'sub':
      return index(a - b);
    case 'mul':
      return index(a * b);
    case 'div':
      return b === 0 ? undefined : index(Math.trunc(a / b) + 0);
    case 'rem':
      return b === 0 ? undefined : index((a % b) + 0);
    case 'min':
      return index(Math.min(a, b));
    case 'max':
      return index(Math.max(a, b));
    case 'eq':
      return number(a === b ? 1 : 0, 'bool');
    case 'ne':
      return number(a !== b ? 1 : 0, 'bool');
    case 'lt':
      return number(a < b ? 1 : 0, 'bool');
    case 'le':
      return number(a <= b ? 1 : 0, 'bool');
    default:
      return undefined;
  }
}

/** x + c as (x, c). */
function constantTerm(of: TileExpression): { rest: TileExpression; constant: number } {
  if (of.kind === 'apply' && of.op === 'add') {
    const [rest, constant] = of.operands;
    if (rest !== undefined && constant?.kind === 'number') return { rest, constant: constant.value };
  }
  return { rest: of, constant: 0 };
}

/** x · c as (x, c). */
function constantFactor(of: TileExpression): { rest: TileExpression; factor: number } | undefined {
  if (of.kind !== 'apply' || of.op !== 'mul') return undefined;
  const [rest, factor] = of.operands;
  return rest !== undefined && factor?.kind === 'number' ? { rest, factor: factor.value } : undefined;
}
