/**
 * What a Tile program means: the slow oracle of every schedule and target. Elements are float64 numbers rounded to their
 * dtype after every operation. Every access is checked against its memory, every read of scratch or of a temporary
 * sees NaN where nothing was written, and work items that touch each other's elements are found: a schedule that passes
 * here reads and writes only what it may.
 */
import { elementCount } from '../../common/elements.ts';
import { castScalar, binaryScalar, dot4, unaryScalar } from '../ops/scalar.ts';
import { roundTf32, roundTo } from '../ops/numeric.ts';
import { philoxWord } from '../../common/philox.ts';
import { binaryOps, unaryOps } from '../graph/graph.ts';
import type { BinaryOp, Monoid } from '../graph/graph.ts';
import type { Dtype } from '../types/dtype.ts';
import { isFloat } from '../types/dtype.ts';
import type { TileDtype } from './build.ts';
import { elementAt, sumAt } from './matrix.ts';
import type {
  MatrixOperand,
  Memory,
  Register,
  Statement,
  TileExpression,
  TileKernel,
  TileOp,
  TileProgram,
  TileStep,
} from './tile.ts';
import { type Bound, type Context, mark, type Value } from './races.ts';

/** The contents of every buffer by name; missing ones are made (constants with their data, others zero) and kept. */
export type TileMemories = Map<string, Float64Array>;

export interface TileRun {
  /** An index was out of range. */
  readonly flagged: boolean;
}

/** What unwritten memory holds: NaN, or an integer nobody would compute. */
const unwritten = (dtype: Dtype): number =>
  isFloat(dtype) ? NaN : dtype === 'u8' ? 205 : dtype === 'i8' ? -51 : dtype === 'bool' ? 1 : 1_234_567_890;

/** Runs the program once on the memories, in place. Throws where a kernel misbehaves, with its name. */
export function interpretTile(program: TileProgram, memories: TileMemories): TileRun {
  for (const buffer of program.buffers) {
    const size = elementCount(buffer.shape);
    if (buffer.role === 'temporary') memories.set(buffer.name, new Float64Array(size).fill(unwritten(buffer.dtype)));
    else if (!memories.has(buffer.name))
      memories.set(buffer.name, buffer.data === undefined ? new Float64Array(size) : Float64Array.from(buffer.data));
    if (memories.get(buffer.name)?.length !== size)
      throw new Error(`${program.name}: buffer ${buffer.name} needs ${size} elements`);
  }
  const state = { flagged: false };
  const compiled = new Map<TileKernel, Runner>();
  const indices = new Map<Register, number>();
  const run = (steps: readonly TileStep[]): void => {
    for (const step of steps) {
      if (step.kind === 'repeat') {
        for (let trip = 0; trip < step.trips; trip++) {
          indices.set(step.index, step.reverse ? step.trips - 1 - trip : trip);
          run(step.body);
        }
        continue;
      }
      const { kernel } = step;
      const runner = compiled.get(kernel) ?? compileKernel(kernel, state);
      compiled.set(kernel, runner);
      const places = step.buffers.map((name) => {
        const place = memories.get(name);
        if (place === undefined)
          throw new Error(`${program.name}: kernel ${kernel.name} is launched on an unknown buffer ${name}`);
        return place;
      });
      const values = step.arguments.map((argument) => {
        const value = indices.get(argument);
        if (value === undefined)
          throw new Error(
            `${program.name}: kernel ${kernel.name} is given ${argument.name}, which is no axis of a repeat around it`,
          );
        return value;
      });
      runner(places, values);
    }
  };
  run(program.steps);
  return { flagged: state.flagged };
}

type Runner = (places: readonly Float64Array[], values: readonly number[]) => void;
type Run = () => Value;

