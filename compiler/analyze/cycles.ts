/**
 * Cycles a Tile kernel takes on one core, counted without running it: loops by their trips, every instruction by what its kind
 * takes when nothing is waited for. Only proportions matter: a machine is measured in the same cycles (predict.ts).
 *
 * An index is followed where it can be computed; a loop costs what its first and its last trip do on average, a branch that
 * cannot be decided half of each side. Index arithmetic is almost free: the compiler below moves it out of loops.
 */
import { cyclesOf } from '../schedule/cost.ts';
import type { Register, Statement, TileExpression, TileKernel, TileOp } from '../tile/tile.ts';

/** Cycles by what is done in them. */
export interface Cycles {
  /** Multiply-adds: what a product is made of. */
  readonly multiply: number;
  /** Functions that take many instructions: exp, division. */
  readonly functions: number;
  /** Loads, stores, masks, simple arithmetic, counting: beside multiply-adds a wide processor hides much of it. */
  readonly rest: number;
}

/** Items that are followed one by one; of more, so many spread over the grid. */
const followed = 24;

/** Of all items together. */
export function kernelCycles(kernel: TileKernel): Cycles {
  const count = Math.min(kernel.grid, followed);
  const counter = new Counter();
  for (let at = 0; at < count; at++) {
    const item = count === kernel.grid ? at : Math.floor(((at + 0.5) * kernel.grid) / count);
    const known: Known = new Map([
      [kernel.item, item],
      [kernel.thread, 0],
      ...kernel.arguments.map((of) => [of, 0] as const),
    ]);
    counter.statements(kernel.body, known, kernel.grid / count);
  }
  return counter.cycles;
}

/** Values of registers of type index, and of conditions (0 or 1). */
type Known = Map<Register, number>;

/** Counting and jumping. */
const perTrip = 1;

/** One instruction of a vector unit that starts two at a time. */
const simple = 0.5;

/** Adds up what `times` runs of something take. */
class Counter {
  readonly cycles = { multiply: 0, functions: 0, rest: 0 };

  statements(body: readonly Statement[], known: Known, times: number): void {
    for (const statement of body) this.statement(statement, known, times);
  }

  private statement(statement: Statement, known: Known, times: number): void {
    switch (statement.kind) {
      case 'let':
      case 'var':
      case 'assign': {
        const { register, value } = statement;
        const found = valueOf(value, known);
        if (found === undefined) known.delete(register);
        else known.set(register, found);
        return this.expression(value, times);
      }
      case 'store': {
        const { value, stride, offset, mask } = statement;
        this.expression(value, times);
        this.cycles.rest += times * access(value.type.lanes, stride, offset, mask, 1);
        return;
      }
      case 'for':
        return this.loop(statement, known, times);
      case 'if': {
        const condition = valueOf(statement.condition, known);
        if (condition !== undefined)
          return this.statements(condition === 0 ? statement.else : statement.then, known, times);
        this.cycles.rest += times;
        this.statements(statement.then, known, times / 2);
        return this.statements(statement.else, known, times / 2);
      }
      case 'prefetch':
        this.cycles.rest += times * simple;
        return;
      case 'multiply':
        this.cycles.multiply +=
          (times * statement.rows * statement.columns * statement.depth) / (128 * statement.threads);
        return;
      case 'exchange':
        this.expression(statement.value, times);
        this.cycles.rest += times;
        return;
      case 'fetch':
      case 'barrier':
      case 'flag':
        this.cycles.rest += times;
    }
  }

  private loop(
    { index, from, to, step, body }: Extract<Statement, { kind: 'for' }>,
    known: Known,
    times: number,
  ): void {
    const [first, end] = [valueOf(from, known) ?? 0, valueOf(to, known)];
    // An end that depends on data is a guess.
    const trips = end === undefined ? 8 : Math.max(0, Math.ceil((end - first) / step));
    if (trips === 0) return;
    this.cycles.rest += times * trips * perTrip;
    const at = (trip: number, runs: number): void => this.statements(body, known.set(index, first + trip * step), runs);
    if (trips === 1) return at(0, times);
    at(0, (times * trips) / 2);
    at(trips - 1, (times * trips) / 2);
  }

  private expression(of: TileExpression, times: number): void {
    const { cycles } = this;
    switch (of.kind) {
      case 'number':
      case 'register':
        return;
      case 'ramp':
        cycles.rest += times * simple;
        return;
      case 'apply':
        if (of.type.dtype === 'index') cycles.rest += times * 0.1;
        else {
          this.operation(of.op, times);
          for (const operand of of.operands) this.expression(operand, times);
        }
        return;
      case 'cast':
        cycles.rest += of.type.dtype === 'index' ? 0 : times * 2 * simple;
        return this.expression(of.operand, times);
      case 'splat':
        // A scalar from memory is spread by the load itself.
        cycles.rest += of.operand.kind === 'load' ? 0 : times * simple;
        return this.expression(of.operand, times);
      case 'combine':
        cycles.rest += times * 2 * Math.log2(of.operand.type.lanes);
        return this.expression(of.operand, times);
      case 'shuffle':
        cycles.rest += times * 2 * simple;
        for (const operand of of.operands) this.expression(operand, times);
        return;
      case 'load':
        cycles.rest += times * access(of.type.lanes, of.stride, of.offset, of.mask, simple);
    }
  }

  private operation(op: TileOp, times: number): void {
    if (op === 'fma' || op === 'dot4') this.cycles.multiply += times * (op === 'fma' ? simple : 1);
    else if (op === 'where' || cyclesOf(op) === 1) this.cycles.rest += times * simple;
    else this.cycles.functions += times * cyclesOf(op);
  }
}

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
