/**
 * What every Tile program must satisfy; run after every schedule in tests. Finds what the emitters rely on: types and
 * lanes that match, registers defined before use and assigned only if variable, memories that belong to the kernel and
 * are accessed as declared, launches that fit their kernels, temporaries inside the arena and, while
 * they live, apart.
 */
import { elementCount } from '../../common/elements.ts';
import { binaryOps, unaryOps } from '../graph/graph.ts';
import { dtypeBytes, isFloat } from '../types/dtype.ts';
import type { TileDtype } from './build.ts';
import { resultType } from './build.ts';
import { bytesOf, livesOf } from './plan-memory.ts';
import { printExpression } from './text.ts';
import type {
  Memory,
  Register,
  Statement,
  TileBuffer,
  TileExpression,
  TileKernel,
  TileOp,
  TileProgram,
  TileStep,
  TileType,
} from './tile.ts';

/** Sentences, one per fault; none for a good program. `smallest`: bytes that an element takes at least, as `planMemory` was told. */
export function verifyTile(program: TileProgram, smallest = 1): string[] {
  const faults: string[] = [];
  const buffers = new Map<string, TileBuffer>();
  for (const buffer of program.buffers) {
    const report = (what: string): void => void faults.push(`buffer ${buffer.name}: ${what}`);
    if (buffers.has(buffer.name)) report('declared twice');
    buffers.set(buffer.name, buffer);
    const size = elementCount(buffer.shape);
    if (!Number.isSafeInteger(size) || size < 0) report(`its size is ${size}`);
    if (buffer.role === 'constant' && buffer.data?.length !== size)
      report(`has ${buffer.data?.length ?? 0} of its ${size} elements`);
    if (buffer.role !== 'temporary' && buffer.offset !== undefined)
      report('has a place in the arena but is no temporary');
  }
  verifyPlaces(program, smallest, faults);
  const known = new Set<TileKernel>();
  verifySteps(program.steps, new Set(), buffers, known, faults);
  const names = new Set<string>();
  for (const kernel of known) {
    if (names.has(kernel.name)) faults.push(`two kernels are named ${kernel.name}`);
    names.add(kernel.name);
    faults.push(...verifyKernel(kernel).map((fault) => `kernel ${kernel.name}: ${fault}`));
  }
  return faults;
}

/** Temporaries inside their arena; those that live at the same time share no byte of it. */
function verifyPlaces(program: TileProgram, smallest: number, faults: string[]): void {
  const { arena, halves } = program;
  const lives = livesOf(program);
  const placed = program.buffers.flatMap((buffer) => {
    const { offset, name, dtype } = buffer;
    if (offset === undefined) return [];
    const apart = halves !== undefined && dtype === 'f16';
    const end = offset + bytesOf(buffer, apart ? 1 : smallest);
    const whole = apart ? halves : arena;
    if (offset % 64 !== 0 || end > whole)
      faults.push(`buffer ${name}: lies at ${offset}, in an arena of ${whole} bytes`);
    const life = lives.get(name);
    return life === undefined ? [] : [{ name, apart, offset, end, life }];
  });
  placed.forEach((one, at) => {
    for (const other of placed.slice(at + 1))
      if (
        one.apart === other.apart &&
        one.offset < other.end &&
        other.offset < one.end &&
        one.life.first <= other.life.last &&
        other.life.first <= one.life.last
      )
        faults.push(`buffers ${one.name} and ${other.name} share bytes of the arena while both are in use`);
  });
}

function verifySteps(
  steps: readonly TileStep[],
  axes: ReadonlySet<Register>,
  buffers: ReadonlyMap<string, TileBuffer>,
  known: Set<TileKernel>,
  faults: string[],
): void {
  for (const step of steps) {
    if (step.kind === 'repeat') {
      if (step.trips < 0 || !Number.isInteger(step.trips))
        faults.push(`repeat ${step.index.name}: ${step.trips} trips`);
      verifySteps(step.body, new Set([...axes, step.index]), buffers, known, faults);
      continue;
    }
    const { kernel } = step;
    known.add(kernel);
    const report = (what: string): void => void faults.push(`launch of ${kernel.name}: ${what}`);
    if (step.buffers.length !== kernel.parameters.length)
      report(`${step.buffers.length} buffers for ${kernel.parameters.length} parameters`);
    if (step.arguments.length !== kernel.arguments.length)
      report(`${step.arguments.length} values for ${kernel.arguments.length} arguments`);
    for (const argument of step.arguments)
      if (!axes.has(argument)) report(`${argument.name} is no axis of a repeat around it`);
    step.buffers.forEach((name, place) => {
      const buffer = buffers.get(name);
      const memory = kernel.parameters[place];
      if (buffer === undefined) return report(`no buffer ${name}`);
      if (memory === undefined) return;
      if (buffer.dtype !== memory.dtype) report(`${name} is ${buffer.dtype}, parameter ${memory.name} ${memory.dtype}`);
      if (elementCount(buffer.shape) < memory.size)
        report(`${name} has ${elementCount(buffer.shape)} elements, parameter ${memory.name} may touch ${memory.size}`);
      if (buffer.role === 'constant' && memory.access !== 'read') report(`writes the constant ${name}`);
    });
  }
}