function compileKernel(kernel: TileKernel, state: { flagged: boolean }): Runner {
  const threads = Array.from({ length: kernel.workgroup }, () => ({
    registers: new Map<Register, Value>(),
    scratch: new Map<Memory, Float64Array>(),
  }));
  const context: Context = {
    kernel,
    state,
    registers: new Map(),
    memories: new Map(),
    item: 0,
    thread: 0,
    threads,
    touched: new Map(),
    underway: [[]],
  };
  for (const memory of [...kernel.parameters, ...kernel.scratch])
    context.memories.set(memory, { data: new Float64Array(0) });
  const body = compileTeam(context, kernel.body);
  return (places, values) => {
    const marks = new Map<Float64Array, { readers: Int32Array; writers: Int32Array }>();
    kernel.parameters.forEach((memory, place) => {
      const data = places[place];
      const bound = context.memories.get(memory);
      if (data === undefined || bound === undefined || data.length < memory.size)
        throw new Error(
          `kernel ${kernel.name}: ${memory.name} is launched with a buffer of ${data?.length ?? 0} elements, but may touch ${memory.size}`,
        );
      bound.data = data;
      if (kernel.grid === 1) return;
      const mark = marks.get(data) ?? {
        readers: new Int32Array(data.length).fill(-1),
        writers: new Int32Array(data.length).fill(-1),
      };
      marks.set(data, mark);
      Object.assign(bound, mark);
    });
    for (let item = 0; item < kernel.grid; item++) {
      context.item = item;
      context.touched.clear();
      context.underway.splice(0, context.underway.length, []);
      for (const memory of kernel.scratch) {
        const fresh = (): Float64Array => new Float64Array(memory.size).fill(unwritten(memory.dtype));
        const bound = context.memories.get(memory);
        if (memory.space === 'private') threads.forEach(({ scratch }) => scratch.set(memory, fresh()));
        else if (bound !== undefined) bound.data = fresh();
      }
      threads.forEach(({ registers }, thread) => {
        kernel.arguments.forEach((argument, place) => registers.set(argument, values[place] ?? 0));
        registers.set(kernel.item, item);
        registers.set(kernel.thread, thread);
      });
      body();
    }
  };
}

const meets = (statement: Statement): boolean => {
  if (statement.kind === 'for') return statement.body.some(meets);
  if (statement.kind === 'if') return [...statement.then, ...statement.else].some(meets);
  return statement.kind === 'barrier' || statement.kind === 'exchange';
};

/** Threads take turns, each up to the next barrier; what surrounds a barrier must be the same for all of them. */
function compileTeam(context: Context, body: readonly Statement[]): () => void {
  const parts: (() => void)[] = [];
  let apart: Statement[] = [];
  const close = (): void => {
    if (apart.length === 0) return;
    const part = compileBody(context, apart);
    parts.push(() => inTurn(context, part));
    apart = [];
  };
  for (const statement of body) {
    if (!meets(statement)) {
      apart.push(statement);
      continue;
    }
    close();
    if (statement.kind === 'for') parts.push(compileShared(context, statement));
    else if (statement.kind === 'if') parts.push(compileSharedIf(context, statement));
    else if (statement.kind === 'exchange') parts.push(compileExchange(context, statement));
    else if (statement.kind === 'barrier')
      parts.push(() => {
        context.touched.clear();
        for (const arrive of context.underway.splice(statement.leaves ?? 0).flat()) arrive();
        context.underway.unshift([]);
      });
  }
  close();
  return () => parts.forEach((part) => part());
}

/** A loop with a barrier in it. */
function compileShared(context: Context, statement: Extract<Statement, { kind: 'for' }>): () => void {
  const from = compile(context, statement.from);
  const to = compile(context, statement.to);
  const body = compileTeam(context, statement.body);
  return () => {
    const bounds: (readonly [number, number])[] = [];
    inTurn(context, () => void bounds.push([laneOf(from(), 0), laneOf(to(), 0)]));
    const [[start, end]] = bounds;
    if (bounds.some(([first, last]) => first !== start || last !== end))
      throw new Error(`kernel ${context.kernel.name}: threads leave a loop with a barrier at different times`);
    for (let index = start; index < end; index += statement.step) {
      context.threads.forEach(({ registers }) => registers.set(statement.index, index));
      body();
    }
  };
}

/** An if with a barrier in it: all threads go the same way. */
function compileSharedIf(context: Context, statement: Extract<Statement, { kind: 'if' }>): () => void {
  const condition = compile(context, statement.condition);
  const then = compileTeam(context, statement.then);
  const otherwise = compileTeam(context, statement.else);
  return () => {
    const chosen: boolean[] = [];
    inTurn(context, () => void chosen.push(laneOf(condition(), 0) !== 0));
    if (chosen.some((one) => one !== chosen[0]))
      throw new Error(`kernel ${context.kernel.name}: a barrier inside an if, where not all threads arrive`);
    if (chosen[0]) then();
    else otherwise();
  };
}

