/**
 * A kernel as one function over a slice of its grid: (first, last, arguments…, parameters…, scratch…, flag). Registers are locals
 * of the same names; parameters and scratch are addresses.
 */
import { inlineOnce } from '../../tile/inline.ts';
import type { Register, Statement, TileExpression, TileKernel } from '../../tile/tile.ts';
import { emitCast } from './cast.ts';
import { type Code, type FunctionCode, get, i32, lane, memory, plain, set, v128 } from './code.ts';
import { emitLoad, emitStore, type Place } from './memory.ts';
import { emitOp } from './scalar.ts';
import { type FunctionWriter, functionWriter, isFloat, literal, type ModuleWriter, wasmType } from './writer.ts';

interface Scope {
  readonly writer: FunctionWriter;
  readonly addresses: ReadonlyMap<object, string>;
  /** Index registers that are never below 0: a constant may be added to what they address. */
  readonly natural: Set<Register>;
  /** What this statement has computed so far: an expression used twice is written once. */
  written: Map<TileExpression, Code>;
}

export function emitKernel(module: ModuleWriter, name: string, kernel: TileKernel): FunctionCode {
  if (kernel.workgroup !== 1)
    throw new Error(`kernel ${kernel.name} has workgroups of ${kernel.workgroup}, not of one`);
  const writer = functionWriter(module);
  const addresses = new Map<object, string>(
    [...kernel.parameters, ...kernel.scratch].map((memory) => [memory, memory.name]),
  );
  const natural = new Set<Register>([kernel.item, kernel.thread, ...kernel.arguments]);
  const scope: Scope = { writer, addresses, natural, written: new Map() };
  emitLoop(scope, kernel.item.name, get('first'), get('last'), 1, inlineOnce(kernel.body));
  const words = ['first', 'last', ...kernel.arguments.map((argument) => argument.name), ...addresses.values(), 'flag'];
  return {
    name,
    parameters: words.map((word) => [word, 'i32'] as const),
    locals: writer.locals,
    body: writer.body,
  };
}

/** for index = from; index < to; index += step — tested once before, then at the end of each round. */
function emitLoop(scope: Scope, index: string, from: Code, to: Code, step: number, body: readonly Statement[]): void {
  const { writer } = scope;
  const counter = writer.local(index, 'i32');
  const start = writer.define('i32', from);
  const end = writer.define('i32', to);
  const rounds = (): void => {
    writer.push(set(counter, start));
    const round = writer.inside(() => {
      body.forEach((statement) => emitStatement(scope, statement));
      writer.push(set(counter, plain('i32.add', get(counter), i32(step))));
    });
    writer.push({ kind: 'loop', body: round, again: plain('i32.lt_s', get(counter), end) });
  };
  if (start.kind === 'const' && end.kind === 'const') {
    if (start.value < end.value) rounds();
    return;
  }
  writer.push({ kind: 'if', condition: plain('i32.lt_s', start, end), then: writer.inside(rounds), else: [] });
}

function emitStatement(scope: Scope, statement: Statement): void {
  const { writer } = scope;
  scope.written = new Map();
  switch (statement.kind) {
    case 'let':
    case 'var':
    case 'assign': {
      const { name, type } = statement.register;
      const value = emit(scope, statement.value);
      if (statement.kind === 'let' && isNatural(scope, statement.value)) scope.natural.add(statement.register);
      return writer.push(set(writer.local(name, wasmType(type.dtype, type.lanes)), value));
    }
    case 'store':
      return emitStore(
        writer,
        place(scope, statement, statement.value.type.lanes),
        writer.define(wasmType(statement.value.type.dtype, statement.value.type.lanes), emit(scope, statement.value)),
      );
    case 'for': {
      if (isNatural(scope, statement.from) && statement.step > 0) scope.natural.add(statement.index);
      const [from, to] = [emit(scope, statement.from), emit(scope, statement.to)];
      return emitLoop(scope, statement.index.name, from, to, statement.step, statement.body);
    }
    case 'if': {
      const condition = emit(scope, statement.condition);
      const part = (body: readonly Statement[]): readonly Code[] =>
        writer.inside(() => body.forEach((inner) => emitStatement(scope, inner)));
      return writer.push({ kind: 'if', condition, then: part(statement.then), else: part(statement.else) });
    }
    case 'multiply':
      throw new Error('a matrix instruction on a machine without');
    case 'fetch':
    case 'exchange':
      throw new Error(`${statement.kind} on a machine with one thread per workgroup`);
    case 'prefetch':
    case 'barrier':
      return; // WebAssembly fetches nothing ahead, and there is one thread per workgroup.
    case 'flag': {
      const raised = emit(scope, statement.condition);
      const condition = statement.condition.type.lanes === 1 ? raised : plain('v128.any_true', raised);
      return writer.push({
        kind: 'if',
        condition,
        then: [memory('i32.store', 2, 0, get('flag'), i32(1))],
        else: [],
      });
    }
  }
}

