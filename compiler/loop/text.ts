/**
 * Loop IR as text, one line per decision:
 *
 *   program softmax {
 *     buffer %x: f32[64, 10] batch
 *     kernel k0 from "model.head" {
 *       region for i in 64 {
 *         reduce for k in 10 { m: f32 = max %x[i, k] }
 *         store for j in 10 { %y[i, j] = exp(%x[i, j] - m) }
 *       }
 *     }
 *   }
 *
 * `%x[i]?` reads 0 outside, `%x[i]!` raises the flag outside, `%x{4, 16}[i, j]` sees the buffer with another shape,
 * `@(2*i - 1)` is a coordinate as a number, `{…}` a coordinate computed from data. What is used twice is a `let`.
 * `//` begins a comment.
 */
import { printNumber } from '../graph/text.ts';
import { children } from './build.ts';
import type {
  Access,
  Axis,
  Buffer,
  Chain,
  Contraction,
  Coordinate,
  Expression,
  Kernel,
  LoopProgram,
  Region,
  Scatter,
  Segment,
  Stage,
  Step,
  Store,
} from './loop.ts';

/** Scalar functions written between their operands. */
export const infix: Partial<Record<string, string>> = {
  add: '+',
  sub: '-',
  mul: '*',
  div: '/',
  eq: '==',
  ne: '!=',
  lt: '<',
  le: '<=',
  and: '&',
  or: '|',
  xor: '^',
  shl: '<<',
  shr: '>>',
};

/** The program as text that `parseLoop` reads back. */
export function printLoop(program: LoopProgram): string {
  const lines = [`program ${quoteName(program.name)} {`];
  for (const buffer of program.buffers) lines.push(`  ${printBuffer(buffer)}`);
  for (const step of program.steps) printStep(step, '  ', lines);
  lines.push('}', '');
  return lines.join('\n');
}

function printBuffer(buffer: Buffer): string {
  const data = buffer.data === undefined ? '' : ` = [${buffer.data.map(printNumber).join(', ')}]`;
  return `buffer %${quoteName(buffer.name)}: ${buffer.dtype}[${buffer.shape.join(', ')}] ${buffer.role}${data}`;
}

/** A step (kernel or repeat) as text: what `nacre ir` and error messages show. */
export function printStep(step: Step, indent: string, lines: string[]): void {
  if (step.kind === 'repeat') {
    lines.push(`${indent}repeat ${step.axis.name} in ${step.axis.size}${step.reverse ? ' reverse' : ''} {`);
    for (const inner of step.body) printStep(inner, `${indent}  `, lines);
    lines.push(`${indent}}`);
    return;
  }
  printKernel(step, indent, lines);
}

function printKernel(kernel: Kernel, indent: string, lines: string[]): void {
  const paths = [...new Set(kernel.origins.flatMap((origin) => (origin.path === undefined ? [] : [origin.path])))];
  const from = paths.length === 0 ? '' : ` from ${paths.map((path) => JSON.stringify(path)).join(', ')}`;
  lines.push(`${indent}kernel ${quoteName(kernel.name)}${from} {`);
  for (const segment of kernel.segments) printSegment(segment, `${indent}  `, lines);
  lines.push(`${indent}}`);
}

function printSegment(segment: Segment, indent: string, lines: string[]): void {
  switch (segment.kind) {
    case 'region':
      return printRegion(segment, indent, lines);
    case 'contraction':
      return printContraction(segment, indent, lines);
    case 'scatter':
      return printScatter(segment, indent, lines);
    case 'chain':
      return printChain(segment, indent, lines);
  }
}