/** Each thread lays down its value, then takes another's. */
function compileExchange(context: Context, statement: Extract<Statement, { kind: 'exchange' }>): () => void {
  const value = compile(context, statement.value);
  return () => {
    const values: Value[] = [];
    inTurn(context, () => void values.push(value()));
    context.threads.forEach(({ registers }, thread) =>
      registers.set(statement.register, values[thread ^ statement.distance]),
    );
  };
}

function inTurn(context: Context, act: () => void): void {
  context.threads.forEach(({ registers, scratch }, thread) => {
    context.thread = thread;
    context.registers = registers;
    for (const [memory, data] of scratch) {
      const bound = context.memories.get(memory);
      if (bound !== undefined) bound.data = data;
    }
    act();
  });
}

function compileBody(context: Context, body: readonly Statement[]): () => void {
  const runs = body.map((statement) => compileStatement(context, statement));
  return () => {
    for (const run of runs) run();
  };
}

function compileStatement(context: Context, statement: Statement): () => void {
  const { state } = context;
  switch (statement.kind) {
    case 'let':
    case 'var':
    case 'assign': {
      const value = compile(context, statement.value);
      return () => void context.registers.set(statement.register, value());
    }
    case 'store': {
      const value = compile(context, statement.value);
      const { lanes } = statement.value.type;
      const access = compileAccess(context, statement, lanes);
      return () => {
        const stored = value();
        access((bound, at, lane) => {
          mark(context, bound, statement.memory, at, true);
          bound.data[at] = laneOf(stored, lane);
        });
      };
    }
    case 'for': {
      const from = compile(context, statement.from);
      const to = compile(context, statement.to);
      const body = compileBody(context, statement.body);
      return () => {
        const end = laneOf(to(), 0);
        for (let index = laneOf(from(), 0); index < end; index += statement.step) {
          context.registers.set(statement.index, index);
          body();
        }
      };
    }
    case 'if': {
      const condition = compile(context, statement.condition);
      const then = compileBody(context, statement.then);
      const otherwise = compileBody(context, statement.else);
      return () => (laneOf(condition(), 0) !== 0 ? then() : otherwise());
    }
    case 'prefetch':
    case 'barrier':
      return () => {};
    case 'exchange':
      throw new Error(`kernel ${context.kernel.name}: an exchange that not all threads arrive at`);
    case 'fetch':
      return compileFetch(context, statement);
    case 'multiply':
      return compileMultiply(context, statement);
    case 'flag': {
      const condition = compile(context, statement.condition);
      return () => {
        const raised = condition();
        if (typeof raised === 'number' ? raised !== 0 : raised.some((lane) => lane !== 0)) state.flagged = true;
      };
    }
  }
}

/** Whoever reads too early finds what no memory holds. */
function compileFetch(context: Context, statement: Extract<Statement, { kind: 'fetch' }>): () => void {
  const { memory, offset, from, at, count, mask } = statement;
  const wanted = mask === undefined ? () => 1 : compile(context, mask);
  const source = compileAccess(context, { memory: from, offset: at, stride: 1 }, count);
  const target = compileAccess(context, { memory, offset, stride: 1 }, count);
  return () => {
    const values = new Float64Array(count);
    if (laneOf(wanted(), 0) !== 0)
      source((bound, place, lane) => {
        mark(context, bound, from, place, false);
        values[lane] = bound.data[place];
      });
    target((bound, place, lane) => {
      mark(context, bound, memory, place, true);
      const { data } = bound;
      data[place] = unwritten(memory.dtype);
      context.underway[0].push(() => void (data[place] = values[lane]));
    });
  };
}

