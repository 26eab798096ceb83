/**
 * Definitions and reductions in index notation:
 *
 *   let s[b, h, t, u] = sum[d] q[b, t, h, d] * k[b, u, h, d] / sqrt(D)      one contract, one division
 *   let m[b, i, j, c] = max[u in 0..2, v in 0..2] x[b, 2*i + u, 2*j + v, c] a view and a reduce
 *
 * A sum of a product of at least two reads is a contraction; factors that do not depend on what is summed are multiplied
 * outside. Everything else is elementwise over the union of the index variables, then reduced.
 */
import type { Expression, IndexVariable, Reduction } from '../../grammar/ast.ts';
import type { Span } from '../base/source.ts';
import type { Value as GraphValue } from '../graph/graph.ts';
import { isFloat } from '../types/dtype.ts';
import { constantOf, type Operand } from './align.ts';
import { binary } from './arithmetic.ts';
import { at, fail, standing, type Context } from './context.ts';
import {
  contractOver,
  countOf,
  elementOf,
  freeAxes,
  materialize,
  reduceOver,
  sizeOf,
  toIndexed,
  unionAxes,
} from './indexed.ts';
import { bindIndices, createIndexScope, inferRanges, type IndexScope } from './index-ranges.ts';
import type { Scope } from './scope.ts';
import { describe, int, showType, tensor, unknown, type Axis, type IndexedValue, type Value } from './value.ts';

/** `let y[i, j] = …`: the tensor of all elements. */
export function defineByIndex(
  context: Context,
  variables: readonly IndexVariable[],
  body: Expression,
  scope: Scope,
  span: Span,
): Value {
  const index = createIndexScope();
  return standing(context, { index }, () => define(context, index, variables, body, scope, span));
}

function define(
  context: Context,
  index: IndexScope,
  variables: readonly IndexVariable[],
  body: Expression,
  scope: Scope,
  span: Span,
): Value {
  const inner = bindIndices(context, index, variables, scope);
  inferRanges(context, index, body, inner.scope);
  const value = context.evaluator.evaluate(context, inner.scope, body);
  if (value.kind === 'unknown') return unknown;
  const elements = asElements(context, { value, span: body.span });
  const rest = index.rest.toReversed();
  const axes = namesRest(variables) ? [...rest, ...inner.axes] : inner.axes;
  for (const axis of freeAxes(elements))
    if (!axes.includes(axis))
      fail(context, 'index-unused', { name: axis.name }, [at(axis.span)], {
        hint: 'Reduce over it, or name it on the left.',
      });
  for (const axis of axes) sizeOf(context, axis);
  return tensor(materialize(context, elements, axes, span));
}

/** `sum[d] …`, inside index notation or on its own, where only `...` may be left over. */
export function evaluateReduction(context: Context, node: Reduction, scope: Scope): Value {
  const inner = context.index?.reductions.get(node);
  if (inner !== undefined) return reduceElements(context, node, inner.scope, reducedAxes(context, node, inner.axes));
  // Outermost, or one that the analysis did not reach (in a block, say): a notation of its own.
  const index = createIndexScope();
  const value = standing(context, { index }, () => {
    inferRanges(context, index, node, scope);
    const own = index.reductions.get(node);
    if (own === undefined) throw new Error('the analysis missed the reduction it began with');
    return reduceElements(context, node, own.scope, reducedAxes(context, node, own.axes));
  });
  if (value.kind !== 'indexed') return value;
  const rest = index.rest.toReversed();
  return freeAxes(value).every((axis) => rest.includes(axis))
    ? tensor(materialize(context, value, rest, node.span))
    : value;
}

const namesRest = (variables: readonly IndexVariable[]): boolean => variables.some(({ name }) => name.name === '...');

/** `sum[..., d]` reduces over the leading axes too. */
const reducedAxes = (context: Context, node: Reduction, named: readonly Axis[]): readonly Axis[] =>
  namesRest(node.indices) ? [...(context.index?.rest ?? []).toReversed(), ...named] : named;

function reduceElements(context: Context, node: Reduction, scope: Scope, over: readonly Axis[]): Value {
  if (node.monoid === 'sum' || node.monoid === 'mean') {
    const total = sumOfProduct(context, node, scope, over);
    if (total.kind === 'unknown' || node.monoid === 'sum') return total;
    return binary(
      context,
      '/',
      { value: total, span: node.span },
      { value: int(countOf(context, over)), span: node.span },
      node.span,
    );
  }
  const value = context.evaluator.evaluate(context, scope, node.body);
  if (value.kind === 'unknown') return unknown;
  return reduceOver(
    context,
    node.monoid,
    spread(context, asElements(context, { value, span: node.body.span }), over, node.span),
    over,
    node.span,
  );
}

interface Factors {
  readonly times: Operand[];
  readonly by: Operand[];
  sign: 1 | -1;
}

