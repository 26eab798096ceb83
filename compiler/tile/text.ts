/**
 * Tile IR as text, which `parseTile` reads back:
 *
 *   program step arena 4096 {
 *     buffer x: f32[32, 64] batch
 *     buffer h: f32[32, 64] temporary @ 0
 *
 *     kernel relu(x: f32[2048] read, h: f32[2048] write) grid item in 32 {
 *       for i = 0 to 64 step 16 {
 *         let at = item * 64 + i
 *         let v = x[at; 16]
 *         h[at] = max(v, 0:f32x16)
 *       }
 *     }
 *
 *     launch relu(x, h)
 *     repeat t in 10 reverse { launch … given (t) }
 *   }
 *
 * A bare number is an index, `0:f32x16` a constant in 16 lanes. `x[at; 16 by 4 if m]` reads 16 lanes, 4 elements apart,
 * where the mask m holds; a vector of offsets gathers. `f32(x)` casts, `splat(x, 16)`, `ramp(i32x16)`, `combine.sum(x)`,
 * `shuffle.0.4.1.5(x, y)`. `//` begins a comment.
 */
import { printNumber } from '../graph/text.ts';
import { infix } from '../loop/text.ts';
import { dtypes } from '../types/dtype.ts';
import type { TileDtype } from './build.ts';
import type {
  MatrixOperand,
  Memory,
  Register,
  Statement,
  TileExpression,
  TileKernel,
  TileProgram,
  TileStep,
  TileType,
} from './tile.ts';

/** How tightly infix ops bind; more is tighter. */
export const precedence: Readonly<Record<string, number>> = {
  or: 1,
  xor: 2,
  and: 3,
  eq: 4,
  ne: 4,
  lt: 4,
  le: 4,
  shl: 5,
  shr: 5,
  add: 6,
  sub: 6,
  mul: 7,
  div: 7,
  rem: 7,
};
const primary = 9;

type Naming = (of: Register | Memory) => string;

const printType = ({ dtype, lanes }: TileType): string => (lanes === 1 ? dtype : `${dtype}x${lanes}`);
const printName = (name: string): string =>
  /^[A-Za-z_][A-Za-z0-9_.]*$/.test(name) && !keywords.has(name) ? name : JSON.stringify(name);

/** Element types, and what addresses are. */
export const tileDtypes: readonly TileDtype[] = [...dtypes, 'index'];

/** Words that would be misread as something else at the start of a statement or of an expression. */
export const keywords: ReadonlySet<string> = new Set([
  'let',
  'var',
  'for',
  'if',
  'else',
  'prefetch',
  'barrier',
  'exchange',
  'fetch',
  'flag',
  'multiply',
  'scratch',
  'by',
  'to',
  'step',
  'inf',
  'nan',
  'splat',
  'ramp',
  'launch',
  'repeat',
  'kernel',
  'buffer',
  ...tileDtypes,
]);

/** One expression, with the names as they are: for messages. */
export const printExpression = (expression: TileExpression): string => print(expression, (of) => printName(of.name));

export function printTile(program: TileProgram): string {
  const halves = program.halves === undefined ? '' : ` halves ${program.halves}`;
  const lines = [`program ${printName(program.name)} arena ${program.arena}${halves} {`];
  for (const buffer of program.buffers) {
    const place = buffer.offset === undefined ? '' : ` @ ${buffer.offset}`;
    const data = buffer.data === undefined ? '' : ` = [${buffer.data.map(printNumber).join(', ')}]`;
    lines.push(
      `  buffer ${printName(buffer.name)}: ${buffer.dtype}[${buffer.shape.join(', ')}] ${buffer.role}${place}${data}`,
    );
  }
  const kernels = distinctKernels(program.steps);
  const kernelNames = uniqueNames(kernels);
  for (const kernel of kernels) lines.push('', ...printKernel(kernel, kernelNames(kernel)).map((line) => `  ${line}`));
  const axes = uniqueNames(repeatAxes(program.steps));
  const printSteps = (steps: readonly TileStep[], indent: string): void => {
    for (const step of steps) {
      if (step.kind === 'launch') {
        const given = step.arguments.length === 0 ? '' : ` given (${step.arguments.map(axes).join(', ')})`;
        lines.push(`${indent}launch ${kernelNames(step.kernel)}(${step.buffers.map(printName).join(', ')})${given}`);
        continue;
      }
      lines.push(`${indent}repeat ${axes(step.index)} in ${step.trips}${step.reverse ? ' reverse' : ''} {`);
      printSteps(step.body, `${indent}  `);
      lines.push(`${indent}}`);
    }
  };
  lines.push('');
  printSteps(program.steps, '  ');
  lines.push('}', '');
  return lines.join('\n');
}