/** What one thread of the subgroup does: all products of its own sums. */
function compileMultiply(context: Context, statement: Extract<Statement, { kind: 'multiply' }>): () => void {
  const { threads, columns, depth, left, right, sums } = statement;
  const operand = (matrix: MatrixOperand): ((line: number, k: number) => number) => {
    const { memory, offset } = matrix;
    const start = compile(context, offset);
    return (line, k) => {
      const at = laneOf(start(), 0) + elementAt(matrix, threads, line, k);
      const bound = context.memories.get(memory);
      const value = bound?.data[at];
      if (bound === undefined || value === undefined)
        throw new Error(`kernel ${context.kernel.name}: ${memory.name}[${at}] is outside its ${memory.size} elements`);
      mark(context, bound, memory, at, false);
      if (memory.dtype !== 'f32') return value;
      const rounded = roundTf32(value);
      if (threads === 128 && !Object.is(rounded, value))
        throw new Error(
          `kernel ${context.kernel.name}: ${memory.name}[${at}] is ${value}, which is not rounded to TF32`,
        );
      return rounded;
    };
  };
  const [a, b] = [operand(left), operand(right)];
  return () => {
    const lane = context.thread % 32;
    const own = 16 * Math.floor((context.thread % threads) / 32);
    sums.forEach((sum, at) => {
      const place = sumAt(at, columns, threads);
      const [row, column] = [own + Math.floor(lane / 4) + place.row, 2 * (lane % 4) + place.column];
      let total = laneOf(context.registers.get(sum) ?? NaN, 0);
      for (let k = 0; k < depth; k++) total += a(row, k) * b(column, k);
      context.registers.set(sum, Math.fround(total));
    });
  };
}

const laneOf = (value: Value, lane: number): number => (typeof value === 'number' ? value : (value[lane] ?? NaN));

type Access = Pick<Extract<TileExpression, { kind: 'load' }>, 'memory' | 'offset' | 'stride' | 'mask'>;

/** Visits the elements of an access that its mask leaves, checking each. */
function compileAccess(
  context: Context,
  access: Access,
  lanes: number,
): (visit: (bound: Bound, at: number, lane: number) => void) => void {
  const { memory, stride } = access;
  const bound = context.memories.get(memory);
  if (bound === undefined)
    throw new Error(`kernel ${context.kernel.name}: memory ${memory.name} is neither a parameter nor scratch`);
  const offset = compile(context, access.offset);
  const mask = access.mask === undefined ? undefined : compile(context, access.mask);
  const gathered = access.offset.type.lanes > 1;
  return (visit) => {
    const start = offset();
    const chosen = mask?.();
    for (let lane = 0; lane < lanes; lane++) {
      if (chosen !== undefined && laneOf(chosen, lane) === 0) continue;
      const at = gathered ? laneOf(start, lane) : laneOf(start, 0) + lane * stride;
      if (!Number.isInteger(at) || at < 0 || at >= memory.size) {
        throw new Error(
          `kernel ${context.kernel.name}, item ${context.item}: ${memory.name}[${at}] is outside its ${memory.size} elements`,
        );
      }
      visit(bound, at, lane);
    }
  };
}

const rounding = (dtype: TileDtype): ((value: number) => number) =>
  dtype === 'index' ? (value) => value + 0 : (value) => roundTo(dtype, value);

/** One lane of an op, on numbers of the operands' dtype. */
function scalarOp(op: TileOp, dtype: TileDtype): (a: number, b: number, c: number) => number {
  if (op === 'fma')
    return dtype === 'index' || isFloat(dtype) ? (a, b, c) => a * b + c : (a, b, c) => Math.imul(a, b) + c;
  if (op === 'dot4') return (a, b, c) => dot4(a, b) + c;
  if (op === 'where') return (a, b, c) => (a !== 0 ? b : c);
  if (dtype === 'index' && op === 'div') return (a, b) => (b === 0 ? 0 : Math.trunc(a / b));
  if (dtype === 'index' && op === 'rem') return (a, b) => (b === 0 ? 0 : a % b);
  const meaning: Dtype = dtype === 'index' ? 'f64' : dtype;
  const unary = unaryOps.find((name) => name === op);
  if (unary !== undefined) return unaryScalar(unary, meaning);
  const binary = binaryOps.find((name) => name === op);
  if (binary !== undefined) {
    const apply = binaryScalar(binary, meaning);
    return (a, b) => apply(a, b);
  }
  throw new Error(`no meaning for ${op}`);
}

