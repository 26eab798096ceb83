/** Reads Tile IR back from its text (see text.ts for the form). */
import { binaryOps, unaryOps } from '../graph/graph.ts';
import type { Monoid } from '../graph/graph.ts';
import { infix } from '../loop/text.ts';
import { dtypes } from '../types/dtype.ts';
import { resultType, shuffle } from './build.ts';
import { precedence, tileDtypes } from './text.ts';
import type {
  MatrixOperand,
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

/** A text is not Tile IR; the message says the line. */
export class TileSyntaxError extends Error {}

const tokenPattern =
  /\s+|\/\/.*|(?<token>"(?:[^"\\]|\\.)*"|\d+(?:\.\d+)?(?:e[+-]?\d+)?|[A-Za-z_][A-Za-z0-9_.]*|<<|>>|==|!=|<=|.)/uy;
const signs = new Map(Object.entries(infix).map(([op, sign]) => [sign, op]));
const ops: ReadonlySet<string> = new Set([...unaryOps, ...binaryOps, 'where', 'fma', 'dot4', 'philox']);
const roles: readonly TileBuffer['role'][] = ['batch', 'scalar', 'param', 'state', 'constant', 'result', 'temporary'];
const accesses: readonly Memory['access'][] = ['read', 'write', 'read-write'];
const spaces: readonly Memory['space'][] = ['private', 'workgroup', 'global'];
const monoids: readonly Monoid[] = ['sum', 'prod', 'max', 'min'];

/** Parses what `printTile` prints. */
export function parseTile(text: string): TileProgram {
  const tokens: Token[] = [];
  let line = 1;
  for (const match of text.matchAll(new RegExp(tokenPattern, 'uyg'))) {
    if (match.groups?.['token'] !== undefined) tokens.push({ text: match.groups['token'], line });
    line += match[0].split('\n').length - 1;
  }
  return new Parser(tokens).program();
}

interface Token {
  readonly text: string;
  readonly line: number;
}