/** Each kernel once, in the order of its first launch. */
export function distinctKernels(steps: readonly TileStep[]): TileKernel[] {
  return [...new Set(steps.flatMap((step) => (step.kind === 'launch' ? [step.kernel] : distinctKernels(step.body))))];
}

const repeatAxes = (steps: readonly TileStep[]): Register[] =>
  steps.flatMap((step) => (step.kind === 'repeat' ? [step.index, ...repeatAxes(step.body)] : []));

/** Names that are different for different things: the second `v` is v.2. */
function uniqueNames<T extends { readonly name: string }>(things: Iterable<T>): (of: T) => string {
  const names = new Map<T, string>();
  nameAll(things, names, new Set());
  return (of) => names.get(of) ?? printName(of.name);
}

function nameAll<T extends { readonly name: string }>(
  things: Iterable<T>,
  names: Map<T, string>,
  taken: Set<string>,
): void {
  for (const thing of things) {
    if (names.has(thing)) continue;
    let name = thing.name;
    for (let count = 2; taken.has(name); count++) name = `${thing.name}.${count}`;
    taken.add(name);
    names.set(thing, printName(name));
  }
}

/** Names within a kernel. Blocks that do not see each other may use the same. */
function namesIn(kernel: TileKernel): Naming {
  const names = new Map<Register | Memory, string>();
  const nameIn = (body: readonly Statement[], taken: Set<string>): void => {
    for (const statement of body)
      switch (statement.kind) {
        case 'let':
        case 'var':
        case 'exchange':
          nameAll([statement.register], names, taken);
          break;
        case 'for': {
          const inner = new Set(taken);
          nameAll([statement.index], names, inner);
          nameIn(statement.body, inner);
          break;
        }
        case 'if':
          for (const branch of [statement.then, statement.else]) nameIn(branch, new Set(taken));
          break;
        default:
      }
  };
  const { parameters, scratch, arguments: given, item, thread, body } = kernel;
  const taken = new Set<string>();
  nameAll([...parameters, ...scratch, ...given, item, thread], names, taken);
  nameIn(body, taken);
  return (of) => names.get(of) ?? printName(of.name);
}

function printKernel(kernel: TileKernel, name: string): string[] {
  const naming = namesIn(kernel);
  const parameters = kernel.parameters.map(
    (memory) => `${naming(memory)}: ${memory.dtype}[${memory.size}] ${memory.access}`,
  );
  const given = kernel.arguments.length === 0 ? '' : ` given (${kernel.arguments.map(naming).join(', ')})`;
  const workgroup =
    kernel.workgroup === 1 && naming(kernel.thread) === 'thread'
      ? ''
      : ` workgroup ${naming(kernel.thread)} in ${kernel.workgroup}`;
  return [
    `kernel ${name}(${parameters.join(', ')})${given} grid ${naming(kernel.item)} in ${kernel.grid}${workgroup} {`,
    ...kernel.scratch.map((memory) => `  scratch ${naming(memory)}: ${memory.dtype}[${memory.size}] ${memory.space}`),
    ...kernel.body.flatMap((statement) => printStatement(statement, naming)).map((line) => `  ${line}`),
    '}',
  ];
}

