/**
 * Types as they are written, against values as they are: sizes get their names here, and every clash is told with both
 * places and where the sizes came from.
 */
import type { DimExpression, Expression, TensorTypeExpression, TypeExpression } from '../../grammar/ast.ts';
import { didYouMean, type Label } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import { add, divideExactly, equal, floorDivide, multiply, show, subtract, substitute, symbol, symbolsOf, type Dim } from '../types/dim.ts';
import { dtypes, type Dtype } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';
import { constantOf } from './align.ts';
import type { Builtin } from './builtins/builtin.ts';
import { at, emit, fail, giveUp, type Context } from './context.ts';
import { toIndexed } from './indexed.ts';
import { find, type Scope } from './scope.ts';
import { describe, float, showType, tensor, type Value } from './value.ts';

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

const written = (node: { readonly span: Span }): string => node.span.source.text.slice(node.span.start, node.span.end);

/** The value as the type wants it (numbers become tensors, whole numbers floats), or a diagnostic. */
export function matchType(context: Context, scope: Scope, sizes: Sizes, type: TypeExpression, value: Value, subject: Subject): Value {
  if (value.kind === 'unknown') return value;
  switch (type.kind) {
    case 'tensor-type': return matchTensor(context, scope, sizes, type, value, subject);
    case 'named-type': return matchNamed(context, type.name.name, type, value, subject);
    case 'choice-type': {
      const choices = type.choices.map((choice) => `"${choice}"`).join(', ');
      if (value.kind !== 'string') return wrongKind(context, type, `one of ${choices}`, value, subject);
      if (type.choices.includes(value.value)) return value;
      return fail(context, 'not-a-choice', { name: subject.name, choices, found: `"${value.value}"` }, [at(subject.span), at(type.span)], didYouMean(value.value, type.choices));
    }
    case 'tuple-type': {
      if (value.kind !== 'tuple' || value.elements.length !== type.elements.length)
        return wrongKind(context, type, `a tuple of ${type.elements.length}`, value, subject);
      return { kind: 'tuple', elements: value.elements.map((element, place) => matchType(context, scope, sizes, type.elements[place], element, subject)) };
    }
    case 'record-type': {
      if (value.kind !== 'record') return wrongKind(context, type, 'a record', value, subject);
      const fields = type.fields.map((field): [string, Value] => {
        const own = value.fields.get(field.name.name);
        if (own === undefined) return fail(context, 'unknown-field', { name: field.name.name }, [at(subject.span), at(field.name.span)]);
        return [field.name.name, matchType(context, scope, sizes, field.type, own, subject)];
      });
      return { kind: 'record', fields: new Map(fields) };
    }
  }
}

/** Kinds of values that a word names. */
const kinds: Record<string, readonly Value['kind'][]> = {
  int: ['int'], float: ['float', 'int'], bool: ['bool'], str: ['string'], list: ['list'], record: ['record'],
  schedule: ['function', 'builtin', 'int', 'float'], function: ['function', 'builtin', 'instance', 'list'],
  layer: ['instance', 'function', 'builtin', 'list'], data: ['data'], optimizer: ['optimizer'], any: [],
};

function matchNamed(context: Context, name: string, type: TypeExpression, value: Value, subject: Subject): Value {
  const wanted = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
  if (wanted === undefined) return fail(context, 'unknown-type', { name }, [at(type.span)], didYouMean(name, [...Object.keys(kinds), ...dtypes]));
  if (wanted.length > 0 && !wanted.includes(value.kind)) return wrongKind(context, type, article(name), value, subject);
  if (name === 'float' && value.kind === 'int') return float(typeof value.value === 'number' ? value.value : undefined);
  if (name === 'schedule' && (value.kind === 'int' || value.kind === 'float')) return { kind: 'builtin', builtin: constantSchedule(value) };
  return value;
}

/** A number where a schedule is wanted is the same at every step. */
const constantSchedule = (value: Value): Builtin => ({
  name: 'constant', doc: 'The same at every step.', signature: 'constant(step)', parameters: [{ name: 'step' }], evaluate: () => value,
});