class Parser {
  private at = 0;
  private readonly kernels = new Map<string, TileKernel>();
  private registers = new Map<string, Register>();
  private memories = new Map<string, Memory>();
  private readonly tokens: readonly Token[];

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens;
  }

  program(): TileProgram {
    this.expect('program');
    const name = this.name();
    this.expect('arena');
    const arena = this.number();
    const halves = this.accept('halves') ? { halves: this.number() } : {};
    this.expect('{');
    const buffers: TileBuffer[] = [];
    while (this.accept('buffer')) buffers.push(this.buffer());
    while (this.accept('kernel')) {
      const kernel = this.kernel();
      this.kernels.set(kernel.name, kernel);
    }
    this.registers = new Map();
    return { name, buffers, arena, ...halves, steps: this.steps() };
  }

  private buffer(): TileBuffer {
    const name = this.name();
    this.expect(':');
    const dtype = this.oneOf(dtypes);
    const shape = this.list('[', ']', () => this.number());
    const role = this.oneOf(roles);
    const offset = this.accept('@') ? { offset: this.number() } : {};
    const data = this.accept('=') ? { data: this.list('[', ']', () => this.number()) } : {};
    return { name, role, dtype, shape, ...data, ...offset };
  }

  private steps(): TileStep[] {
    const steps: TileStep[] = [];
    while (!this.accept('}')) {
      if (this.accept('repeat')) {
        const index = this.define(this.name(), { dtype: 'index', lanes: 1 });
        this.expect('in');
        const trips = this.number();
        const reverse = this.accept('reverse');
        this.expect('{');
        steps.push({ kind: 'repeat', index, trips, reverse, body: this.steps() });
        continue;
      }
      this.expect('launch');
      const kernel = this.kernels.get(this.name()) ?? this.fail('a kernel defined above was expected', -1);
      const buffers = this.list('(', ')', () => this.name());
      const given = this.accept('given') ? this.list('(', ')', () => this.register()) : [];
      steps.push({ kind: 'launch', kernel, buffers, arguments: given });
    }
    return steps;
  }

  private kernel(): TileKernel {
    this.registers = new Map();
    this.memories = new Map();
    const index = (): Register => this.define(this.name(), { dtype: 'index', lanes: 1 });
    const name = this.name();
    const parameters = this.list('(', ')', () => this.memory(() => ({ space: 'global', access: this.access() })));
    const given = this.accept('given') ? this.list('(', ')', index) : [];
    this.expect('grid');
    const item = index();
    this.expect('in');
    const grid = this.number();
    let workgroup = 1;
    let thread: Register;
    if (this.accept('workgroup')) {
      thread = index();
      this.expect('in');
      workgroup = this.number();
    } else thread = this.define('thread', { dtype: 'index', lanes: 1 });
    this.expect('{');
    const scratch: Memory[] = [];
    while (this.accept('scratch'))
      scratch.push(this.memory(() => ({ space: this.oneOf(spaces), access: 'read-write' })));
    return { name, parameters, arguments: given, scratch, grid, item, workgroup, thread, body: this.body() };
  }

  private access(): Memory['access'] {
    const first = this.oneOf(accesses);
    if (first !== 'read' || !this.accept('-')) return first;
    this.expect('write');
    return 'read-write';
  }

  private memory(rest: () => Pick<Memory, 'space' | 'access'>): Memory {
    const name = this.name();
    this.expect(':');
    const dtype = this.oneOf(dtypes);
    const [size = 0] = this.list('[', ']', () => this.number());
    const memory = { name, dtype, size, ...rest() };
    this.memories.set(name, memory);
    return memory;
  }

  private body(): Statement[] {
    const statements: Statement[] = [];
    while (!this.accept('}')) statements.push(this.statement());
    return statements;
  }

  private statement(): Statement {
    if (this.accept('let')) return this.definition('let');
    if (this.accept('var')) return this.definition('var');
    if (this.accept('barrier')) return { kind: 'barrier', ...(this.accept('leaves') && { leaves: this.number() }) };
    if (this.accept('exchange')) {
      const { register, value } = this.definition('let');
      this.expect('by');
      return { kind: 'exchange', register, value, distance: this.number() };
    }
    if (this.accept('fetch')) return this.fetch();
    if (this.accept('multiply')) return this.multiply();
    if (this.accept('flag')) return { kind: 'flag', condition: this.expression() };
    if (this.accept('for')) {
      const name = this.name();
      this.expect('=');
      const from = this.expression();
      this.expect('to');
      const to = this.expression();
      this.expect('step');
      const step = this.number();
      this.expect('{');
      const index = this.define(name, { dtype: 'index', lanes: 1 });
      return { kind: 'for', index, from, to, step, body: this.body() };
    }
    if (this.accept('if')) {
      const condition = this.expression();
      this.expect('{');
      const then = this.body();
      if (!this.accept('else')) return { kind: 'if', condition, then, else: [] };
      this.expect('{');
      return { kind: 'if', condition, then, else: this.body() };
    }
    if (this.accept('prefetch')) {
      const memory = this.knownMemory();
      this.expect('[');
      const offset = this.expression();
      this.expect(']');
      return { kind: 'prefetch', memory, offset };
    }
    if (this.peek(1) === '[') {
      const { memory, offset, stride, mask } = this.place();
      this.expect('=');
      return { kind: 'store', memory, offset, stride, value: this.expression(), ...(mask && { mask }) };
    }
    const register = this.register();
    this.expect('=');
    return { kind: 'assign', register, value: this.expression() };
  }

  private multiply(): Statement {
    const next = (): number => {
      this.expect(',');
      return this.number();
    };
    const [rows, columns, depth] = [this.number(), next(), next()];
    this.expect('by');
    const threads = this.number() === 128 ? 128 : 32;
    this.expect('of');
    const left = this.matrix();
    this.expect(',');
    const right = this.matrix();
    this.expect('into');
    const sums = this.list('(', ')', () => this.register());
    return { kind: 'multiply', threads, rows, columns, depth, left, right, sums };
  }

  private fetch(): Statement {
    const count = this.number();
    this.expect('of');
    const { memory: from, offset: at } = this.place();
    this.expect('to');
    const { memory, offset } = this.place();
    const mask = this.accept('if') ? { mask: this.expression() } : {};
    return { kind: 'fetch', memory, offset, from, at, count, ...mask };
  }

  private matrix(): MatrixOperand {
    const { memory, offset, stride } = this.place();
    return { memory, offset, pitch: stride, turned: this.accept('turned') };
  }

  private definition<Kind extends 'let' | 'var'>(
    kind: Kind,
  ): { readonly kind: Kind; readonly register: Register; readonly value: TileExpression } {
    const name = this.name();
    this.expect('=');
    const value = this.expression();
    return { kind, register: this.define(name, value.type), value };
  }

  private place(): { memory: Memory; offset: TileExpression; lanes: number; stride: number; mask?: TileExpression } {
    const memory = this.knownMemory();
    this.expect('[');
    const offset = this.expression();
    const lanes = this.accept(';') ? this.number() : offset.type.lanes;
    const stride = this.accept('by') ? this.number() : 1;
    const mask = this.accept('if') ? { mask: this.expression() } : {};
    this.expect(']');
    return { memory, offset, lanes, stride, ...mask };
  }

  /** Infix ops that bind at least this tightly, from the left. */
  private expression(least = 1): TileExpression {
    let left = this.operand();
    for (;;) {
      const op = signs.get(this.peek());
      const bound = op === undefined ? 0 : (precedence[op] ?? 0);
      if (op === undefined || bound < least) return left;
      this.at++;
      left = this.apply(op, [left, this.expression(bound + 1)]);
    }
  }

  private apply(op: string, operands: readonly TileExpression[]): TileExpression {
    if (!ops.has(op) || operands.length === 0) return this.fail(`${op} is no operation`, -1);
    const known = op as TileOp;
    return {
      kind: 'apply',
      type: resultType(
        known,
        operands.map((operand) => operand.type),
      ),
      op: known,
      operands,
    };
  }

  private operand(): TileExpression {
    if (this.accept('(')) {
      const inner = this.expression();
      this.expect(')');
      return inner;
    }
    const word = this.peek();
    if (/^[-\d]/.test(word) || word === 'inf' || word === 'nan') {
      const value = this.number();
      return { kind: 'number', type: this.accept(':') ? this.type() : { dtype: 'index', lanes: 1 }, value };
    }
    const next = this.peek(1);
    if (next === '[') {
      const { memory, offset, lanes, stride, mask } = this.place();
      return { kind: 'load', type: { dtype: memory.dtype, lanes }, memory, offset, stride, ...(mask && { mask }) };
    }
    if (next === '(' && !this.registers.has(word)) return this.call(this.name());
    const register = this.register();
    return { kind: 'register', type: register.type, register };
  }

  private call(name: string): TileExpression {
    if (name === 'ramp') {
      this.expect('(');
      const type = this.type();
      this.expect(')');
      return { kind: 'ramp', type };
    }
    const operands = this.list('(', ')', () => this.expression());
    const [first, second] = operands;
    if (first === undefined) return this.fail('an operand was expected', -1);
    if (name === 'splat' && second?.kind === 'number')
      return { kind: 'splat', type: { dtype: first.type.dtype, lanes: second.value }, operand: first };
    const monoid = monoids.find((known) => name === `combine.${known}`);
    if (monoid !== undefined)
      return { kind: 'combine', type: { dtype: first.type.dtype, lanes: 1 }, monoid, operand: first };
    if (name.startsWith('shuffle.') && second !== undefined)
      return shuffle(first, second, name.split('.').slice(1).map(Number));
    const dtype = tileDtypes.find((known) => known === name);
    if (dtype !== undefined) return { kind: 'cast', type: { dtype, lanes: first.type.lanes }, operand: first };
    return this.apply(name, operands);
  }

  /** f32 or f32x16. */
  private type(): TileType {
    const word = this.name();
    const [, dtype, lanes = '1'] = /^(.+?)(?:x(\d+))?$/.exec(word) ?? [];
    const known = tileDtypes.find((candidate) => candidate === dtype);
    return known === undefined ? this.fail(`${word} is no type`, -1) : { dtype: known, lanes: Number(lanes) };
  }

  private define(name: string, type: TileType): Register {
    const register = { name, type };
    this.registers.set(name, register);
    return register;
  }

  private register(): Register {
    return this.registers.get(this.name()) ?? this.fail('a register defined above was expected', -1);
  }

  private knownMemory(): Memory {
    return this.memories.get(this.name()) ?? this.fail('a memory of this kernel was expected', -1);
  }

  private list<T>(open: string, close: string, element: () => T): T[] {
    this.expect(open);
    const elements: T[] = [];
    while (!this.accept(close)) {
      if (elements.length > 0) this.expect(',');
      elements.push(element());
    }
    return elements;
  }

  private number(): number {
    const negative = this.accept('-');
    const word = this.next();
    const value = word === 'inf' ? Infinity : word === 'nan' ? NaN : Number(word);
    if (word !== 'nan' && Number.isNaN(value)) return this.fail('a number was expected', -1);
    return negative ? -value : value;
  }

  private name(): string {
    const word = this.next();
    if (word.startsWith('"')) return String(JSON.parse(word));
    return /^[A-Za-z_]/.test(word) ? word : this.fail('a name was expected', -1);
  }

  private oneOf<T extends string>(known: readonly T[]): T {
    const word = this.next();
    return known.find((candidate) => candidate === word) ?? this.fail(`one of ${known.join(', ')} was expected`, -1);
  }

  private peek(ahead = 0): string {
    return this.tokens[this.at + ahead]?.text ?? '';
  }

  private next(): string {
    const word = this.peek();
    this.at++;
    return word;
  }

  private accept(word: string): boolean {
    if (this.peek() !== word) return false;
    this.at++;
    return true;
  }

  private expect(word: string): void {
    if (!this.accept(word)) this.fail(`'${word}' was expected`);
  }

  private fail(what: string, back = 0): never {
    const token = this.tokens[this.at + back] ?? this.tokens.at(-1);
    throw new TileSyntaxError(`line ${token?.line ?? 1}: ${what}, not '${token?.text ?? 'the end'}'`);
  }
}