function printChain(chain: Chain, indent: string, lines: string[]): void {
  const reach = chain.reach === undefined ? '' : ` reach ${chain.reach}`;
  lines.push(`${indent}chain${printAxes(' for', chain.axes)}${printAxes(' walk', chain.walk)}${reach} {`);
  for (const local of chain.locals) lines.push(`${indent}  ${printBuffer(local)}`);
  for (const { buffer, monoid } of chain.sums) lines.push(`${indent}  ${monoid} ${printBuffer(buffer)}`);
  if (chain.totals.length > 0) lines.push(`${indent}  total`);
  for (const { buffer, monoid } of chain.totals) lines.push(`${indent}    ${monoid} ${printBuffer(buffer)}`);
  for (const span of chain.spans) {
    lines.push(`${indent}  span${printAxes(' for', span.axes)} {`);
    for (const part of span.parts) printSegment(part, `${indent}    `, lines);
    lines.push(`${indent}  }`);
  }
  for (const [word, links] of [
    ['then', chain.last],
    ['end', chain.end],
  ] as const) {
    if (links.length > 0) lines.push(`${indent}} ${word} {`);
    for (const link of links) printSegment(link, `${indent}  `, lines);
  }
  lines.push(`${indent}}`);
}

function printRegion(region: Region, indent: string, lines: string[]): void {
  lines.push(`${indent}region${printAxes(' for', region.axes)} {`);
  const sharing = shareBetween(region.stages.flatMap(rootsOf));
  for (const stage of region.stages) printStage(stage, sharing, `${indent}  `, lines);
  lines.push(`${indent}}`);
}

/** What a stage computes, in the order in which it is written. */
function rootsOf(stage: Stage): readonly Expression[] {
  if (stage.kind === 'reduce') return stage.results.map(({ value }) => value);
  const stores = rootsOfStores(stage.stores);
  return stage.kind === 'store' ? stores : [stage.value, ...stores];
}

const rootsOfStores = (stores: readonly Store[]): readonly Expression[] =>
  stores.flatMap(({ access, value }) => [
    value,
    ...access.index.flatMap((at) => (at.kind === 'computed' ? [at.value] : [])),
  ]);

function printStage(stage: Stage, sharing: Sharing, indent: string, lines: string[]): void {
  const body: string[] = [];
  const print = sharing(body);
  let head = '';
  if (stage.kind === 'reduce') {
    head = `reduce${printAxes(' for', stage.axes)}`;
    for (const { result, monoid, value } of stage.results) {
      const text = print(value, false);
      body.push(`${quoteName(result.name)}: ${result.dtype} = ${monoid} ${text}`);
    }
  } else if (stage.kind === 'store') {
    head = `store${printAxes(' for', stage.axes)}`;
    printStores(stage.stores, body, print);
  } else {
    head = `cumulate for ${stage.axis.name} in ${stage.axis.size}${stage.reverse ? ' reverse' : ''}`;
    const text = print(stage.value, false);
    body.push(`${quoteName(stage.result.name)}: ${stage.result.dtype} = ${stage.monoid} ${text}`);
    printStores(stage.stores, body, print);
  }
  pushBlock(head, body, indent, lines);
}

function printContraction(contraction: Contraction, indent: string, lines: string[]): void {
  const head = `contraction${contraction.bytes === true ? ' of bytes' : ''}${printAxes(' for', contraction.axes)}${printAxes(' sum', contraction.reduce)}`;
  const body: string[] = [];
  const { result, stores } = contraction;
  const print = shareBetween([contraction.left, contraction.right, ...rootsOfStores(stores)])(body);
  const operands = `${print(contraction.left, true)} . ${print(contraction.right, true)}`;
  body.push(`${quoteName(result.name)}: ${result.dtype} = ${operands}`);
  printStores(stores, body, print);
  lines.push(`${indent}${head} {`, ...body.map((line) => `${indent}  ${line}`), `${indent}}`);
}

function printScatter(scatter: Scatter, indent: string, lines: string[]): void {
  const axes = `${printAxes(' batch', scatter.batch)}${printAxes(' walk', scatter.walk)}${printAxes(' rest', scatter.rest)}`;
  const body: string[] = [];
  const print = shareBetween([scatter.id, scatter.value])(body);
  const id = print(scatter.id, false);
  const value = print(scatter.value, false);
  body.push(`id = ${id}`, `value = ${value}`);
  lines.push(`${indent}scatter %${quoteName(scatter.target.name)}{${scatter.shape.join(', ')}}${axes} {`);
  lines.push(...body.map((line) => `${indent}  ${line}`), `${indent}}`);
}

function printStores(stores: readonly Store[], body: string[], print: Printer): void {
  for (const { access, value } of stores) {
    const text = print(value, false);
    body.push(`${printAccess(access, print)} = ${text}`);
  }
}

