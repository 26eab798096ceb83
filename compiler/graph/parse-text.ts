/**
 * Reads the text form of Tensor IR (text.ts) back. Types are taken as written: verify afterwards what came from a
 * person.
 */
import { dtypes } from '../types/dtype.ts';
import type { Dtype } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';
import { forms, isCallOp } from './forms.ts';
import type { CallOp, Field, Fields } from './forms.ts';
import type {
  AffineIndex,
  Graph,
  GraphInput,
  GraphOutput,
  InputRole,
  Node,
  NodeOf,
  Origin,
  Precision,
  Value,
} from './graph.ts';

/** The text is not a graph: a sentence, and the line it is about. */
export class GraphTextError extends Error {
  readonly line: number;
  constructor(message: string, line: number) {
    super(`line ${line}: ${message}`);
    this.line = line;
  }
}

interface Token {
  readonly kind: 'value' | 'name' | 'number' | 'string' | 'mark' | 'end';
  readonly text: string;
  readonly line: number;
  /** A comment on the same line, after this token. */
  comment?: string;
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  const pattern =
    /(\n)|[ \t\r]+|\/\/([^\n]*)|(%\d+)|([A-Za-z_][\w.]*)|(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|("(?:[^"\\\n]|\\.)*")|([[\]{}(),:=*/+-])/y;
  let line = 1;
  while (pattern.lastIndex < text.length) {
    const start = pattern.lastIndex;
    const match = pattern.exec(text);
    if (match === null) throw new GraphTextError(`${JSON.stringify(text[start])} means nothing here`, line);
    const [, newline, comment, value, name, number, string, mark] = match;
    const add = (kind: Token['kind'], found: string): void => void tokens.push({ kind, text: found, line });
    const last = tokens.at(-1);
    if (newline !== undefined) line++;
    else if (comment !== undefined) {
      if (last?.line === line) last.comment = comment.trim();
    } else if (value !== undefined) add('value', value);
    else if (name !== undefined) add('name', name);
    else if (number !== undefined) add('number', number);
    else if (string !== undefined) add('string', string);
    else if (mark !== undefined) add('mark', mark);
  }
  tokens.push({ kind: 'end', text: 'the end', line });
  return tokens;
}

/** The graph a text describes; throws GraphTextError. */
export function parseGraph(text: string): Graph {
  const reader = new Reader(tokenize(text));
  reader.expect('graph');
  const graph = reader.program();
  if (reader.peek().kind !== 'end') reader.fail('nothing may follow the graph');
  return graph;
}

const roles: readonly string[] = ['batch', 'param', 'state', 'scalar'] satisfies InputRole[];
const isRole = (text: string): text is InputRole => roles.includes(text);
const isDtype = (text: string): text is Dtype => dtypes.some((dtype) => dtype === text);

