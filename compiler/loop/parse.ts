/** Reads Loop IR back from its text (see text.ts for the form). */
import { binaryOps, unaryOps } from '../graph/graph.ts';
import type { Monoid } from '../graph/graph.ts';
import { dtypes } from '../types/dtype.ts';
import { affine, apply, cast, number } from './build.ts';
import type {
  Access,
  Axis,
  Buffer,
  BufferRole,
  Chain,
  Coordinate,
  Expression,
  Kernel,
  Link,
  LoopProgram,
  Result,
  Scalar,
  Scatter,
  Segment,
  Span,
  Stage,
  Step,
  Store,
  Sum,
} from './loop.ts';
import { infix } from './text.ts';

const signs = new Map(Object.entries(infix).map(([op, sign]) => [sign, op]));
const roles: readonly BufferRole[] = ['batch', 'scalar', 'param', 'state', 'constant', 'result', 'temporary'];
const addable = ['sum', 'prod', 'max', 'min'] as const;
const monoids = [...addable, 'argmax', 'argmin'] as const;
const functions: ReadonlySet<string> = new Set([...unaryOps, ...binaryOps, 'where', 'philox']);
const tokenPattern =
  /\s+|\/\/.*|(?<token>"(?:[^"\\]|\\.)*"|\d+(?:\.\d+)?(?:e[+-]?\d+)?|\$\d+|[\p{L}_][\p{L}\p{N}_.]*|<<|>>|==|!=|<=|.)/uy;

/** A text is not Loop IR; the message says the line. */
export class LoopSyntaxError extends Error {}

/** Parses what `printLoop` prints. */
export function parseLoop(text: string): LoopProgram {
  const tokens: { readonly text: string; readonly line: number }[] = [];
  let line = 1;
  for (const match of text.matchAll(new RegExp(tokenPattern, 'uyg'))) {
    if (match.groups?.token !== undefined) tokens.push({ text: match.groups.token, line });
    line += match[0].split('\n').length - 1;
  }
  return new Parser(tokens).program();
}

class Parser {
  private at = 0;
  private readonly buffers = new Map<string, Buffer>();
  private readonly axes = new Map<string, Axis>();
  private readonly results = new Map<string, Result>();
  private readonly lets = new Map<string, Expression>();
  private readonly tokens: readonly { readonly text: string; readonly line: number }[];

  constructor(tokens: readonly { readonly text: string; readonly line: number }[]) {
    this.tokens = tokens;
  }

  program(): LoopProgram {
    this.expect('program');
    const name = this.name();
    this.expect('{');
    const buffers = this.declarations();
    return { name, buffers, steps: this.steps() };
  }

  private steps(): Step[] {
    const steps: Step[] = [];
    while (!this.accept('}')) {
      if (this.accept('repeat')) {
        const axis = this.axis();
        const reverse = this.accept('reverse');
        this.expect('{');
        steps.push({ kind: 'repeat', axis, reverse, body: this.steps() });
      } else steps.push(this.kernel());
    }
    return steps;
  }

  private declarations(): Buffer[] {
    const buffers: Buffer[] = [];
    while (this.accept('buffer')) {
      const buffer = this.buffer();
      this.buffers.set(buffer.name, buffer);
      buffers.push(buffer);
    }
    return buffers;
  }

  private buffer(): Buffer {
    this.expect('%');
    const name = this.name();
    this.expect(':');
    const dtype = this.oneOf(dtypes);
    const shape = this.numbers('[', ']');
    const role = this.oneOf(roles);
    return this.accept('=') ? { name, role, dtype, shape, data: this.numbers('[', ']') } : { name, role, dtype, shape };
  }

  private kernel(): Kernel {
    this.expect('kernel');
    const name = this.name();
    const origins = this.accept('from') ? this.list(() => ({ path: this.name() })) : [];
    this.expect('{');
    const segments: Segment[] = [];
    while (!this.accept('}')) segments.push(this.segment());
    return { kind: 'kernel', name, segments, origins };
  }

  private segment(): Segment {
    if (this.peek() !== 'scatter' && this.peek() !== 'chain') return this.link();
    this.results.clear();
    this.lets.clear();
    return this.accept('chain') ? this.chain() : this.scatter();
  }

  private chain(): Chain {
    const axes = this.axesAfter('for');
    const walk = this.axesAfter('walk');
    const reach = this.accept('reach') ? { reach: this.number() } : {};
    this.expect('{');
    const locals = this.declarations();
    const sums = this.sums();
    const totals = this.accept('total') ? this.sums() : [];
    const links = (): Link[] => {
      const list: Link[] = [];
      while (!this.accept('}')) list.push(this.link());
      return list;
    };
    const linksAfter = (word: string): Link[] => {
      if (!this.accept(word)) return [];
      this.expect('{');
      return links();
    };
    const spans: Span[] = [];
    while (this.accept('span')) {
      const axes = this.axesAfter('for');
      this.expect('{');
      spans.push({ axes, parts: links() });
    }
    this.expect('}');
    const own = { locals, sums, totals, spans };
    return { kind: 'chain', axes, walk, ...own, last: linksAfter('then'), end: linksAfter('end'), ...reach };
  }