const words: Record<string, string> = { int: 'a whole number', float: 'a number', bool: 'true or false', str: 'a text', schedule: 'a schedule or a number' };
const article = (name: string): string => words[name] ?? `${/^[aeiou]/.test(name) ? 'an' : 'a'} ${name}`;

function wrongKind(context: Context, type: TypeExpression, wanted: string, value: Value, subject: Subject): never {
  if (subject.resultOf !== undefined) return wrongResult(context, type, describe(value), subject, []);
  const hint = value.kind === 'layer' ? { hint: `Make it first: \`${value.declaration.name.name}{…}\`.` } : {};
  return fail(context, 'wrong-kind', { what: subject.what, wanted, found: describe(value) }, [at(subject.span), at(type.span, 'because of this')], hint);
}

function wrongResult(context: Context, type: TypeExpression, found: string, subject: Subject, notes: readonly string[]): never {
  return fail(context, 'result-mismatch', { name: subject.resultOf ?? '', wanted: written(type), found }, [
    at(subject.span, `this is ${found}`), at(type.span, 'this is what was promised'),
  ], { notes });
}

// ------------------------------------------------------------------------------------------------------ tensors

function matchTensor(context: Context, scope: Scope, sizes: Sizes, type: TensorTypeExpression, value: Value, subject: Subject): Value {
  const dtype = dtypeOf(context, type);
  const dims = type.dims ?? [];
  const minimum = dims.filter((dim) => dim.kind !== 'rest').length;
  const scalar = minimum === 0;
  const hasRest = dims.some((dim) => dim.kind === 'rest');
  if (value.kind === 'int' || value.kind === 'float' || value.kind === 'bool') {
    if (!scalar) return wrongKind(context, type, `a tensor ${written(type)}`, value, subject);
    if (hasRest) bindRest(context, type, sizes, [], subject);
    return tensor(constantOf(context, value, dtype, [], subject.span, subject.what));
  }
  if (value.kind === 'loss') return matchTensor(context, scope, sizes, type, tensor(emit(context, subject.span, (builder) => builder.binary('div', value.sum, value.count))), subject);
  // One element of index notation is a scalar to the definitions it is given to.
  const element = value.kind === 'index' ? toIndexed(context, value, dtype, subject.span) : value;
  if (element.kind !== 'tensor' && element.kind !== 'indexed') return wrongKind(context, type, `a tensor ${written(type)}`, value, subject);
  const actual: TensorType = element.kind === 'indexed' ? { dtype: element.value.type.dtype, shape: [] } : element.value.type;
  if (actual.dtype !== dtype) {
    if (subject.resultOf !== undefined) return wrongResult(context, type, showType(actual), subject, []);
    fail(context, 'dtype-mismatch', { what: subject.what, wanted: dtype, found: actual.dtype }, [at(subject.span, `this is ${showType(actual)}`), at(type.span, `${dtype} is asked for here`)], {
      hint: `Convert it: \`${dtype}(…)\`.`,
    });
  }
  const { shape } = actual;
  if (hasRest ? shape.length < minimum : shape.length !== minimum) {
    if (subject.resultOf !== undefined) return wrongResult(context, type, showType(actual), subject, []);
    fail(context, 'rank-mismatch', { what: subject.what, wanted: written(type), found: showType(actual) }, [at(subject.span, `this is ${showType(actual)}`), at(type.span, `${minimum} ${minimum === 1 ? 'axis is' : 'axes are'} asked for here`)]);
  }
  let axis = 0;
  for (const dim of dims) {
    if (dim.kind === 'rest') {
      bindRest(context, type, sizes, shape.slice(axis, axis + shape.length - minimum), subject);
      axis += shape.length - minimum;
    } else matchDim(context, scope, sizes, dim, shape[axis], axis++, actual, { ...subject, type });
  }
  return element;
}

export function dtypeOf(context: Context, type: TensorTypeExpression): Dtype {
  const { name, span } = type.dtype;
  return dtypes.find((dtype) => dtype === name) ?? fail(context, 'unknown-type', { name }, [at(span)], didYouMean(name, dtypes));
}

