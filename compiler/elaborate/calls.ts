/**
 * Parentheses and braces: calling functions, applying instances and lists of them, making layers and optimizers, fixing
 * hyperparameters.
 */
import type { Expression, FunctionDeclaration, Signature } from '../../grammar/ast.ts';
import type { Span } from '../base/source.ts';
import { equal, type Dim } from '../types/dim.ts';
import { distribute, bindHyper, requireArguments, takesOf } from './arguments.ts';
import { constantOf } from './align.ts';
import { asLoss } from './arithmetic.ts';
import { at, emit, fail, standing, type Context, type Frame, type Given } from './context.ts';
import { compileTime, fixHyper, instantiate, slotsOf } from './instances.ts';
import { bind, createScope, type Scope } from './scope.ts';
import { createSizes, settleSizes, type Sizes } from './sizes.ts';
import { matchType } from './types.ts';
import {
  describe,
  int,
  pathOf,
  showType,
  tensor,
  unknown,
  type BuiltinValue,
  type FunctionValue,
  type InstanceValue,
  type Value,
} from './value.ts';

/** How deep calls may nest. */
const deepest = 100;

export function apply(context: Context, callee: Value, given: readonly Given[], span: Span): Value {
  switch (callee.kind) {
    case 'unknown':
      return unknown;
    case 'function':
      return applyFunction(context, callee, given, span);
    case 'builtin':
      return applyBuiltin(context, callee, given, span);
    case 'instance':
      return applyInstance(context, callee, given, span);
    case 'list':
      return applyList(context, callee, given, span);
    case 'data-function':
      return applyData(context, callee, given, span);
    case 'layer':
      return fail(context, 'not-made', { name: callee.declaration.name.name }, [at(span)], {
        hint: `Make it first: \`${callee.declaration.name.name}{…}(…)\`.`,
      });
    default:
      return fail(context, 'not-callable', { found: describe(callee) }, [at(span)]);
  }
}

/** Runs a call inside a frame; what it changes in the context is put back. */
function inFrame(context: Context, frame: Frame, path: string | undefined, work: () => Value): Value {
  if (context.frames.length >= deepest) {
    if (context.frames.some(({ declaration }) => declaration === frame.declaration))
      fail(context, 'recursion', { name: frame.name }, [at(frame.span)]);
    fail(context, 'too-deep', { limit: deepest }, [at(frame.span)]);
  }
  return standing(context, { index: undefined, path }, () => {
    context.frames.push(frame);
    return work();
  });
}

// ---------------------------------------------------------------------------------------------------- functions

function applyFunction(context: Context, callee: FunctionValue, given: readonly Given[], span: Span): Value {
  const { declaration } = callee;
  const name = declaration.name.name;
  return inFrame(context, { name, span, kind: 'function', declaration }, context.path, () => {
    const scope = createScope(callee.scope);
    bindHyper(context, name, declaration.hyper, callee.hyper, scope, span);
    if (declaration.role === 'init') return startInitializer(context, declaration, scope, given, span);
    return evaluateBody(context, declaration, scope, declaration.signature, declaration.body, given, span, name);
  });
}

/** Matches arguments with a signature, evaluates the body, matches the result. Loss and metric bodies are pairs. */
export function evaluateBody(
  context: Context,
  declaration: { readonly role: string },
  outer: Scope,
  signature: Signature,
  body: Expression,
  given: readonly Given[],
  span: Span,
  name: string,
): Value {
  const sizes = createSizes();
  const scope = createScope(outer);
  bindParameters(context, outer, scope, sizes, signature, given, span, name);
  const value = context.evaluator.evaluate(context, scope, body);
  const isLoss = declaration.role === 'loss' || declaration.role === 'metric';
  if (isLoss && value.kind !== 'unknown') return asLoss(context, { value, span: body.span });
  return matchResult(context, outer, sizes, signature, value, body, name);
}

function bindParameters(
  context: Context,
  outer: Scope,
  scope: Scope,
  sizes: Sizes,
  signature: Signature,
  given: readonly Given[],
  span: Span,
  name: string,
): void {
  const takes = takesOf(signature.parameters);
  const bound = distribute(context, name, takes, given);
  requireArguments(context, name, takes, bound, span);
  for (const parameter of signature.parameters) {
    const argument = bound.get(parameter.name.name);
    const value =
      argument?.value ??
      (parameter.default === undefined ? unknown : context.evaluator.evaluate(context, scope, parameter.default));
    const subject = {
      what: `\`${parameter.name.name}\` of \`${name}\``,
      name: parameter.name.name,
      span: argument?.span ?? span,
    };
    bind(
      scope,
      parameter.name.name,
      parameter.type === undefined ? value : matchType(context, outer, sizes, parameter.type, value, subject),
    );
  }
  settleSizes(context, outer, sizes);
  nameSizes(scope, sizes, signature);
}

