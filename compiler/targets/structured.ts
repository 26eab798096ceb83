/**
 * Kernels in languages with statements and expressions (WGSL, CUDA C++): what they share is here, how each spells things is its
 * `Spelling`. Threads have no vectors of their own, so every value is a scalar.
 */
import type { TileDtype } from '../tile/build.ts';
import { inlineOnce } from '../tile/inline.ts';
import type { Memory, Register, Statement, TileExpression, TileOp } from '../tile/tile.ts';

export interface Spelling {
  literal(dtype: TileDtype, value: number): string;
  /** A value under a name: for good, or to be assigned again. */
  constant(name: string, dtype: TileDtype, value: string): string;
  variable(name: string, dtype: TileDtype, value: string): string;
  /** `dtype` is that of the first operand (of the second for `where`). Operands may be written twice: nothing has effects. */
  op(op: TileOp, dtype: TileDtype, operands: readonly string[]): string;
  cast(from: TileDtype, to: TileDtype, value: string): string;
  load(memory: Memory, offset: string, mask: string | undefined): string;
  store(memory: Memory, offset: string, value: string): string;
  /** Up to the opening brace. */
  loop(index: string, from: string, to: string, step: number): string;
  /** 16 bytes to workgroup memory, there after a barrier that does not leave it. */
  fetch(of: Extract<Statement, { kind: 'fetch' }>, print: (of: TileExpression) => string): string;
  /** A matrix instruction, one line or several; `print` spells its offsets. */
  multiply(of: Extract<Statement, { kind: 'multiply' }>, print: (of: TileExpression) => string): readonly string[];
  barrier(leaves: number): string;
  /** What another thread of the subgroup has for `value`. */
  exchange(dtype: TileDtype, value: string, distance: number): string;
  readonly raiseFlag: string;
}

/** The statements of a kernel's body, one a line, indented by two. */
export function printBody(body: readonly Statement[], spelling: Spelling): readonly string[] {
  const lines: string[] = [];
  const write = (depth: number, text: string): void => void lines.push('  '.repeat(depth) + text);
  const print = (statements: readonly Statement[], depth: number): void =>
    statements.forEach((statement) => printStatement(statement, depth));
  const expression = (of: TileExpression): string => bare(printExpression(of, spelling));
  const printStatement = (statement: Statement, depth: number): void => {
    switch (statement.kind) {
      case 'let':
        return write(depth, spelling.constant(...named(statement.register), expression(statement.value)));
      case 'var':
        return write(depth, spelling.variable(...named(statement.register), expression(statement.value)));
      case 'assign':
        return write(depth, `${statement.register.name} = ${expression(statement.value)};`);
      case 'store': {
        const stored = spelling.store(statement.memory, expression(statement.offset), expression(statement.value));
        return write(depth, statement.mask === undefined ? stored : `if (${expression(statement.mask)}) { ${stored} }`);
      }
      case 'for':
        write(
          depth,
          `${spelling.loop(statement.index.name, expression(statement.from), expression(statement.to), statement.step)} {`,
        );
        print(statement.body, depth + 1);
        return write(depth, '}');
      case 'if':
        return printIf(statement, 'if', depth);
      case 'prefetch':
        return;
      case 'fetch':
        return write(depth, spelling.fetch(statement, expression));
      case 'multiply':
        return spelling.multiply(statement, expression).forEach((line) => write(depth, line));
      case 'barrier':
        return write(depth, spelling.barrier(statement.leaves ?? 0));
      case 'exchange': {
        const { register, value, distance } = statement;
        const taken = spelling.exchange(register.type.dtype, expression(value), distance);
        return write(depth, spelling.constant(...named(register), taken));
      }
      case 'flag':
        return write(depth, `if (${expression(statement.condition)}) { ${spelling.raiseFlag} }`);
    }
  };
  const printIf = (statement: Extract<Statement, { kind: 'if' }>, head: string, depth: number): void => {
    write(depth, `${head} (${expression(statement.condition)}) {`);
    print(statement.then, depth + 1);
    const [only, ...more] = statement.else;
    if (only?.kind === 'if' && more.length === 0) return printIf(only, '} else if', depth);
    if (only !== undefined) {
      write(depth, '} else {');
      print(statement.else, depth + 1);
    }
    write(depth, '}');
  };
  print(inlineOnce(body), 1);
  return lines;
}

/** Is the register used in these lines? */
export const mentions = (lines: readonly string[], { name }: Register): boolean =>
  lines.some((line) => new RegExp(`\\b${name}\\b`).test(line));

const named = ({ name, type }: Register): [string, TileDtype] => [name, type.dtype];

/** Without the parentheses around all of it. */
function bare(text: string): string {
  if (!text.startsWith('(')) return text;
  let depth = 0;
  for (let at = 0; at < text.length - 1; at++) {
    if (text[at] === '(') depth++;
    if (text[at] === ')') depth--;
    if (depth === 0) return text;
  }
  return text.slice(1, -1);
}

function printExpression(of: TileExpression, spelling: Spelling): string {
  const print = (inner: TileExpression): string => printExpression(inner, spelling);
  if (of.type.lanes !== 1) throw new Error(`a vector of ${of.type.lanes} lanes, on a machine without vectors`);
  switch (of.kind) {
    case 'number':
      return spelling.literal(of.type.dtype, of.value);
    case 'register':
      return of.register.name;
    case 'apply': {
      const [a, b] = of.operands;
      // Index arithmetic is built of additions.
      if (of.op === 'add' && of.type.dtype === 'index' && b?.kind === 'number' && b.value < 0)
        return spelling.op('sub', 'index', [print(a), spelling.literal('index', -b.value)]);
      const typed = of.operands[of.op === 'where' ? 1 : 0] ?? of;
      return spelling.op(of.op, typed.type.dtype, of.operands.map(print));
    }
    case 'cast':
      return spelling.cast(of.operand.type.dtype, of.type.dtype, print(of.operand));
    case 'splat':
      return print(of.operand);
    case 'ramp':
      return spelling.literal(of.type.dtype, 0);
    case 'load':
      return spelling.load(of.memory, bare(print(of.offset)), of.mask && bare(print(of.mask)));
    case 'combine':
    case 'shuffle':
      throw new Error(`${of.kind} on a machine without vectors`);
  }
}

/** Parameters, scratch and helper functions have names of their own; these are for what the user named. */
export const identifier = (name: string): string => name.replace(/[^A-Za-z0-9]+/g, '_').replace(/^_+|_+$/g, '');
