/**
 * Sizes of one signature: names are bound to them where they are first met, arithmetic over names is checked or solved, and
 * every size keeps where it came from.
 */
import type { DimExpression, Expression, Identifier, TensorTypeExpression, TypeExpression } from '../../grammar/ast.ts';
import type { Label } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import {
  add,
  divideExactly,
  equal,
  floorDivide,
  multiply,
  show,
  subtract,
  substitute,
  symbol,
  symbolsOf,
  type Dim,
} from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';
import { at, fail, giveUp, type Context } from './context.ts';
import { find, type Scope } from './scope.ts';
import { describe, showType } from './value.ts';

/** A size that a name stands for, and why. */
export interface NamedSize {
  readonly dim: Dim;
  /** `T is 128 because \`x\` is f32[16, 128, 256]` */
  readonly because: string;
  readonly span: Span;
  /** At which axis it was bound. */
  readonly axis?: number;
}

/** The sizes of one signature while it is matched. */
export interface Sizes {
  readonly named: Map<string, NamedSize>;
  rest: { readonly dims: readonly Dim[]; readonly because: string } | undefined;
  /** Sizes with names that were not bound yet when they were met. */
  readonly open: { readonly dim: Expression; readonly actual: Dim; readonly axis: number; readonly subject: Subject }[];
}

export const createSizes = (): Sizes => ({ named: new Map(), rest: undefined, open: [] });

/** What is being matched, for messages. */
export interface Subject {
  /** `` `x` of `Linear` `` or `the result of …`. */
  readonly what: string;
  readonly name: string;
  /** Where the value stands. */
  readonly span: Span;
  /** The name of the definition whose result this is; absent for an argument. */
  readonly resultOf?: string;
  /** The tensor type that is being matched. */
  readonly type?: TensorTypeExpression;
}

export const written = (node: { readonly span: Span }): string =>
  node.span.source.text.slice(node.span.start, node.span.end);

export function wrongResult(
  context: Context,
  type: TypeExpression,
  found: string,
  subject: Subject,
  notes: readonly string[],
): never {
  return fail(
    context,
    'result-mismatch',
    { name: subject.resultOf ?? '', wanted: written(type), found },
    [at(subject.span, `this is ${found}`), at(type.span, 'this is what was promised')],
    { notes },
  );
}

const showRest = (dims: readonly Dim[]): string => (dims.length === 0 ? 'none' : `[${dims.map(show).join(', ')}]`);

export function bindRest(
  context: Context,
  type: TypeExpression,
  sizes: Sizes,
  dims: readonly Dim[],
  found: string,
  subject: Subject,
): void {
  const known = sizes.rest;
  const shown = showRest(dims);
  if (known === undefined) {
    sizes.rest = { dims, because: `\`...\` is ${shown} because of \`${subject.name}\`` };
    return;
  }
  if (known.dims.length === dims.length && known.dims.every((dim, axis) => equal(dim, dims[axis]))) return;
  if (subject.resultOf !== undefined) wrongResult(context, type, found, subject, [known.because]);
  fail(
    context,
    'rest-mismatch',
    { what: subject.what, wanted: showRest(known.dims), found: shown },
    [at(subject.span), at(type.span)],
    { notes: [known.because] },
  );
}

export function matchDim(
  context: Context,
  scope: Scope,
  sizes: Sizes,
  dim: DimExpression,
  actual: Dim,
  axis: number,
  type: TensorType,
  subject: Subject,
): void {
  if (dim.kind !== 'dim') return;
  const expected = evaluateDim(context, scope, sizes, dim.value);
  if (expected === undefined) {
    if (dim.value.kind === 'identifier') {
      const { name } = dim.value;
      const because =
        show(actual) === name
          ? `${name} comes from \`${subject.name}\`, which is ${showType(type)}`
          : `${name} is ${show(actual)} because \`${subject.name}\` is ${showType(type)}`;
      sizes.named.set(name, { dim: actual, because, span: subject.span, axis });
    } else sizes.open.push({ dim: dim.value, actual, axis, subject });
    return;
  }
  if (!equal(expected, actual))
    sizeClash(context, scope, sizes, dim.value, expected, actual, axis, showType(type), subject);
}