/** Is an index never below 0, as far as can be seen? */
function isNatural(scope: Scope, of: TileExpression): boolean {
  if (of.type.dtype !== 'index' || of.type.lanes !== 1) return false;
  if (of.kind === 'number') return of.value >= 0;
  if (of.kind === 'register') return scope.natural.has(of.register);
  if (of.kind !== 'apply') return false;
  return (
    ['add', 'mul', 'div', 'rem', 'min', 'max'].includes(of.op) && of.operands.every((part) => isNatural(scope, part))
  );
}

type Access = Pick<Extract<TileExpression, { kind: 'load' }>, 'memory' | 'offset' | 'stride' | 'mask'>;

function place(scope: Scope, access: Access, lanes: number): Place {
  const address = scope.addresses.get(access.memory);
  if (address === undefined)
    throw new Error(`memory ${access.memory.name} is neither a parameter nor scratch of its kernel`);
  const { rest, constant } = apart(scope, access.offset);
  const mask = access.mask;
  return {
    memory: access.memory,
    base: get(address),
    offset: emit(scope, rest),
    constant,
    natural: isNatural(scope, access.offset),
    gathered: access.offset.type.lanes > 1,
    stride: access.stride,
    lanes,
    ...(mask !== undefined && {
      mask: scope.writer.define(mask.type.lanes === 1 ? 'i32' : 'v128', emit(scope, mask)),
    }),
  };
}

/** x + c as x and c, where x is never below 0: the instruction adds c, but to an address that wraps around at 0. */
function apart(scope: Scope, offset: TileExpression): { rest: TileExpression; constant: number } {
  const whole = { rest: offset, constant: 0 };
  if (offset.kind !== 'apply' || offset.op !== 'add' || offset.type.lanes !== 1) return whole;
  const [rest, constant] = offset.operands;
  return constant?.kind === 'number' && constant.value >= 0 && isNatural(scope, rest)
    ? { rest, constant: constant.value }
    : whole;
}

function emit(scope: Scope, expression: TileExpression): Code {
  const known = scope.written.get(expression);
  if (known !== undefined) return known;
  const code = emitNew(scope, expression);
  scope.written.set(expression, code);
  return code;
}

function emitNew(scope: Scope, expression: TileExpression): Code {
  const { writer } = scope;
  const { dtype, lanes } = expression.type;
  switch (expression.kind) {
    case 'number':
      return literal(dtype, lanes, expression.value);
    case 'register':
      return get(expression.register.name);
    case 'apply': {
      const values = expression.operands.map((operand) => emit(scope, operand));
      const of = expression.operands[expression.op === 'where' ? 1 : 0] ?? expression;
      return emitOp(writer, expression.op, of.type.dtype, lanes, values);
    }
    case 'cast':
      return emitCast(writer, expression.operand.type.dtype, dtype, lanes, emit(scope, expression.operand));
    case 'splat': {
      const { operand } = expression;
      if (operand.kind === 'load' && operand.memory.dtype === 'f32' && operand.mask === undefined && lanes === 4)
        return emitLoad(writer, { ...place(scope, operand, 4), stride: 0 });
      const value = emit(scope, expression.operand);
      if (lanes === 1) return value;
      const many = plain(isFloat(dtype) ? 'f32x4.splat' : 'i32x4.splat', value);
      return dtype === 'bool' ? plain('i32x4.ne', many, literal('i32', 4, 0)) : many;
    }
    case 'ramp':
      if (lanes === 1) return literal(dtype, 1, 0);
      return isFloat(dtype) ? plain('f32x4.convert_i32x4_s', v128([0, 1, 2, 3])) : v128([0, 1, 2, 3]);
    case 'combine': {
      const op = ({ sum: 'add', prod: 'mul', max: 'max', min: 'min' } as const)[expression.monoid];
      const four = writer.define('v128', emit(scope, expression.operand));
      const two = writer.define('v128', emitOp(writer, op, dtype, 4, [four, words(four, four, [2, 3, 2, 3])]));
      const one = emitOp(writer, op, dtype, 4, [two, words(two, two, [1, 1, 1, 1])]);
      const first = lane(isFloat(dtype) ? 'f32x4.extract_lane' : 'i32x4.extract_lane', 0, one);
      return dtype === 'bool' ? plain('i32.and', first, i32(1)) : first;
    }
    case 'shuffle': {
      const [a, b] = expression.operands.map((operand) => emit(scope, operand));
      return words(a, b, expression.picks);
    }
    case 'load':
      return emitLoad(writer, place(scope, expression, lanes));
  }
}

/** Words of two vectors, counted through both. */
const words = (a: Code, b: Code, picks: readonly number[]): Code => ({
  kind: 'shuffle',
  bytes: picks.flatMap((word) => [0, 1, 2, 3].map((byte) => 4 * word + byte)),
  operands: [a, b],
});