/** `head { one }` on one line when it is short, else a block. */
function pushBlock(head: string, body: readonly string[], indent: string, lines: string[]): void {
  const [only] = body;
  if (body.length === 1 && indent.length + head.length + only.length < 110) lines.push(`${indent}${head} { ${only} }`);
  else lines.push(`${indent}${head} {`, ...body.map((line) => `${indent}  ${line}`), `${indent}}`);
}

const printAxes = (word: string, axes: readonly Axis[]): string =>
  axes.length === 0 ? '' : `${word} ${axes.map((axis) => `${axis.name} in ${axis.size}`).join(', ')}`;

type Printer = (expression: Expression, nested: boolean) => string;

/** Computed once where shared; numbers and results are what they are. */
const lasting: ReadonlySet<Expression['kind']> = new Set(['apply', 'load', 'coordinate']);

/** A printer that writes to `body`, as lets, what is shared with what was printed before or will be. */
type Sharing = (body: string[]) => Printer;

/** For expressions that share nodes; a let stands where its expression is used first, and holds for the rest of the segment. */
function shareBetween(roots: readonly Expression[]): Sharing {
  const uses = new Map<Expression, number>();
  const count = (expression: Expression): void => {
    const before = uses.get(expression) ?? 0;
    uses.set(expression, before + 1);
    if (before === 0) children(expression).forEach(count);
  };
  roots.forEach(count);
  const names = new Map<Expression, string>();
  return (body) => {
    const print: Printer = (expression, nested) => {
      const known = names.get(expression);
      if (known !== undefined) return known;
      const shared = (uses.get(expression) ?? 0) > 1 && lasting.has(expression.kind);
      const text = printExpression(expression, print, nested && !shared);
      if (!shared) return text;
      const name = `$${names.size}`;
      names.set(expression, name);
      body.push(`let ${name} = ${text}`);
      return name;
    };
    return print;
  };
}

function printExpression(expression: Expression, print: Printer, nested: boolean): string {
  switch (expression.kind) {
    case 'number':
      return expression.dtype === 'f32'
        ? printNumber(expression.value)
        : `${printNumber(expression.value)}:${expression.dtype}`;
    case 'coordinate':
      return `@(${printCoordinate(expression.value, print)})`;
    case 'load':
      return printAccess(expression.access, print) + { none: '', zero: '?', check: '!' }[expression.guard];
    case 'result':
      return quoteName(expression.of.name);
    case 'apply': {
      const sign = infix[expression.op];
      if (sign !== undefined) {
        const text = expression.operands.map((operand) => print(operand, true)).join(` ${sign} `);
        return nested ? `(${text})` : text;
      }
      const name = expression.op === 'cast' ? expression.dtype : expression.op;
      return `${name}(${expression.operands.map((operand) => print(operand, false)).join(', ')})`;
    }
  }
}

function printAccess(access: Access, print: Printer): string {
  const { buffer, shape, index } = access;
  const same = shape.length === buffer.shape.length && shape.every((size, axis) => size === buffer.shape[axis]);
  const seen = same ? '' : `{${shape.join(', ')}}`;
  return `%${quoteName(buffer.name)}${seen}[${index.map((at) => printCoordinate(at, print)).join(', ')}]`;
}

function printCoordinate(at: Coordinate, print: Printer): string {
  if (at.kind === 'computed') return `{${print(at.value, false)}}`;
  let text = '';
  for (const { axis, scale } of at.terms) {
    const size = Math.abs(scale);
    text += text === '' ? (scale < 0 ? '-' : '') : scale < 0 ? ' - ' : ' + ';
    text += size === 1 ? axis.name : `${size}*${axis.name}`;
  }
  if (text === '') text = String(at.offset);
  else if (at.offset !== 0) text += at.offset < 0 ? ` - ${-at.offset}` : ` + ${at.offset}`;
  return at.divisor === 1 ? text : `(${text}) / ${at.divisor}`;
}

const quoteName = (name: string): string => (/^[\p{L}_][\p{L}\p{N}_.]*$/u.test(name) ? name : JSON.stringify(name));