class Reader {
  private readonly tokens: readonly Token[];
  private place = 0;

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens;
  }

  peek(ahead = 0): Token {
    return this.tokens[Math.min(this.place + ahead, this.tokens.length - 1)];
  }

  /** About what was read last. */
  fail(message: string): never {
    throw new GraphTextError(message, (this.tokens[this.place - 1] ?? this.peek()).line);
  }

  private unexpected(what: string): never {
    throw new GraphTextError(`expected ${what}, found ${this.peek().text}`, this.peek().line);
  }

  private take(kind: Token['kind'], what: string): string {
    const token = this.peek();
    if (token.kind !== kind) this.unexpected(what);
    this.place++;
    return token.text;
  }

  expect(text: string): void {
    if (this.peek().text !== text) this.unexpected(text);
    this.place++;
  }

  private accept(text: string): boolean {
    if (this.peek().text !== text || this.peek().kind === 'string') return false;
    this.place++;
    return true;
  }

  /** `a, b, c` up to the closing mark. */
  private list<Item>(close: string, item: () => Item): Item[] {
    const items: Item[] = [];
    while (!this.accept(close)) {
      if (items.length > 0) this.expect(',');
      items.push(item());
    }
    return items;
  }

  private name(): string {
    return this.peek().kind === 'string'
      ? String(JSON.parse(this.take('string', 'a name')))
      : this.take('name', 'a name');
  }

  private number(): number {
    const sign = this.accept('-') ? -1 : 1;
    if (this.accept('inf')) return sign * Infinity;
    if (this.accept('nan')) return NaN;
    return sign * Number(this.take('number', 'a number'));
  }

  private type(): TensorType {
    const dtype = this.dtype();
    this.expect('[');
    return { dtype, shape: this.list(']', () => this.number()) };
  }

  program(): Graph {
    const name = this.name();
    const precision = this.accept('precision') ? this.precision() : undefined;
    const recompute = this.accept('recompute') ? this.names() : undefined;
    return {
      ...this.block(name),
      ...(precision !== undefined && { precision }),
      ...(recompute !== undefined && { recompute }),
    };
  }

  private names(): string[] {
    const names = [this.name()];
    while (this.accept(',')) names.push(this.name());
    return names;
  }

  private precision(): Precision {
    const products = this.name();
    this.expect('storing');
    const storage = this.name();
    if (!(products === 'f32' || products === 'bf16' || products === 'f16' || products === 'tf32'))
      return this.fail(`products are not rounded to ${products}`);
    if (!(storage === 'bf16' || storage === 'f16' || (storage === 'f32' && products === 'tf32')))
      return this.fail(`${storage} is not stored instead of f32`);
    return { products, storage, except: this.accept('except') ? this.names() : [] };
  }

  private dtype(): Dtype {
    const dtype = this.take('name', 'an element type');
    return isDtype(dtype) ? dtype : this.fail(`${dtype} is not an element type`);
  }

  private block(name: string): Graph {
    const inputs: GraphInput[] = [];
    const nodes: Node[] = [];
    const outputs: GraphOutput[] = [];
    const values = new Map<string, Value>();
    this.expect('{');
    while (!this.accept('}')) {
      const word = this.peek().text;
      if (word === 'result' || word === 'update') {
        this.place++;
        const output = this.name();
        this.expect('=');
        outputs.push({ name: output, role: word, value: this.use(values) });
      } else if (this.peek().kind === 'value') this.definition(values, inputs, nodes);
      else this.unexpected('a value, result or update');
    }
    return { name, inputs, nodes, outputs };
  }

  private use(values: ReadonlyMap<string, Value>): Value {
    const text = this.take('value', 'a value');
    return values.get(text) ?? this.fail(`${text} is used before it is defined`);
  }

  private definition(values: Map<string, Value>, inputs: GraphInput[], nodes: Node[]): void {
    const results: { text: string; axes: string[] | undefined; value: Value }[] = [];
    do {
      const text = this.take('value', 'a value');
      if (values.has(text) || results.some((result) => result.text === text)) this.fail(`${text} is defined twice`);
      const axes = this.accept('[') ? this.list(']', () => this.take('name', 'an axis')) : undefined;
      this.expect(':');
      results.push({ text, axes, value: { id: Number(text.slice(1)), type: this.type() } });
    } while (this.accept(','));
    this.expect('=');
    const outputs = results.map(({ value }) => value);
    const [{ axes, value }] = results;
    const role = this.peek().text;
    if (isRole(role)) {
      this.place++;
      inputs.push({ name: this.name(), role, value });
    } else nodes.push(axes === undefined ? this.call(values, outputs) : this.indexed(values, axes, value));
    for (const result of results) values.set(result.text, result.value);
  }

  private origin(): Origin {
    const [, path, place] = /^(.*?)\s*(?:@ (.*))?$/.exec(this.tokens[this.place - 1].comment ?? '') ?? [];
    return { ...(path && { path }), ...(place && { place }) };
  }

  private indexed(values: ReadonlyMap<string, Value>, axes: string[], result: Value): Node {
    const { shape } = result.type;
    if (axes.length !== shape.length) this.fail(`${axes.length} names for ${shape.length} axes`);
    const read = (): { value: Value; index: AffineIndex[] } => {
      const value = this.use(values);
      this.expect('[');
      return { value, index: this.list(']', () => this.index(axes)) };
    };
    const bytes = this.accept('dot4');
    if (!bytes && !this.accept('sum')) {
      const { value, index } = read();
      return { op: 'view', inputs: [value], outputs: [result], attributes: { shape, index }, origin: this.origin() };
    }
    this.expect('[');
    const reduce = this.list(']', () => {
      axes.push(this.take('name', 'an axis'));
      this.expect(':');
      return this.number();
    });
    const reads = [read()];
    while (this.accept('*')) reads.push(read());
    const indices = reads.map(({ index }) => index);
    const attributes = { shape, reduce, indices, ...(bytes && { bytes }) };
    return {
      op: 'contract',
      inputs: reads.map(({ value }) => value),
      outputs: [result],
      attributes,
      origin: this.origin(),
    };
  }

  private index(axes: readonly string[]): AffineIndex {
    const divided = this.accept('(');
    const terms: { axis: number; scale: number }[] = [];
    let offset = 0;
    let sign = this.accept('-') ? -1 : 1;
    for (;;) {
      const factor = this.peek().kind === 'number' ? this.number() : undefined;
      if (factor !== undefined && !this.accept('*')) offset += sign * factor;
      else {
        const name = this.take('name', 'an axis');
        const axis = axes.indexOf(name);
        if (axis < 0) this.fail(`${name} is not an axis here`);
        terms.push({ axis, scale: sign * (factor ?? 1) });
      }
      if (this.accept('+')) sign = 1;
      else if (this.accept('-')) sign = -1;
      else break;
    }
    if (divided) {
      this.expect(')');
      this.expect('/');
    }
    return { terms, offset, divisor: divided ? this.number() : 1 };
  }

  private call(values: ReadonlyMap<string, Value>, outputs: readonly Value[]): Node {
    const [name, suffix] = this.take('name', 'an op').split('.');
    const inputs: Value[] = [];
    const fields = new Map<string, Field>();
    this.expect('(');
    this.list(')', () => {
      if (this.peek().kind === 'value') inputs.push(this.use(values));
      else if (this.peek(1).text === ':') {
        const field = this.name();
        this.expect(':');
        fields.set(field, this.field());
      } else fields.set('', this.field());
    });
    const access = this.fields(outputs[0].type, suffix, fields);
    if (name === 'loop') {
      const body = this.block(this.name());
      const attributes = {
        trips: access.number('trips'),
        carried: access.number('carried'),
        scanned: access.number('scanned'),
        reverse: access.flag('reverse'),
        body,
      };
      return { op: 'loop', inputs, outputs, attributes, origin: this.origin() };
    }
    if (!isCallOp(name)) return this.fail(`${name} is not an op`);
    return callNode(name, inputs, outputs, access, this.origin());
  }

  private field(): Field {
    if (this.accept('true')) return true;
    if (this.accept('false')) return false;
    return this.accept('[') ? this.list(']', () => this.number()) : this.number();
  }

  private fields(type: TensorType, suffix: string | undefined, fields: ReadonlyMap<string, Field>): Fields {
    const missing = (name: string, what: string): never =>
      this.fail(`${name === '' ? 'the constant' : name} has to be ${what}`);
    const number = (name: string): number => {
      const value = fields.get(name);
      return typeof value === 'number' ? value : missing(name, 'a number');
    };
    return {
      type,
      monoid: () =>
        suffix === 'sum' || suffix === 'prod' || suffix === 'max' || suffix === 'min'
          ? suffix
          : this.fail('expected .sum, .prod, .max or .min after the op'),
      number,
      numbers(name) {
        const value = fields.get(name);
        return typeof value === 'object' ? value : missing(name, 'a list of numbers');
      },
      flag: (name) => fields.get(name) === true,
      value() {
        const value = fields.get('');
        return value === undefined || typeof value === 'boolean' ? missing('', 'a number or a list of them') : value;
      },
    };
  }
}

function callNode<Name extends CallOp>(
  op: Name,
  inputs: readonly Value[],
  outputs: readonly Value[],
  fields: Fields,
  origin: Origin,
): Node {
  // The pairing of op and attributes, which the table of forms guarantees, told to the union.
  const node: NodeOf<Name> = { op, inputs, outputs, attributes: forms[op].read(fields), origin };
  return node as unknown as Node;
}