interface Scope {
  readonly memories: ReadonlySet<Memory>;
  /** Registers in reach; true: may be assigned. */
  readonly registers: Map<Register, boolean>;
  /** Expressions of this statement already looked at: they may be shared. */
  readonly seen: Set<TileExpression>;
  readonly report: (fault: string) => void;
}

export function verifyKernel(kernel: TileKernel): string[] {
  const faults: string[] = [];
  const report = (fault: string): void => void faults.push(fault);
  if (!Number.isInteger(kernel.grid) || kernel.grid < 0) report(`its grid is ${kernel.grid}`);
  if (!Number.isInteger(kernel.workgroup) || kernel.workgroup < 1) report(`its workgroup is ${kernel.workgroup}`);
  for (const memory of kernel.parameters)
    if (memory.space !== 'global') report(`parameter ${memory.name} is ${memory.space} memory`);
  for (const memory of kernel.scratch) if (memory.space === 'global') report(`scratch ${memory.name} is global memory`);
  const given = [...kernel.arguments, kernel.item, kernel.thread];
  for (const register of given)
    if (register.type.dtype !== 'index' || register.type.lanes !== 1) report(`${register.name} must be one index`);
  const scope: Scope = {
    memories: new Set([...kernel.parameters, ...kernel.scratch]),
    registers: new Map(given.map((register) => [register, false])),
    seen: new Set(),
    report,
  };
  verifyBody(kernel.body, scope);
  return faults;
}

function verifyBody(body: readonly Statement[], outer: Scope): void {
  const scope: Scope = { ...outer, registers: new Map(outer.registers) };
  const { report, registers } = scope;
  const scalarIndex = (expression: TileExpression, what: string): void => {
    if (expression.type.dtype !== 'index' || expression.type.lanes !== 1)
      report(`${what} is ${showType(expression.type)}, not one index`);
  };
  for (const statement of body) {
    scope.seen.clear();
    switch (statement.kind) {
      case 'let':
      case 'var':
        verifyExpression(statement.value, scope);
        if (!sameType(statement.value.type, statement.register.type))
          report(
            `${statement.register.name} is ${showType(statement.register.type)} but is set to ${showType(statement.value.type)}`,
          );
        if (registers.has(statement.register)) report(`${statement.register.name} is defined twice`);
        registers.set(statement.register, statement.kind === 'var');
        break;
      case 'assign':
        verifyExpression(statement.value, scope);
        if (registers.get(statement.register) !== true)
          report(`${statement.register.name} is assigned but is no variable in reach`);
        if (!sameType(statement.value.type, statement.register.type))
          report(
            `${statement.register.name} is ${showType(statement.register.type)} but is assigned ${showType(statement.value.type)}`,
          );
        break;
      case 'store':
        verifyExpression(statement.value, scope);
        verifyAccess(statement, statement.value.type, 'store', scope);
        break;
      case 'prefetch':
        verifyExpression(statement.offset, scope);
        scalarIndex(statement.offset, 'the place of a prefetch');
        if (!scope.memories.has(statement.memory)) report(`memory ${statement.memory.name} is not this kernel's`);
        break;
      case 'for':
        verifyExpression(statement.from, scope);
        verifyExpression(statement.to, scope);
        scalarIndex(statement.from, 'the start of a loop');
        scalarIndex(statement.to, 'the end of a loop');
        if (!Number.isInteger(statement.step) || statement.step < 1)
          report(`loop ${statement.index.name} steps by ${statement.step}`);
        if (statement.index.type.dtype !== 'index' || statement.index.type.lanes !== 1)
          report(`loop counter ${statement.index.name} must be one index`);
        verifyBody(statement.body, { ...scope, registers: new Map([...registers, [statement.index, false]]) });
        break;
      case 'if':
        verifyExpression(statement.condition, scope);
        if (statement.condition.type.dtype !== 'bool' || statement.condition.type.lanes !== 1)
          report(`an if asks ${showType(statement.condition.type)}`);
        verifyBody(statement.then, scope);
        verifyBody(statement.else, scope);
        break;
      case 'flag':
        verifyExpression(statement.condition, scope);
        if (statement.condition.type.dtype !== 'bool') report(`a flag asks ${showType(statement.condition.type)}`);
        break;
      case 'multiply':
        verifyMultiply(statement, scope, scalarIndex);
        break;
      case 'fetch': {
        const { memory, offset, from, at, count, mask } = statement;
        for (const place of [offset, at]) {
          verifyExpression(place, scope);
          scalarIndex(place, 'the place of a fetch');
        }
        if (mask !== undefined) verifyExpression(mask, scope);
        for (const of of [memory, from]) if (!scope.memories.has(of)) report(`memory ${of.name} is not this kernel's`);
        if (memory.space !== 'workgroup' || from.space !== 'global' || memory.dtype !== from.dtype)
          report(`a fetch from ${from.space} memory of ${from.dtype} to ${memory.space} memory of ${memory.dtype}`);
        if (count * dtypeBytes[memory.dtype] !== 16)
          report(`a fetch of ${count} ${memory.dtype}, which are not 16 bytes`);
        break;
      }
      case 'exchange': {
        const { register, value, distance } = statement;
        verifyExpression(value, scope);
        if (!sameType(value.type, register.type) || value.type.lanes !== 1 || value.type.dtype === 'index')
          report(`${register.name} is ${showType(register.type)} but takes ${showType(value.type)} of another thread`);
        if (distance < 1 || (distance & (distance - 1)) !== 0) report(`${distance} is no bit of a thread's number`);
        if (registers.has(register)) report(`${register.name} is defined twice`);
        registers.set(register, false);
        break;
      }
      case 'barrier':
        if ((statement.leaves ?? 1) < 1) report(`a barrier that leaves ${statement.leaves} says nothing`);
        break;
    }
  }
}