function bindRest(context: Context, type: TypeExpression, sizes: Sizes, dims: readonly Dim[], subject: Subject): void {
  const known = sizes.rest;
  const shown = `[${dims.map(show).join(', ')}]`;
  if (known === undefined) {
    sizes.rest = { dims, because: `\`...\` is ${shown} because of \`${subject.name}\`` };
    return;
  }
  if (known.dims.length === dims.length && known.dims.every((dim, axis) => equal(dim, dims[axis]))) return;
  if (subject.resultOf !== undefined) wrongResult(context, type, shown, subject, [known.because]);
  fail(context, 'rest-mismatch', { what: subject.what, wanted: `[${known.dims.map(show).join(', ')}]`, found: shown }, [at(subject.span), at(type.span)], { notes: [known.because] });
}

function matchDim(context: Context, scope: Scope, sizes: Sizes, dim: DimExpression, actual: Dim, axis: number, type: TensorType, subject: Subject): void {
  if (dim.kind !== 'dim') return;
  const expected = evaluateDim(context, scope, sizes, dim.value);
  if (expected === undefined) {
    if (dim.value.kind === 'identifier') {
      const { name } = dim.value;
      const because = show(actual) === name ? `${name} comes from \`${subject.name}\`, which is ${showType(type)}` : `${name} is ${show(actual)} because \`${subject.name}\` is ${showType(type)}`;
      sizes.named.set(name, { dim: actual, because, span: subject.span, axis });
    } else sizes.open.push({ dim: dim.value, actual, axis, subject });
    return;
  }
  if (!equal(expected, actual)) sizeClash(context, scope, sizes, dim.value, expected, actual, axis, showType(type), subject);
}

function sizeClash(context: Context, scope: Scope, sizes: Sizes, dim: Expression, expected: Dim, actual: Dim, axis: number, found: string, subject: Subject): never {
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
  for (let outer: Scope | undefined = scope; outer !== undefined; outer = outer.outer) if (outer.names.has(name)) return outer.origins.get(name);
  return undefined;
}

function namesIn(expression: Expression): string[] {
  if (expression.kind === 'identifier') return [expression.name];
  if (expression.kind === 'binary') return [...new Set([...namesIn(expression.left), ...namesIn(expression.right)])];
  return expression.kind === 'unary' ? namesIn(expression.operand) : [];
}

/** A size in a type: `/` is floor division. Undefined when a name in it is not bound yet. */
export function evaluateDim(context: Context, scope: Scope, sizes: Sizes, expression: Expression): Dim | undefined {
  switch (expression.kind) {
    case 'number':
      if (!expression.isInteger) return fail(context, 'not-a-size', { found: `the number ${expression.text}` }, [at(expression.span)]);
      return expression.value;
    case 'identifier': {
      const known = sizes.named.get(expression.name);
      if (known !== undefined) return known.dim;
      const binding = find(scope, expression.name);
      if (binding?.kind === 'value' && binding.value.kind === 'unknown') return giveUp();
      return binding?.kind === 'value' && binding.value.kind === 'int' ? binding.value.value : constantDim(context, scope, expression);
    }
    case 'unary': {
      const operand = evaluateDim(context, scope, sizes, expression.operand);
      return operand === undefined ? undefined : multiply(-1, operand);
    }
    case 'binary': {
      const [left, right] = [evaluateDim(context, scope, sizes, expression.left), evaluateDim(context, scope, sizes, expression.right)];
      if (left === undefined || right === undefined) return undefined;
      if (expression.operator === '+') return add(left, right);
      if (expression.operator === '-') return subtract(left, right);
      if (expression.operator === '*') return multiply(left, right);
      if (expression.operator === '/') return right === 0 ? fail(context, 'division-by-zero', {}, [at(expression.span)]) : floorDivide(left, right);
      break;
    }
    default: break;
  }
  const value = context.evaluator.evaluate(context, scope, expression);
  if (value.kind === 'unknown') return giveUp();
  return value.kind === 'int' ? value.value : fail(context, 'not-a-size', { found: describe(value) }, [at(expression.span)]);
}