  /** Buffers of a chain that add up, each behind the name of how. */
  private sums(): Sum[] {
    const sums: Sum[] = [];
    for (;;) {
      const monoid = addable.find((one) => one === this.peek());
      if (monoid === undefined) return sums;
      this.next();
      this.expect('buffer');
      const buffer = this.buffer();
      this.buffers.set(buffer.name, buffer);
      sums.push({ buffer, monoid });
    }
  }

  private link(): Link {
    this.results.clear();
    this.lets.clear();
    if (this.accept('region')) {
      const axes = this.axesAfter('for');
      this.expect('{');
      const stages: Stage[] = [];
      while (!this.accept('}')) stages.push(this.stage());
      return { kind: 'region', axes, stages };
    }
    this.expect('contraction');
    const isOfBytes = this.accept('of') && this.accept('bytes');
    const axes = this.axesAfter('for');
    const reduce = this.axesAfter('sum');
    this.expect('{');
    this.readLets();
    const result = this.result();
    const left = this.primary();
    this.expect('.');
    const right = this.primary();
    const bytes = isOfBytes ? { bytes: true as const } : {};
    return { kind: 'contraction', axes, reduce, left, right, ...bytes, result, stores: this.stores() };
  }

  private scatter(): Scatter {
    this.expect('scatter');
    this.expect('%');
    const target = this.bufferNamed(this.name());
    const shape = this.numbers('{', '}');
    const [batch, walk, rest] = [this.axesAfter('batch'), this.axesAfter('walk'), this.axesAfter('rest')];
    this.expect('{');
    this.readLets();
    this.expect('id');
    this.expect('=');
    const id = this.expression();
    this.expect('value');
    this.expect('=');
    const value = this.expression();
    this.expect('}');
    return { kind: 'scatter', batch, walk, rest, id, value, target, shape };
  }

  private stage(): Stage {
    if (this.accept('reduce')) {
      const axes = this.axesAfter('for');
      this.expect('{');
      const results: { result: Result; monoid: Monoid | 'argmax' | 'argmin'; value: Expression }[] = [];
      for (this.readLets(); !this.accept('}'); this.readLets()) {
        const result = this.result();
        results.push({ result, monoid: this.oneOf(monoids), value: this.expression() });
      }
      return { kind: 'reduce', axes, results };
    }
    if (this.accept('store')) {
      const axes = this.axesAfter('for');
      this.expect('{');
      return { kind: 'store', axes, stores: this.stores() };
    }
    this.expect('cumulate');
    this.expect('for');
    const axis = this.axis();
    const reverse = this.accept('reverse');
    this.expect('{');
    this.readLets();
    const result = this.result();
    const monoid = this.oneOf(['sum', 'prod', 'max', 'min'] as const);
    const value = this.expression();
    return { kind: 'cumulate', axis, reverse, monoid, value, result, stores: this.stores() };
  }

  private stores(): Store[] {
    const stores: Store[] = [];
    for (this.readLets(); !this.accept('}'); this.readLets()) {
      const access = this.access();
      this.expect('=');
      stores.push({ access, value: this.expression() });
    }
    return stores;
  }

  private result(): Result {
    const name = this.name();
    this.expect(':');
    const result: Result = { name, dtype: this.oneOf(dtypes) };
    this.expect('=');
    this.results.set(name, result);
    return result;
  }

  private readLets(): void {
    while (this.accept('let')) {
      const name = this.next();
      this.expect('=');
      this.lets.set(name, this.expression());
    }
  }

  private expression(): Expression {
    const left = this.primary();
    const op = signs.get(this.peek());
    if (op === undefined) return left;
    this.next();
    return apply(op as Exclude<Scalar, 'cast'>, left, this.primary());
  }

  private primary(): Expression {
    const token = this.peek();
    if (token === '%') return this.load();
    if (this.accept('@')) {
      this.expect('(');
      const value = this.coordinate();
      this.expect(')');
      return { kind: 'coordinate', dtype: 'i32', value };
    }
    if (this.accept('(')) {
      const inner = this.expression();
      this.expect(')');
      return inner;
    }
    if (token === '-' || token === 'nan' || token === 'inf' || /^\d/.test(token)) {
      const value = this.number();
      return number(value, this.accept(':') ? this.oneOf(dtypes) : 'f32');
    }
    const shared = this.lets.get(token) ?? this.resultNamed(token);
    if (shared !== undefined) {
      this.next();
      return shared;
    }
    const name = this.name();
    if (this.peek() !== '(') this.fail(`'${name}' is not defined here`);
    this.next();
    const operands = this.list(() => this.expression());
    this.expect(')');
    const dtype = dtypes.find((known) => known === name);
    if (dtype !== undefined) return { ...cast(operands[0], dtype) };
    if (!functions.has(name)) this.fail(`there is no scalar function '${name}'`);
    return apply(name as Exclude<Scalar, 'cast'>, ...operands);
  }