function sizeClash(
  context: Context,
  scope: Scope,
  sizes: Sizes,
  dim: Expression,
  expected: Dim,
  actual: Dim,
  axis: number,
  found: string,
  subject: Subject,
): never {
  const text = written(dim);
  const wanted = text === show(expected) ? text : `${text} = ${show(expected)}`;
  const names = namesIn(dim);
  const notes: string[] = [];
  const labels: Label[] = [at(subject.span, `this is ${found}`), at(dim.span, `${wanted} is asked for here`)];
  for (const name of names) {
    const known = sizes.named.get(name);
    if (known !== undefined) notes.push(known.because);
    else {
      const fixed = hyperOrigin(scope, name);
      if (fixed !== undefined) labels.push(at(fixed, `${name} is given here`));
    }
  }
  if (subject.resultOf !== undefined) {
    const promised = subject.type === undefined ? wanted : written(subject.type);
    return fail(context, 'result-mismatch', { name: subject.resultOf, wanted: promised, found }, labels, { notes });
  }
  return fail(context, 'size-mismatch', { what: subject.what, axis, wanted, found: show(actual) }, labels, { notes });
}

/** Where a hyperparameter got its value. */
function hyperOrigin(scope: Scope, name: string): Span | undefined {
  for (let outer: Scope | undefined = scope; outer !== undefined; outer = outer.outer)
    if (outer.names.has(name)) return outer.origins.get(name);
  return undefined;
}

export function namesIn(expression: Expression): string[] {
  if (expression.kind === 'identifier') return [expression.name];
  if (expression.kind === 'binary') return [...new Set([...namesIn(expression.left), ...namesIn(expression.right)])];
  return expression.kind === 'unary' ? namesIn(expression.operand) : [];
}

/** The first name in a size that nothing binds. */
export function unboundIn(
  context: Context,
  scope: Scope,
  sizes: Sizes,
  expression: Expression,
): Identifier | undefined {
  if (expression.kind === 'binary')
    return unboundIn(context, scope, sizes, expression.left) ?? unboundIn(context, scope, sizes, expression.right);
  if (expression.kind === 'unary') return unboundIn(context, scope, sizes, expression.operand);
  return expression.kind === 'identifier' && evaluateDim(context, scope, sizes, expression) === undefined
    ? expression
    : undefined;
}

/** A size in a type: `/` is floor division. Undefined when a name in it is not bound yet. */
export function evaluateDim(context: Context, scope: Scope, sizes: Sizes, expression: Expression): Dim | undefined {
  switch (expression.kind) {
    case 'number':
      if (!expression.isInteger)
        return fail(context, 'not-a-size', { found: `the number ${expression.text}` }, [at(expression.span)]);
      return expression.value;
    case 'identifier': {
      const known = sizes.named.get(expression.name);
      if (known !== undefined) return known.dim;
      const binding = find(scope, expression.name);
      if (binding?.kind === 'value' && binding.value.kind === 'unknown') return giveUp();
      return binding?.kind === 'value' && binding.value.kind === 'int'
        ? binding.value.value
        : constantDim(context, scope, expression);
    }
    case 'unary': {
      const operand = evaluateDim(context, scope, sizes, expression.operand);
      return operand === undefined ? undefined : multiply(-1, operand);
    }
    case 'binary': {
      const [left, right] = [
        evaluateDim(context, scope, sizes, expression.left),
        evaluateDim(context, scope, sizes, expression.right),
      ];
      if (left === undefined || right === undefined) return undefined;
      if (expression.operator === '+') return add(left, right);
      if (expression.operator === '-') return subtract(left, right);
      if (expression.operator === '*') return multiply(left, right);
      if (expression.operator === '/')
        return right === 0 ? fail(context, 'division-by-zero', {}, [at(expression.span)]) : floorDivide(left, right);
      break;
    }
    default:
      break;
  }
  const value = context.evaluator.evaluate(context, scope, expression);
  if (value.kind === 'unknown') return giveUp();
  return value.kind === 'int'
    ? value.value
    : fail(context, 'not-a-size', { found: describe(value) }, [at(expression.span)]);
}