/** Sizes of the signature are whole numbers in the body; those of unknown arguments are unknown. */
export function nameSizes(scope: Scope, sizes: Sizes, signature: Signature): void {
  for (const [name, { dim, axis }] of sizes.named) {
    if (scope.names.has(name)) continue;
    bind(scope, name, int(dim));
    if (axis !== undefined) scope.axes.set(name, axis);
  }
  for (const { type } of signature.parameters) {
    if (type?.kind !== 'tensor-type') continue;
    for (const dim of type.dims ?? [])
      if (
        dim.kind === 'dim' &&
        dim.value.kind === 'identifier' &&
        !scope.names.has(dim.value.name) &&
        !scope.outer?.names.has(dim.value.name)
      )
        bind(scope, dim.value.name, unknown);
  }
}

export function matchResult(
  context: Context,
  outer: Scope,
  sizes: Sizes,
  signature: Signature,
  value: Value,
  body: Expression,
  name: string,
): Value {
  if (signature.result === undefined) return value;
  const end = body.kind === 'block' ? (body.result?.span ?? body.span) : body.span;
  const matched = matchType(context, outer, sizes, signature.result, value, {
    what: `The result of \`${name}\``,
    name: 'the result',
    span: end,
    resultOf: name,
  });
  settleSizes(context, outer, sizes);
  return matched;
}

// ------------------------------------------------------------------------------------------------- initializers

function startInitializer(
  context: Context,
  declaration: FunctionDeclaration,
  outer: Scope,
  given: readonly Given[],
  span: Span,
): Value {
  const scope = createScope(outer);
  const sizes = createSizes();
  bindParameters(context, outer, scope, sizes, declaration.signature, given, span, declaration.name.name);
  return { kind: 'initializer', declaration, scope };
}

/** The tensor that an initializer, a number or a tensor gives for a shape, in f32. */
export function initialTensor(context: Context, value: Value, shape: readonly Dim[], span: Span): Value {
  switch (value.kind) {
    case 'unknown':
      return unknown;
    case 'function':
      if (value.declaration.role === 'init')
        return initialTensor(context, apply(context, value, [], span), shape, span);
      break;
    case 'initializer': {
      const { declaration, scope } = value;
      const made = standing(context, { shape }, () =>
        inFrame(context, { name: declaration.name.name, span, kind: 'function', declaration }, context.path, () =>
          context.evaluator.evaluate(context, scope, declaration.body),
        ),
      );
      return initialTensor(context, made, shape, span);
    }
    case 'int':
    case 'float':
      return tensor(constantOf(context, value, 'f32', shape, span, 'a parameter'));
    case 'tensor': {
      const own = value.value.type;
      const fits =
        own.shape.length === 0 ||
        (own.shape.length === shape.length && own.shape.every((size, axis) => equal(size, shape[axis])));
      if (!fits)
        fail(
          context,
          'rank-mismatch',
          { what: 'The first value', wanted: showType({ dtype: own.dtype, shape }), found: showType(own) },
          [at(span)],
        );
      return tensor(emit(context, span, (builder) => builder.broadcast(value.value, shape)));
    }
    default:
      break;
  }
  return fail(
    context,
    'wrong-kind',
    { what: 'The first value of a parameter', wanted: 'an initializer, a number or a tensor', found: describe(value) },
    [at(span)],
  );
}

/** `zeros[2, 3]`, `randint[64]`, `normal(0.1)[3]`, `uniform[4]`. */
export function ofShape(context: Context, callee: Value, shape: readonly Dim[], span: Span): Value {
  if (callee.kind === 'builtin') {
    const { builtin } = callee;
    if (builtin.shaped === 'function') return { ...callee, shape };
    if (builtin.shaped === 'value')
      return builtin.evaluate({ context, builtin, span, shape, arguments: new Map(), given: [] });
  }
  const isInit = callee.kind === 'initializer' || (callee.kind === 'function' && callee.declaration.role === 'init');
  return isInit
    ? initialTensor(context, callee, shape, span)
    : fail(context, 'not-indexable', { found: describe(callee) }, [at(span)]);
}