  private readonly resultExpressions = new WeakMap<Result, Expression>();

  private resultNamed(token: string): Expression | undefined {
    const result = this.results.get(token.startsWith('"') ? (JSON.parse(token) as string) : token);
    if (result === undefined) return undefined;
    const known = this.resultExpressions.get(result) ?? { kind: 'result', dtype: result.dtype, of: result };
    this.resultExpressions.set(result, known);
    return known;
  }

  private load(): Expression {
    const access = this.access();
    const guard = this.accept('?') ? 'zero' : this.accept('!') ? 'check' : 'none';
    return { kind: 'load', dtype: access.buffer.dtype, access, guard };
  }

  private access(): Access {
    this.expect('%');
    const buffer = this.bufferNamed(this.name());
    const shape = this.peek() === '{' ? this.numbers('{', '}') : buffer.shape;
    this.expect('[');
    const index = this.peek() === ']' ? [] : this.list(() => this.coordinate());
    this.expect(']');
    return { buffer, shape, index };
  }

  private coordinate(): Coordinate {
    if (this.accept('{')) {
      const value = this.expression();
      this.expect('}');
      return { kind: 'computed', value };
    }
    const divided = this.accept('(');
    const terms: { axis: Axis; scale: number }[] = [];
    let offset = 0;
    for (let sign = this.accept('-') ? -1 : 1; ; sign = this.next() === '-' ? -1 : 1) {
      const token = this.next();
      if (/^\d/.test(token)) {
        if (this.accept('*')) terms.push({ axis: this.axisNamed(this.next()), scale: sign * Number(token) });
        else offset += sign * Number(token);
      } else terms.push({ axis: this.axisNamed(token), scale: sign });
      if (this.peek() !== '+' && this.peek() !== '-') break;
    }
    if (!divided) return affine(terms, offset);
    this.expect(')');
    this.expect('/');
    return { kind: 'affine', terms, offset, divisor: this.number() };
  }

  private axesAfter(word: string): Axis[] {
    return this.accept(word) ? this.list(() => this.axis()) : [];
  }

  private axis(): Axis {
    const name = this.name();
    this.expect('in');
    const size = this.number();
    // Stages over the same axis share what they compute: it has to be one object.
    const known = this.axes.get(name);
    if (known?.size === size) return known;
    const axis: Axis = { name, size };
    this.axes.set(name, axis);
    return axis;
  }

  private axisNamed(name: string): Axis {
    return this.axes.get(name) ?? this.fail(`there is no axis '${name}' here`);
  }

  private bufferNamed(name: string): Buffer {
    return this.buffers.get(name) ?? this.fail(`there is no buffer '${name}'`);
  }

  private numbers(open: string, close: string): number[] {
    this.expect(open);
    const list = this.peek() === close ? [] : this.list(() => this.number());
    this.expect(close);
    return list;
  }

  private number(): number {
    const sign = this.accept('-') ? -1 : 1;
    const token = this.next();
    const value = token === 'nan' ? NaN : token === 'inf' ? Infinity : /^\d/.test(token) ? Number(token) : undefined;
    return value === undefined ? this.fail(`expected a number, found '${token}'`) : sign * value;
  }

  private list<Item>(read: () => Item): Item[] {
    const items = [read()];
    while (this.accept(',')) items.push(read());
    return items;
  }

  private name(): string {
    const token = this.next();
    if (token.startsWith('"')) return JSON.parse(token) as string;
    if (!/^[\p{L}_]/u.test(token)) this.fail(`expected a name, found '${token}'`);
    return token;
  }

  private oneOf<Word extends string>(words: readonly Word[]): Word {
    const token = this.next();
    return words.find((word) => word === token) ?? this.fail(`expected one of ${words.join(', ')}, found '${token}'`);
  }

  private peek(): string {
    return this.at < this.tokens.length ? this.tokens[this.at].text : '';
  }

  private next(): string {
    const token = this.peek();
    this.at++;
    return token;
  }

  private accept(token: string): boolean {
    if (this.peek() !== token) return false;
    this.at++;
    return true;
  }

  private expect(token: string): void {
    if (!this.accept(token)) this.fail(`expected '${token}', found '${this.peek()}'`);
  }

  private fail(message: string): never {
    const place = this.tokens[Math.min(this.at, this.tokens.length - 1)];
    throw new LoopSyntaxError(`line ${place?.line ?? 1}: ${message}`);
  }
}