function printStatement(statement: Statement, naming: Naming): string[] {
  const show = (expression: TileExpression): string => print(expression, naming);
  const nested = (body: readonly Statement[]): string[] =>
    body.flatMap((inner) => printStatement(inner, naming)).map((line) => `  ${line}`);
  switch (statement.kind) {
    case 'let':
    case 'var':
      return [`${statement.kind} ${naming(statement.register)} = ${show(statement.value)}`];
    case 'assign':
      return [`${naming(statement.register)} = ${show(statement.value)}`];
    case 'store':
      return [`${naming(statement.memory)}[${printPlace(statement, 1, naming)}] = ${show(statement.value)}`];
    case 'for':
      return [
        `for ${naming(statement.index)} = ${show(statement.from)} to ${show(statement.to)} step ${statement.step} {`,
        ...nested(statement.body),
        '}',
      ];
    case 'if':
      return [
        `if ${show(statement.condition)} {`,
        ...nested(statement.then),
        ...(statement.else.length === 0 ? [] : ['} else {', ...nested(statement.else)]),
        '}',
      ];
    case 'prefetch':
      return [`prefetch ${naming(statement.memory)}[${show(statement.offset)}]`];
    case 'barrier':
      return [statement.leaves === undefined ? 'barrier' : `barrier leaves ${statement.leaves}`];
    case 'fetch': {
      const { memory, offset, from, at, count, mask } = statement;
      const wanted = mask === undefined ? '' : ` if ${show(mask)}`;
      return [`fetch ${count} of ${naming(from)}[${show(at)}] to ${naming(memory)}[${show(offset)}]${wanted}`];
    }
    case 'exchange':
      return [`exchange ${naming(statement.register)} = ${show(statement.value)} by ${statement.distance}`];
    case 'multiply': {
      const { threads, rows, columns, depth, left, right, sums } = statement;
      const operand = ({ memory, offset, pitch, turned }: MatrixOperand): string =>
        `${naming(memory)}[${show(offset)} by ${pitch}]${turned ? ' turned' : ''}`;
      return [
        `multiply ${rows}, ${columns}, ${depth} by ${threads} of ${operand(left)}, ${operand(right)} into (${sums.map(naming).join(', ')})`,
      ];
    }
    case 'flag':
      return [`flag ${show(statement.condition)}`];
  }
}

type Access = Pick<Extract<TileExpression, { kind: 'load' }>, 'memory' | 'offset' | 'stride' | 'mask'>;

/** What stands between the brackets; the lanes are said where nothing else says them. */
function printPlace(access: Access, lanes: number, naming: Naming): string {
  const parts = [print(access.offset, naming) + (lanes > 1 && access.offset.type.lanes === 1 ? `; ${lanes}` : '')];
  if (access.stride !== 1) parts.push(`by ${access.stride}`);
  if (access.mask !== undefined) parts.push(`if ${print(access.mask, naming)}`);
  return parts.join(' ');
}

function print(expression: TileExpression, naming: Naming): string {
  return printBound(expression, naming, 0);
}

/** In parentheses where it binds less than its surroundings ask for. */
function printBound(expression: TileExpression, naming: Naming, least: number): string {
  const { type } = expression;
  const show = (inner: TileExpression): string => print(inner, naming);
  switch (expression.kind) {
    case 'number': {
      const value = printNumber(expression.value);
      return type.dtype === 'index' && type.lanes === 1 ? value : `${value}:${printType(type)}`;
    }
    case 'register':
      return naming(expression.register);
    case 'cast':
      return `${type.dtype}(${show(expression.operand)})`;
    case 'splat':
      return `splat(${show(expression.operand)}, ${type.lanes})`;
    case 'ramp':
      return `ramp(${printType(type)})`;
    case 'combine':
      return `combine.${expression.monoid}(${show(expression.operand)})`;
    case 'shuffle':
      return `shuffle.${expression.picks.join('.')}(${expression.operands.map(show).join(', ')})`;
    case 'load':
      return `${naming(expression.memory)}[${printPlace(expression, type.lanes, naming)}]`;
    case 'apply': {
      const [a, b] = expression.operands;
      const sign = infix[expression.op];
      const bound = precedence[expression.op] ?? primary;
      if (sign === undefined || a === undefined || b === undefined)
        return `${expression.op}(${expression.operands.map(show).join(', ')})`;
      const left = printBound(a, naming, bound);
      // Index arithmetic is built of additions.
      const less = expression.op === 'add' && b.kind === 'number' && b.type.dtype === 'index' && b.value < 0;
      const text = less ? `${left} - ${printNumber(-b.value)}` : `${left} ${sign} ${printBound(b, naming, bound + 1)}`;
      return bound < least ? `(${text})` : text;
    }
  }
}