function sumOfProduct(context: Context, node: Reduction, scope: Scope, over: readonly Axis[]): Value {
  const factors: Factors = { times: [], by: [], sign: 1 };
  flatten(context, node.body, scope, factors);
  if ([...factors.times, ...factors.by].some(({ value }) => value.kind === 'unknown')) return unknown;
  const depends = ({ value }: Operand): boolean =>
    (value.kind === 'indexed' && freeAxes(value).some((axis) => over.includes(axis))) ||
    (value.kind === 'index' && value.terms.some(({ axis }) => over.includes(axis)));
  const inside = factors.times.filter(depends);
  let outside = factors.times.filter((factor) => !depends(factor));
  const dividedInside = factors.by.some(depends);

  let total: Operand;
  const dtype = inside.flatMap(({ value }) => (value.kind === 'indexed' ? [value.value.type.dtype] : []))[0];
  const contractible =
    !dividedInside &&
    inside.length >= 2 &&
    dtype !== undefined &&
    isFloat(dtype) &&
    inside.every(
      ({ value }) => value.kind === 'index' || (value.kind === 'indexed' && value.value.type.dtype === dtype),
    );
  if (contractible) {
    const reads = inside.map(({ value, span }): IndexedValue =>
      value.kind === 'index' ? toIndexed(context, value, dtype, span) : asElements(context, { value, span }),
    );
    const read = unionAxes(reads);
    const value = contractOver(
      context,
      reads,
      over.filter((axis) => read.includes(axis)),
      node.span,
    );
    const repeated = over.filter((axis) => !read.includes(axis));
    total = { value, span: node.span };
    if (repeated.length > 0) outside = [...outside, { value: int(countOf(context, repeated)), span: node.span }];
  } else {
    let product: Operand | undefined;
    for (const factor of inside)
      product =
        product === undefined
          ? factor
          : { value: binary(context, '*', product, factor, node.body.span), span: node.body.span };
    for (const factor of factors.by.filter(depends))
      product = {
        value: binary(context, '/', product ?? { value: int(1), span: node.body.span }, factor, node.body.span),
        span: node.body.span,
      };
    const elements = product ?? outside.shift() ?? { value: int(1), span: node.body.span };
    if (elements.value.kind === 'unknown') return unknown;
    const spreadOut = spread(context, asElements(context, elements), over, node.span);
    total = { value: reduceOver(context, 'sum', spreadOut, over, node.span), span: node.span };
  }
  for (const factor of outside) total = { value: binary(context, '*', total, factor, node.span), span: node.span };
  for (const factor of factors.by.filter((divisor) => !depends(divisor)))
    total = { value: binary(context, '/', total, factor, node.span), span: node.span };
  if (factors.sign < 0)
    total = { value: binary(context, '*', total, { value: int(-1), span: node.span }, node.span), span: node.span };
  return total.value;
}

/** Takes a product apart; what is no product is a factor. */
function flatten(context: Context, expression: Expression, scope: Scope, into: Factors): void {
  if (expression.kind === 'binary' && expression.operator === '*') {
    flatten(context, expression.left, scope, into);
    flatten(context, expression.right, scope, into);
  } else if (
    expression.kind === 'binary' &&
    expression.operator === '/' &&
    !bothNumbers(expression.left, expression.right)
  ) {
    flatten(context, expression.left, scope, into);
    into.by.push({ value: context.evaluator.evaluate(context, scope, expression.right), span: expression.right.span });
  } else if (expression.kind === 'unary' && expression.operator === '-') {
    into.sign = into.sign === 1 ? -1 : 1;
    flatten(context, expression.operand, scope, into);
  } else {
    into.times.push({ value: context.evaluator.evaluate(context, scope, expression), span: expression.span });
  }
}

const bothNumbers = (a: Expression, b: Expression): boolean => a.kind === 'number' && b.kind === 'number';

/** A value as elements; numbers and scalars are the same element everywhere. */
function asElements(context: Context, { value, span }: Operand): IndexedValue {
  if (value.kind === 'indexed') return value;
  if (value.kind === 'index') return toIndexed(context, value, 'i32', span);
  if (value.kind === 'tensor') {
    if (value.value.type.shape.length > 0)
      fail(context, 'index-missing', { type: showType(value.value.type) }, [at(span)], {
        hint: 'Say which element: `x[i, j]`.',
      });
    return elementOf(value.value, []);
  }
  if (value.kind === 'int' || value.kind === 'float' || value.kind === 'bool') {
    const dtype = value.kind === 'int' ? 'i32' : value.kind === 'float' ? 'f32' : 'bool';
    return elementOf(constantOf(context, value, dtype, [], span, 'index notation'), []);
  }
  return fail(context, 'not-numeric', { operator: 'index notation', found: describe(value) }, [at(span)]);
}

/** Elements repeated along index variables they do not depend on, so that a reduction over those counts them. */
function spread(context: Context, value: IndexedValue, over: readonly Axis[], span: Span): IndexedValue {
  const free = freeAxes(value);
  if (over.every((axis) => free.includes(axis))) return value;
  const axes = [...free, ...over.filter((axis) => !free.includes(axis))];
  const elements: GraphValue = materialize(context, value, axes, span);
  return elementOf(elements, axes);
}