const monoidOps: Record<Monoid, BinaryOp> = { sum: 'add', prod: 'mul', max: 'max', min: 'min' };

function compile(context: Context, expression: TileExpression): Run {
  const { dtype, lanes } = expression.type;
  switch (expression.kind) {
    case 'number': {
      const value = rounding(dtype)(expression.value);
      return () => value;
    }
    case 'register':
      return () => {
        const value = context.registers.get(expression.register);
        if (value === undefined)
          throw new Error(
            `kernel ${context.kernel.name}: register ${expression.register.name} is read before it is set`,
          );
        return value;
      };
    case 'apply':
      return compileApply(context, expression);
    case 'cast': {
      const operand = compile(context, expression.operand);
      const round = rounding(dtype);
      const convert = conversion(expression.operand.type.dtype, dtype);
      return () => eachLane(lanes, (lane, given) => round(convert(laneOf(given, lane))), operand());
    }
    case 'splat':
      return compile(context, expression.operand);
    case 'ramp': {
      const value = Float64Array.from({ length: lanes }, (_, lane) => lane);
      return () => value;
    }
    case 'combine': {
      const operand = compile(context, expression.operand);
      const op = scalarOp(monoidOps[expression.monoid], dtype);
      const round = rounding(dtype);
      return () => {
        const value = operand();
        const parts = Array.from({ length: expression.operand.type.lanes }, (_, lane) => laneOf(value, lane));
        for (let width = parts.length / 2; width >= 1; width /= 2) {
          for (let lane = 0; lane < width; lane++)
            parts[lane] = round(op(parts[lane] ?? NaN, parts[lane + width] ?? NaN, 0));
        }
        return parts[0] ?? NaN;
      };
    }
    case 'shuffle': {
      const [a, b] = expression.operands.map((operand) => compile(context, operand));
      const given = expression.operands[0].type.lanes;
      return () => {
        const [first, second] = [a(), b()];
        return eachLane(
          lanes,
          (lane) => {
            const pick = expression.picks[lane] ?? 0;
            return pick < given ? laneOf(first, pick) : laneOf(second, pick - given);
          },
          0,
        );
      };
    }
    case 'load': {
      const access = compileAccess(context, expression, lanes);
      return () => {
        const result = new Float64Array(lanes);
        access((bound, at, lane) => {
          mark(context, bound, expression.memory, at, false);
          result[lane] = bound.data[at] ?? NaN;
        });
        return lanes === 1 ? (result[0] ?? NaN) : result;
      };
    }
  }
}

function compileApply(context: Context, expression: Extract<TileExpression, { kind: 'apply' }>): Run {
  const { dtype, lanes } = expression.type;
  const operands = expression.operands.map((operand) => compile(context, operand));
  const round = rounding(dtype);
  if (expression.op === 'philox') {
    return () => {
      const values = operands.map((operand) => operand());
      return eachLane(
        lanes,
        (lane) => {
          const [index = 0, stream = 0, step = 0, key0 = 0, key1 = 0] = values.map((value) => laneOf(value, lane));
          return philoxWord(index, stream, step, 0, key0, key1);
        },
        0,
      );
    };
  }
  const op = scalarOp(expression.op, expression.operands[0]?.type.dtype ?? dtype);
  const [a = () => 0, b = () => 0, c = () => 0] = operands;
  return () => {
    const [x, y, z] = [a(), b(), c()];
    return eachLane(lanes, (lane) => round(op(laneOf(x, lane), laneOf(y, lane), laneOf(z, lane))), 0);
  };
}

function eachLane(lanes: number, of: (lane: number, given: Value) => number, given: Value): Value {
  return lanes === 1 ? of(0, given) : Float64Array.from({ length: lanes }, (_, lane) => of(lane, given));
}

function conversion(from: TileDtype, to: TileDtype): (value: number) => number {
  if (to === 'index')
    return from !== 'index' && isFloat(from)
      ? (value) => (Number.isNaN(value) ? 0 : Math.trunc(value))
      : (value) => value;
  if (from === 'index') return to === 'bool' ? (value) => (value === 0 ? 0 : 1) : (value) => value;
  return castScalar(from, to);
}
