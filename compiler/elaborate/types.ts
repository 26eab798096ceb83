/**
 * Types as they are written, against values as they are: numbers become tensors where tensors are wanted, and every clash
 * is told with both places.
 */
import type { TensorTypeExpression, TypeExpression } from '../../grammar/ast.ts';
import { didYouMean } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import { show, symbol, type Dim } from '../types/dim.ts';
import { dtypes, type Dtype } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';
import { constantOf } from './align.ts';
import type { Builtin } from './builtins/builtin.ts';
import { at, emit, fail, type Context } from './context.ts';
import { toIndexed } from './indexed.ts';
import { find, type Scope } from './scope.ts';
import {
  bindRest,
  createSizes,
  evaluateDim,
  matchDim,
  namesIn,
  unboundIn,
  wrongResult,
  written,
  type Sizes,
  type Subject,
} from './sizes.ts';
import { describe, float, showType, tensor, type Value } from './value.ts';

/** The value as the type wants it (numbers become tensors, whole numbers floats), or a diagnostic. */
export function matchType(
  context: Context,
  scope: Scope,
  sizes: Sizes,
  type: TypeExpression,
  value: Value,
  subject: Subject,
): Value {
  if (value.kind === 'unknown') return value;
  switch (type.kind) {
    case 'tensor-type':
      return matchTensor(context, scope, sizes, type, value, subject);
    case 'named-type':
      return matchNamed(context, type.name.name, type, value, subject);
    case 'choice-type': {
      const choices = type.choices.map((choice) => `"${choice}"`).join(', ');
      if (value.kind !== 'string') return wrongKind(context, type, `one of ${choices}`, value, subject);
      if (type.choices.includes(value.value)) return value;
      return fail(
        context,
        'not-a-choice',
        { name: subject.name, choices, found: `"${value.value}"` },
        [at(subject.span), at(type.span)],
        didYouMean(value.value, type.choices),
      );
    }
    case 'tuple-type': {
      if (value.kind !== 'tuple' || value.elements.length !== type.elements.length)
        return wrongKind(context, type, `a tuple of ${type.elements.length}`, value, subject);
      return {
        kind: 'tuple',
        elements: value.elements.map((element, place) =>
          matchType(context, scope, sizes, type.elements[place], element, subject),
        ),
      };
    }
    case 'record-type': {
      if (value.kind !== 'record') return wrongKind(context, type, 'a record', value, subject);
      const fields = type.fields.map((field): [string, Value] => {
        const own = value.fields.get(field.name.name);
        if (own === undefined)
          return fail(
            context,
            'unknown-field',
            { name: field.name.name },
            [at(subject.span), at(field.name.span)],
            didYouMean(field.name.name, value.fields.keys()),
          );
        return [field.name.name, matchType(context, scope, sizes, field.type, own, subject)];
      });
      return { kind: 'record', fields: new Map(fields) };
    }
  }
}

/** Kinds of values that a word names. */
const kinds: Record<string, readonly Value['kind'][]> = {
  int: ['int'],
  float: ['float', 'int'],
  bool: ['bool'],
  str: ['string'],
  list: ['list'],
  record: ['record'],
  schedule: ['function', 'builtin', 'int', 'float'],
  function: ['function', 'builtin', 'instance', 'list'],
  layer: ['instance', 'function', 'builtin', 'list'],
  data: ['data'],
  optimizer: ['optimizer'],
  any: [],
};

function matchNamed(context: Context, name: string, type: TypeExpression, value: Value, subject: Subject): Value {
  const wanted = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
  if (wanted === undefined)
    return fail(
      context,
      'unknown-type',
      { name },
      [at(type.span)],
      didYouMean(name, [...Object.keys(kinds), ...dtypes]),
    );
  if (wanted.length > 0 && !wanted.includes(value.kind)) return wrongKind(context, type, article(name), value, subject);
  if (name === 'float' && value.kind === 'int') return float(typeof value.value === 'number' ? value.value : undefined);
  if (name === 'schedule' && (value.kind === 'int' || value.kind === 'float'))
    return { kind: 'builtin', builtin: constantSchedule(value) };
  return value;
}

/** A number where a schedule is wanted is the same at every step. */
const constantSchedule = (value: Value): Builtin => ({
  name: 'constant',
  doc: 'The same at every step.',
  signature: 'constant(step)',
  parameters: [{ name: 'step' }],
  evaluate: () => value,
});

const words: Record<string, string> = {
  int: 'a whole number',
  float: 'a number',
  bool: 'true or false',
  str: 'a text',
  schedule: 'a schedule or a number',
};
const article = (name: string): string => words[name] ?? `${/^[aeiou]/.test(name) ? 'an' : 'a'} ${name}`;

function wrongKind(context: Context, type: TypeExpression, wanted: string, value: Value, subject: Subject): never {
  if (subject.resultOf !== undefined) return wrongResult(context, type, describe(value), subject, []);
  const hint = value.kind === 'layer' ? { hint: `Make it first: \`${value.declaration.name.name}{…}\`.` } : {};
  return fail(
    context,
    'wrong-kind',
    { what: subject.what, wanted, found: describe(value) },
    [at(subject.span), at(type.span, 'because of this')],
    hint,
  );
}