/** A module's whole-number constant as a size. */
function constantDim(context: Context, scope: Scope, expression: Extract<Expression, { kind: 'identifier' }>): Dim | undefined {
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
    } else if (!equal(known, actual)) sizeClash(context, scope, sizes, dim, known, actual, axis, `of size ${show(actual)} in axis ${axis}`, subject);
  }
}

function solveSize(context: Context, scope: Scope, sizes: Sizes, dim: Expression, actual: Dim, axis: number, subject: Subject): void {
  const open = namesIn(dim).filter((name) => !sizes.named.has(name) && find(scope, name)?.kind !== 'value');
  const [name] = open;
  if (open.length !== 1) return fail(context, 'unknown-size', { name: open.join('` and `') || written(dim) }, [at(dim.span)]);
  const marker = symbol(`?${name}`);
  sizes.named.set(name, { dim: marker, because: '', span: subject.span });
  const shaped = evaluateDim(context, scope, sizes, dim) ?? marker;
  sizes.named.delete(name);
  const [zero, one] = [0, 1].map((value) => substitute(shaped, new Map([[`?${name}`, value]])));
  const slope = subtract(one, zero);
  const solved = divideExactly(subtract(actual, zero), slope);
  const linear = !symbolsOf(slope).has(`?${name}`);
  if (solved === undefined || !linear || slope === 0)
    return fail(context, 'size-mismatch', { what: subject.what, axis, wanted: written(dim), found: show(actual) }, [at(subject.span), at(dim.span)]);
  sizes.named.set(name, { dim: solved, because: `${name} is ${show(solved)} because \`${subject.name}\` has ${show(actual)} = ${written(dim)} in axis ${axis}`, span: subject.span, axis });
}

// ---------------------------------------------------------------------------------------------- types to tensors

/** A tensor type all of whose sizes are known: of parameters, and of `gradcheck … at`. */
export function tensorTypeOf(context: Context, scope: Scope, type: TypeExpression): TensorType {
  if (type.kind !== 'tensor-type') return fail(context, 'wrong-kind', { what: 'This', wanted: 'the type of a tensor', found: `\`${written(type)}\`` }, [at(type.span)]);
  const sizes = createSizes();
  const shape = (type.dims ?? []).map((dim): Dim => {
    if (dim.kind !== 'dim') return fail(context, 'not-a-size', { found: `\`${written(dim)}\`` }, [at(dim.span)]);
    const size = evaluateDim(context, scope, sizes, dim.value);
    if (size === undefined) {
      const name = dim.value.kind === 'identifier' ? dim.value.name : written(dim);
      return fail(context, 'unknown-size', { name }, [at(dim.span)]);
    }
    if (typeof size === 'number' && size < 0) fail(context, 'negative-size', { size: show(size) }, [at(dim.span)]);
    return size;
  });
  return { dtype: dtypeOf(context, type), shape };
}

/** A tensor that a type allows, with sizes left open: what a definition is checked with. */
export function openTensor(context: Context, scope: Scope, sizes: Sizes, type: TensorTypeExpression, name: string, span: Span): Value {
  const shape = (type.dims ?? []).flatMap((dim): readonly Dim[] => {
    if (dim.kind === 'rest') {
      sizes.rest ??= { dims: [symbol('...')], because: '`...` is any number of axes' };
      return sizes.rest.dims;
    }
    if (dim.kind === 'any') return [symbol(`_${context.root.inputs.length}`)];
    for (const free of namesIn(dim.value)) {
      const known = sizes.named.has(free) || find(scope, free) !== undefined;
      if (!known) sizes.named.set(free, { dim: symbol(free), because: `${free} is any size`, span: dim.span, ...(dim.value.kind === 'identifier' ? { axis: (type.dims ?? []).indexOf(dim) } : {}) });
    }
    return [evaluateDim(context, scope, sizes, dim.value) ?? symbol(written(dim))];
  });
  const dtype = dtypeOf(context, type);
  return tensor(emit(context, span, (builder) => builder.input(name, 'batch', { dtype, shape })));
}