/** A module's whole-number constant as a size. */
function constantDim(
  context: Context,
  scope: Scope,
  expression: Extract<Expression, { kind: 'identifier' }>,
): Dim | undefined {
  const binding = find(scope, expression.name);
  if (binding?.kind !== 'global' || expression.name === '_') return undefined;
  const value = binding.read(context, expression.span);
  return value.kind === 'int' ? value.value : undefined;
}

/** Sizes like `2*N` whose names were bound later, or that say what their only open name is. */
export function settleSizes(context: Context, scope: Scope, sizes: Sizes): void {
  for (const { dim, actual, axis, subject } of sizes.open.splice(0)) {
    const known = evaluateDim(context, scope, sizes, dim);
    if (known === undefined) {
      solveSize(context, scope, sizes, dim, actual, axis, subject);
    } else if (!equal(known, actual))
      sizeClash(context, scope, sizes, dim, known, actual, axis, `of size ${show(actual)} in axis ${axis}`, subject);
  }
}

/** Many sizes have one quotient. */
const isDivided = (name: string, expression: Expression): boolean =>
  expression.kind === 'binary' &&
  ((expression.operator === '/' && namesIn(expression).includes(name)) ||
    isDivided(name, expression.left) ||
    isDivided(name, expression.right));

/** `G * m (a multiple of 4)` */
const multipleOf = (dim: Expression, zero: Dim, slope: Dim): string =>
  zero === 0 ? `${written(dim)} (a multiple of ${show(slope)})` : written(dim);

function solveSize(
  context: Context,
  scope: Scope,
  sizes: Sizes,
  dim: Expression,
  actual: Dim,
  axis: number,
  subject: Subject,
): void {
  const open = namesIn(dim).filter((name) => !sizes.named.has(name) && find(scope, name)?.kind !== 'value');
  const [name] = open;
  if (open.length !== 1)
    return fail(context, 'unknown-size', { name: open.join('` and `') || written(dim) }, [at(dim.span)]);
  const marker = symbol(`?${name}`);
  sizes.named.set(name, { dim: marker, because: '', span: subject.span });
  const shaped = evaluateDim(context, scope, sizes, dim) ?? marker;
  sizes.named.delete(name);
  const [zero, one] = [0, 1].map((value) => substitute(shaped, new Map([[`?${name}`, value]])));
  const slope = subtract(one, zero);
  // `3 * count * D` where `count` is 0 is 0 whatever D is.
  const [without] = namesIn(dim).flatMap((other) => {
    const value =
      other === name
        ? undefined
        : evaluateDim(context, scope, sizes, { kind: 'identifier', name: other, span: dim.span });
    return typeof value === 'number' && value <= 0 ? [{ name: other, value }] : [];
  });
  if (without !== undefined && typeof slope === 'number' && slope <= 0)
    return fail(context, 'size-without-factor', { size: written(dim), ...without }, [at(subject.span), at(dim.span)], {
      hint: `Give \`${without.name}\` a number above 0.`,
    });
  const linear = !symbolsOf(slope).has(`?${name}`) && !isDivided(name, dim);
  if (!linear || slope === 0)
    return fail(context, 'unsolved-size', { name, size: written(dim) }, [at(dim.span), at(subject.span)], {
      hint: `Name \`${name}\` in another axis or parameter too, or give this size a name of its own.`,
    });
  const solved = divideExactly(subtract(actual, zero), slope);
  if (solved === undefined)
    return fail(
      context,
      'size-mismatch',
      { what: subject.what, axis, wanted: multipleOf(dim, zero, slope), found: show(actual) },
      [at(subject.span), at(dim.span)],
    );
  sizes.named.set(name, {
    dim: solved,
    because: `${name} is ${show(solved)} because \`${subject.name}\` has ${show(actual)} = ${written(dim)} in axis ${axis}`,
    span: subject.span,
    axis,
  });
}