function verifyMultiply(
  { threads, rows, columns, depth, left, right, sums }: Extract<Statement, { kind: 'multiply' }>,
  scope: Scope,
  scalarIndex: (of: TileExpression, what: string) => void,
): void {
  const { report, registers } = scope;
  const { dtype } = left.memory;
  const step = dtype === 'f32' ? 8 : 16;
  if (rows % 16 !== 0 || columns % 8 !== 0 || depth % step !== 0)
    report(`a multiply of ${rows} × ${columns} by ${depth}, which are no blocks of 16 × 8 by ${step}`);
  if (dtype !== 'f32' && dtype !== 'f16' && dtype !== 'bf16') report(`a multiply of ${dtype}`);
  if (threads === 128 && rows !== 64) report(`a multiply of ${rows} rows by 128 threads, who take 64`);
  if (threads === 128 && dtype === 'f32' && (left.turned || right.turned))
    report('a matrix of f32 that lies turned, which 128 threads do not take');
  if (sums.length !== (rows * columns) / threads) report(`${sums.length} sums of a thread for ${rows} × ${columns}`);
  for (const { memory, offset } of [left, right]) {
    verifyExpression(offset, scope);
    scalarIndex(offset, 'the place of a matrix');
    if (!scope.memories.has(memory)) report(`memory ${memory.name} is not this kernel's`);
    if (memory.space !== 'workgroup' || memory.dtype !== dtype)
      report(`a matrix in ${memory.name}, which is ${memory.space} memory of ${memory.dtype}`);
  }
  for (const sum of sums)
    if (registers.get(sum) !== true || sum.type.dtype !== 'f32') report(`${sum.name} is no variable of f32 in reach`);
}

const showType = ({ dtype, lanes }: TileType): string => (lanes === 1 ? dtype : `${dtype}x${lanes}`);
const sameType = (a: TileType, b: TileType): boolean => a.dtype === b.dtype && a.lanes === b.lanes;

type Access = Pick<Extract<TileExpression, { kind: 'load' }>, 'memory' | 'offset' | 'stride' | 'mask'>;

function verifyAccess(access: Access, type: TileType, direction: 'load' | 'store', scope: Scope): void {
  const { memory, offset, stride, mask } = access;
  const report = (what: string): void =>
    scope.report(`${direction} of ${memory.name}[${printExpression(offset)}]: ${what}`);
  verifyExpression(offset, scope);
  if (!scope.memories.has(memory)) report("the memory is not this kernel's");
  if (direction === 'load' ? memory.access === 'write' : memory.access === 'read')
    report(`the memory may only be ${memory.access === 'read' ? 'read' : 'written'}`);
  if (type.dtype !== memory.dtype) report(`${showType(type)} in memory of ${memory.dtype}`);
  if (offset.type.dtype !== 'index') report(`the offset is ${showType(offset.type)}`);
  if (offset.type.lanes !== 1 && offset.type.lanes !== type.lanes)
    report(`${offset.type.lanes} offsets for ${type.lanes} lanes`);
  if (!Number.isInteger(stride)) report(`a stride of ${stride}`);
  if (direction === 'store' && type.lanes > 1 && offset.type.lanes === 1 && stride === 0)
    report('all lanes go to one place');
  if (mask === undefined) return;
  verifyExpression(mask, scope);
  if (mask.type.dtype !== 'bool' || mask.type.lanes !== type.lanes)
    report(`a mask of ${showType(mask.type)} for ${showType(type)}`);
}