function applyBuiltin(context: Context, callee: BuiltinValue, given: readonly Given[], span: Span): Value {
  const { builtin, shape } = callee;
  if (builtin.shaped !== undefined && shape === undefined)
    return fail(context, 'missing-shape', { name: builtin.name, signature: builtin.signature }, [at(span)]);
  if (builtin.open !== true && given.some(({ value }) => value.kind === 'unknown')) return unknown;
  const positional = given.filter(({ name }) => name === undefined).slice(0, builtin.parameters.length);
  const known = new Set(builtin.parameters.map(({ name }) => name));
  const taken =
    builtin.open === true
      ? [...positional, ...given.filter(({ name }) => name !== undefined && known.has(name))]
      : given;
  const bound = distribute(context, builtin.name, builtin.parameters, taken);
  if (builtin.open !== true) requireArguments(context, builtin.name, builtin.parameters, bound, span);
  return builtin.evaluate({ context, builtin, span, shape: shape ?? [], arguments: bound, given });
}

// ---------------------------------------------------------------------------------------------------- instances

function applyInstance(context: Context, instance: InstanceValue, given: readonly Given[], span: Span): Value {
  const { declaration } = instance;
  const name = declaration.name.name;
  const application = declaration.apply;
  if (application === undefined)
    return fail(context, 'no-application', { name }, [at(span), at(declaration.name.span)]);
  return inFrame(context, { name, span, kind: 'layer', declaration }, pathOf(instance) ?? name, () => {
    if (instance.isFrozen === true) context.training = false;
    return evaluateBody(
      context,
      declaration,
      instance.scope,
      application.signature,
      application.body,
      given,
      span,
      name,
    );
  });
}

/** One after the other. A list of any length is applied once: it must return what it gets. */
function applyList(
  context: Context,
  layers: Extract<Value, { kind: 'list' }>,
  given: readonly Given[],
  span: Span,
): Value {
  const [first] = given;
  if (given.length !== 1)
    return fail(context, 'too-many-arguments', { callee: 'a list of layers', takes: 1, given: given.length }, [
      at(span),
    ]);
  // Layers that differ from each other cannot be checked by looking at one of them.
  if (layers.varies === true) return unknown;
  let value = first.value;
  for (const layer of layers.elements) value = apply(context, layer, [{ value, span: first.span }], span);
  if (typeof layers.length !== 'number' && value.kind === 'tensor' && first.value.kind === 'tensor') {
    const [before, after] = [showType(first.value.value.type), showType(value.value.type)];
    if (before !== after) fail(context, 'list-changes-type', { before, after }, [at(span)]);
  }
  return value;
}

function applyData(
  context: Context,
  callee: Extract<Value, { kind: 'data-function' }>,
  given: readonly Given[],
  span: Span,
): Value {
  const { declaration } = callee;
  const name = declaration.name.name;
  return inFrame(context, { name, span, kind: 'function', declaration }, context.path, () =>
    evaluateBody(
      context,
      { role: 'data' },
      callee.scope,
      { parameters: declaration.parameters, span: declaration.span },
      declaration.body,
      given,
      span,
      name,
    ),
  );
}

// ------------------------------------------------------------------------------------------------------- braces

export function make(context: Context, callee: Value, given: readonly Given[], span: Span): Value {
  switch (callee.kind) {
    case 'unknown':
      return unknown;
    case 'layer': {
      const instance = instantiate(context, callee, given, span);
      const inBody = context.frames.some((frame) => frame.kind !== 'init');
      if (inBody && slotsOf(instance).length > 0)
        fail(context, 'weights-in-body', { name: callee.declaration.name.name }, [at(span)], {
          hint: `Make it a member: \`name = ${callee.declaration.name.name}{…}\`.`,
        });
      return instance;
    }
    case 'function': {
      const { declaration } = callee;
      return {
        ...callee,
        hyper: fixHyper(context, declaration.name.name, declaration.hyper, callee.hyper, given),
      };
    }
    case 'optimizer': {
      const { declaration } = callee;
      const hyper = fixHyper(context, declaration.name.name, declaration.hyper, callee.hyper, given);
      requireArguments(context, declaration.name.name, takesOf(declaration.hyper), hyper, span);
      for (const { value, span: place } of hyper.values()) compileTime(context, value, place);
      return { ...callee, hyper, span };
    }
    default:
      return fail(context, 'cannot-make', { found: describe(callee) }, [at(span)]);
  }
}
