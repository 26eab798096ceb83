/**
 * Cycles a Tile kernel takes on one core, counted without running it: loops by their trips, every instruction by what its kind
 * takes when nothing is waited for. Only proportions matter: a machine is measured in the same cycles (predict.ts).
 *
 * An index is followed where it can be computed; a loop costs what its first and its last trip do on average, a branch that
 * cannot be decided half of each side. Index arithmetic is almost free: the compiler below moves it out of loops.
 */
import { cyclesOf } from '../schedule/cost.ts';
import type { Register, Statement, TileExpression, TileKernel, TileOp } from '../tile/tile.ts';

/** Items that are followed one by one; of more, so many spread over the grid. */
const followed = 24;

/** Of all items together. */
export function kernelCycles(kernel: TileKernel): number {
  const count = Math.min(kernel.grid, followed);
  let total = 0;
  for (let at = 0; at < count; at++) {
    const item = count === kernel.grid ? at : Math.floor(((at + 0.5) * kernel.grid) / count);
    const known: Known = new Map([
      [kernel.item, item],
      [kernel.thread, 0],
      ...kernel.arguments.map((of) => [of, 0] as const),
    ]);
    total += statements(kernel.body, known);
  }
  return count === 0 ? 0 : (total * kernel.grid) / count;
}

/** Values of registers of type index, and of conditions (0 or 1). */
type Known = Map<Register, number>;

const statements = (body: readonly Statement[], known: Known): number =>
  body.reduce((sum, statement) => sum + statementCycles(statement, known), 0);

function statementCycles(statement: Statement, known: Known): number {
  switch (statement.kind) {
    case 'let':
    case 'var':
    case 'assign': {
      const { register, value } = statement;
      const found = valueOf(value, known);
      if (found === undefined) known.delete(register);
      else known.set(register, found);
      return cycles(value);
    }
    case 'store': {
      const { value, stride, offset, mask } = statement;
      return cycles(value) + access(value.type.lanes, stride, offset, mask, 1);
    }
    case 'for':
      return loopCycles(statement, known);
    case 'if': {
      const condition = valueOf(statement.condition, known);
      if (condition !== undefined) return statements(condition === 0 ? statement.else : statement.then, known);
      return 1 + (statements(statement.then, known) + statements(statement.else, known)) / 2;
    }
    case 'prefetch':
      return 0.5;
    case 'multiply':
      return (statement.rows * statement.columns * statement.depth) / 4096;
    case 'barrier':
    case 'flag':
      return 1;
  }
}

/** Counting and jumping. */
const perTrip = 1;

function loopCycles({ index, from, to, step, body }: Extract<Statement, { kind: 'for' }>, known: Known): number {
  const [first, end] = [valueOf(from, known) ?? 0, valueOf(to, known)];
  // An end that depends on data is a guess.
  const trips = end === undefined ? 8 : Math.max(0, Math.ceil((end - first) / step));
  if (trips === 0) return 0;
  const at = (trip: number): number => statements(body, known.set(index, first + trip * step));
  const each = trips === 1 ? at(0) : (at(0) + at(trips - 1)) / 2;
  return trips * (each + perTrip);
}

/** One instruction of a vector unit that starts two at a time. */
const simple = 0.5;

function cycles(of: TileExpression): number {
  switch (of.kind) {
    case 'number':
    case 'register':
      return 0;
    case 'ramp':
      return simple;
    case 'apply':
      if (of.type.dtype === 'index') return 0.1;
      return weight(of.op) + of.operands.reduce((sum, operand) => sum + cycles(operand), 0);
    case 'cast':
      return (of.type.dtype === 'index' ? 0 : 2 * simple) + cycles(of.operand);
    case 'splat':
      // A scalar from memory is spread by the load itself.
      return (of.operand.kind === 'load' ? 0 : simple) + cycles(of.operand);
    case 'combine':
      return 2 * Math.log2(of.operand.type.lanes) + cycles(of.operand);
    case 'shuffle':
      return 2 * simple + cycles(of.operands[0]) + cycles(of.operands[1]);
    case 'load':
      return access(of.type.lanes, of.stride, of.offset, of.mask, simple);
  }
}

const weight = (op: TileOp): number =>
  op === 'fma' || op === 'where'
    ? simple
    : op === 'dot4'
      ? 1
      : Math.max(simple, cyclesOf(op) === 1 ? simple : cyclesOf(op));

/** A vector side by side is one access; elements apart are one each. */
function access(
  lanes: number,
  stride: number,
  offset: TileExpression,
  mask: TileExpression | undefined,
  plain: number,
): number {
  const masking = mask === undefined ? 0 : simple;
  const isTogether = lanes === 1 || (offset.type.lanes === 1 && (stride === 0 || stride === 1));
  return masking + (isTogether ? plain : lanes * Math.max(plain, 0.8));
}

/** The value of an index or a condition, where it is known. */
function valueOf(of: TileExpression, known: Known): number | undefined {
  if (of.type.lanes !== 1) return undefined;
  if (of.kind === 'number') return of.value;
  if (of.kind === 'register') return known.get(of.register);
  if (of.kind === 'cast') return valueOf(of.operand, known);
  if (of.kind !== 'apply') return undefined;
  const values = of.operands.map((operand) => valueOf(operand, known));
  const [a, b, c] = values;
  if (a === undefined || values.includes(undefined)) return undefined;
  return arithmetic[of.op]?.(a, b ?? 0, c ?? 0);
}

const arithmetic: Partial<Record<TileOp, (a: number, b: number, c: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => Math.trunc(a / b),
  rem: (a, b) => a % b,
  min: (a, b) => Math.min(a, b),
  max: (a, b) => Math.max(a, b),
  lt: (a, b) => Number(a < b),
  le: (a, b) => Number(a <= b),
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  not: (a) => 1 - a,
  where: (a, b, c) => (a === 0 ? c : b),
};