function verifyExpression(expression: TileExpression, scope: Scope): void {
  const report = (what: string): void => scope.report(`${printExpression(expression)}: ${what}`);
  const { type } = expression;
  const { lanes } = type;
  if (scope.seen.has(expression)) return;
  scope.seen.add(expression);
  if (!Number.isInteger(lanes) || lanes < 1 || (lanes & (lanes - 1)) !== 0)
    report(`${lanes} lanes are not a power of two`);
  switch (expression.kind) {
    case 'number':
    case 'ramp':
      return;
    case 'register':
      if (!scope.registers.has(expression.register)) report('used where it is not defined');
      if (!sameType(expression.register.type, type))
        report(`read as ${showType(type)} but is ${showType(expression.register.type)}`);
      return;
    case 'cast':
      verifyExpression(expression.operand, scope);
      if (expression.operand.type.lanes !== lanes) report('a cast keeps the lanes');
      return;
    case 'splat':
      verifyExpression(expression.operand, scope);
      if (expression.operand.type.lanes !== 1 || expression.operand.type.dtype !== type.dtype)
        report(`splat of ${showType(expression.operand.type)} to ${showType(type)}`);
      return;
    case 'combine':
      verifyExpression(expression.operand, scope);
      if (lanes !== 1 || expression.operand.type.dtype !== type.dtype)
        report(`combines ${showType(expression.operand.type)} to ${showType(type)}`);
      return;
    case 'shuffle': {
      expression.operands.forEach((operand) => verifyExpression(operand, scope));
      const given = expression.operands.reduce((count, operand) => count + operand.type.lanes, 0);
      if (expression.operands.some((operand) => operand.type.dtype !== type.dtype || operand.type.lanes * 2 !== given))
        report(
          `shuffles ${expression.operands.map((operand) => showType(operand.type)).join(' and ')} to ${showType(type)}`,
        );
      if (
        expression.picks.length !== lanes ||
        expression.picks.some((pick) => !Number.isInteger(pick) || pick < 0 || pick >= given)
      )
        report(`picks lanes ${expression.picks.join(', ')} of ${given}`);
      return;
    }
    case 'load':
      verifyAccess(expression, type, 'load', scope);
      return;
    case 'apply': {
      expression.operands.forEach((operand) => verifyExpression(operand, scope));
      const fault = applyFault(
        expression.op,
        expression.operands.map((operand) => operand.type),
        type,
      );
      if (fault !== undefined) report(fault);
    }
  }
}

const logical: ReadonlySet<TileOp> = new Set<TileOp>(['not', 'and', 'or', 'xor']);
const floatOnly: ReadonlySet<TileOp> = new Set<TileOp>([
  'exp',
  'log',
  'sin',
  'cos',
  'tanh',
  'erf',
  'sqrt',
  'rsqrt',
  'floor',
  'ceil',
  'round',
  'tf32',
  'pow',
]);
const arity = (op: TileOp): number =>
  op === 'philox'
    ? 5
    : op === 'where' || op === 'fma' || op === 'dot4'
      ? 3
      : (unaryOps as readonly string[]).includes(op)
        ? 1
        : (binaryOps as readonly string[]).includes(op)
          ? 2
          : 0;

function applyFault(op: TileOp, operands: readonly TileType[], type: TileType): string | undefined {
  if (operands.length !== arity(op)) return `${op} takes ${arity(op)} operands`;
  if (operands.some((operand) => operand.lanes !== type.lanes)) return 'operands with different lanes';
  const values = op === 'where' ? operands.slice(1) : operands;
  const dtype: TileDtype | undefined = values[0]?.dtype;
  if (dtype === undefined || values.some((operand) => operand.dtype !== dtype))
    return `operands of different types: ${operands.map(showType).join(', ')}`;
  const float = dtype !== 'index' && isFloat(dtype);
  if (op === 'where' && operands[0]?.dtype !== 'bool') return 'a choice without a bool';
  if (op === 'philox' && dtype !== 'u32') return `random bits of ${dtype}`;
  if (floatOnly.has(op) && !float) return `${op} of ${dtype}`;
  if (logical.has(op) && float) return `${op} of ${dtype}`;
  if ((op === 'shl' || op === 'shr') && (float || dtype === 'bool')) return `${op} of ${dtype}`;
  if (dtype === 'bool' && !logical.has(op) && op !== 'where' && op !== 'eq' && op !== 'ne') return `${op} of bool`;
  return sameType(resultType(op, operands), type)
    ? undefined
    : `gives ${showType(resultType(op, operands))}, not ${showType(type)}`;
}