function matchTensor(
  context: Context,
  scope: Scope,
  sizes: Sizes,
  type: TensorTypeExpression,
  value: Value,
  subject: Subject,
): Value {
  const dtype = dtypeOf(context, type);
  const dims = type.dims ?? [];
  const minimum = dims.filter((dim) => dim.kind !== 'rest').length;
  const scalar = minimum === 0;
  const hasRest = dims.some((dim) => dim.kind === 'rest');
  if (value.kind === 'int' || value.kind === 'float' || value.kind === 'bool') {
    if (!scalar) return wrongKind(context, type, `a tensor ${written(type)}`, value, subject);
    if (hasRest) bindRest(context, type, sizes, [], describe(value), subject);
    return tensor(constantOf(context, value, dtype, [], subject.span, subject.what));
  }
  if (value.kind === 'loss')
    return matchTensor(
      context,
      scope,
      sizes,
      type,
      tensor(emit(context, subject.span, (builder) => builder.binary('div', value.sum, value.count))),
      subject,
    );
  // One element of index notation is a scalar to the definitions it is given to.
  const element = value.kind === 'index' ? toIndexed(context, value, dtype, subject.span) : value;
  if (element.kind !== 'tensor' && element.kind !== 'indexed')
    return wrongKind(context, type, `a tensor ${written(type)}`, value, subject);
  const actual: TensorType =
    element.kind === 'indexed' ? { dtype: element.value.type.dtype, shape: [] } : element.value.type;
  if (actual.dtype !== dtype) {
    if (subject.resultOf !== undefined) return wrongResult(context, type, showType(actual), subject, []);
    fail(
      context,
      'dtype-mismatch',
      { what: subject.what, wanted: dtype, found: actual.dtype },
      [at(subject.span, `this is ${showType(actual)}`), at(type.span, `${dtype} is asked for here`)],
      {
        hint: `Convert it: \`${dtype}(…)\`.`,
      },
    );
  }
  const { shape } = actual;
  if (hasRest ? shape.length < minimum : shape.length !== minimum) {
    if (subject.resultOf !== undefined) return wrongResult(context, type, showType(actual), subject, []);
    fail(context, 'rank-mismatch', { what: subject.what, wanted: written(type), found: showType(actual) }, [
      at(subject.span, `this is ${showType(actual)}`),
      at(type.span, `${minimum} ${minimum === 1 ? 'axis is' : 'axes are'} asked for here`),
    ]);
  }
  let axis = 0;
  for (const dim of dims) {
    if (dim.kind === 'rest') {
      bindRest(context, type, sizes, shape.slice(axis, axis + shape.length - minimum), showType(actual), subject);
      axis += shape.length - minimum;
    } else matchDim(context, scope, sizes, dim, shape[axis], axis++, actual, { ...subject, type });
  }
  return element;
}

export function dtypeOf(context: Context, type: TensorTypeExpression): Dtype {
  const { name, span } = type.dtype;
  return (
    dtypes.find((dtype) => dtype === name) ??
    fail(context, 'unknown-type', { name }, [at(span)], didYouMean(name, dtypes))
  );
}

/** A tensor type all of whose sizes are known: of parameters, and of `gradcheck … at`. */
export function tensorTypeOf(context: Context, scope: Scope, type: TypeExpression): TensorType {
  if (type.kind !== 'tensor-type')
    return fail(
      context,
      'wrong-kind',
      { what: 'This', wanted: 'the type of a tensor', found: `\`${written(type)}\`` },
      [at(type.span)],
    );
  const sizes = createSizes();
  const shape = (type.dims ?? []).map((dim): Dim => {
    if (dim.kind !== 'dim') return fail(context, 'not-a-size', { found: `\`${written(dim)}\`` }, [at(dim.span)]);
    const size = evaluateDim(context, scope, sizes, dim.value);
    if (size === undefined) {
      const { name, span } = unboundIn(context, scope, sizes, dim.value) ?? { name: written(dim), span: dim.span };
      return fail(context, 'unknown-size', { name }, [at(span)]);
    }
    if (typeof size === 'number' && size < 0) fail(context, 'negative-size', { size: show(size) }, [at(dim.span)]);
    return size;
  });
  return { dtype: dtypeOf(context, type), shape };
}

/** A tensor that a type allows, with sizes left open: what a definition is checked with. */
export function openTensor(
  context: Context,
  scope: Scope,
  sizes: Sizes,
  type: TensorTypeExpression,
  name: string,
  span: Span,
): Value {
  const shape = (type.dims ?? []).flatMap((dim): readonly Dim[] => {
    if (dim.kind === 'rest') {
      sizes.rest ??= { dims: [symbol('...')], because: '`...` is any number of axes' };
      return sizes.rest.dims;
    }
    if (dim.kind === 'any') return [symbol(`_${context.root.inputs.length}`)];
    for (const free of namesIn(dim.value)) {
      const known = sizes.named.has(free) || find(scope, free) !== undefined;
      if (!known)
        sizes.named.set(free, {
          dim: symbol(free),
          because: `${free} is any size`,
          span: dim.span,
          ...(dim.value.kind === 'identifier' ? { axis: (type.dims ?? []).indexOf(dim) } : {}),
        });
    }
    return [evaluateDim(context, scope, sizes, dim.value) ?? symbol(written(dim))];
  });
  const dtype = dtypeOf(context, type);
  return tensor(emit(context, span, (builder) => builder.input(name, 'batch', { dtype, shape })));
}
