/**
 * The evaluator: what an expression is. On concrete sizes it adds to a graph what the program computes; on symbolic sizes
 * the same code checks a definition that nothing uses yet.
 */
import type {
  Argument,
  Call,
  Comprehension,
  Expression,
  Identifier,
  Member,
  Pipe,
  StringLiteral,
} from '../../grammar/ast.ts';
import { didYouMean, type Diagnostics } from '../base/diagnostics.ts';
import { some } from '../check/walk.ts';
import type { Span } from '../base/source.ts';
import type { Builder } from '../graph/build.ts';
import { show, subtract, symbol } from '../types/dim.ts';
import { binary, unary } from './arithmetic.ts';
import { evaluateBlock, evaluateConditional } from './statements.ts';
import { apply, make, ofShape } from './calls.ts';
import {
  at,
  createContextWith,
  fail,
  readSlot,
  type Context,
  type ContextOptions,
  type Evaluator,
  type Given,
} from './context.ts';
import { evaluateReduction } from './index-notation.ts';
import { evaluateIndex } from './indexing.ts';
import { noteCut } from './note-cut.ts';
import { evaluateScan } from './scan.ts';
import { bind, createScope, find, visibleNames, type Scope } from './scope.ts';
import { bool, callData, describe, float, int, list, string, tensor, unknown, type Value } from './value.ts';

const evaluator: Evaluator = { evaluate, apply, ofShape };

/** A place for evaluation that adds to `builder` and collects what is wrong. */
export const createContext = (builder: Builder, diagnostics: Diagnostics, options: ContextOptions = {}): Context =>
  createContextWith(evaluator, builder, diagnostics, options);

/** Calls a function, or applies an instance or a list of them, to values. */
export const applyValue = (context: Context, callee: Value, values: readonly Value[], span: Span): Value =>
  apply(
    context,
    callee,
    values.map((value) => ({ value, span })),
    span,
  );

/** The value of an expression. Throws a `Problem`; `attempt` collects it. */
export function evaluate(context: Context, scope: Scope, expression: Expression): Value {
  if (++context.depth > deepest) fail(context, 'too-deep', { limit: deepest }, [at(expression.span)]);
  const value = evaluateKind(context, scope, expression);
  context.depth--;
  return value;
}

/** Expressions inside expressions, through all calls; what the stack of JavaScript holds with room to spare. */
const deepest = 1200;

function evaluateKind(context: Context, scope: Scope, expression: Expression): Value {
  switch (expression.kind) {
    case 'number':
      return expression.isInteger ? int(expression.value) : float(expression.value);
    case 'string':
      return evaluateString(context, scope, expression);
    case 'bool':
      return bool(expression.value);
    case 'identifier':
      return readName(context, scope, expression);
    case 'unary':
      return unary(context, expression.operator, operandOf(context, scope, expression.operand), expression.span);
    case 'binary': {
      const left = operandOf(context, scope, expression.left);
      // A side that cannot matter is not evaluated: `n > 0 and 10 % n == 0`.
      if (
        left.value.kind === 'bool' &&
        left.value.value === (expression.operator === 'or') &&
        (expression.operator === 'or' || expression.operator === 'and')
      )
        return left.value;
      return binary(context, expression.operator, left, operandOf(context, scope, expression.right), expression.span);
    }
    case 'pipe':
      return evaluatePipe(context, scope, expression);
    case 'call':
      return evaluateCall(context, scope, expression);
    case 'make':
      return make(
        context,
        evaluate(context, scope, expression.callee),
        giveAll(context, scope, expression.arguments),
        expression.span,
      );
    case 'index':
      return evaluateIndex(context, expression, scope);
    case 'member':
      return evaluateMember(context, scope, expression);
    case 'reduction':
      return evaluateReduction(context, expression, scope);
    case 'if':
      return evaluateConditional(context, scope, expression);
    case 'tuple':
      return { kind: 'tuple', elements: expression.elements.map((element) => evaluate(context, scope, element)) };
    case 'list':
      return list(expression.elements.map((element) => evaluate(context, scope, element)));
    case 'comprehension':
      return evaluateComprehension(context, scope, expression);
    case 'range': {
      const [from, to] = [evaluate(context, scope, expression.from), evaluate(context, scope, expression.to)];
      if (from.kind === 'unknown' || to.kind === 'unknown') return unknown;
      if (from.kind !== 'int')
        return fail(context, 'not-a-size', { found: describe(from) }, [at(expression.from.span)]);
      if (to.kind !== 'int') return fail(context, 'not-a-size', { found: describe(to) }, [at(expression.to.span)]);
      return { kind: 'range', from: from.value, to: to.value };
    }
    case 'record':
      return {
        kind: 'record',
        fields: new Map(expression.fields.map(({ name, value }) => [name.name, evaluate(context, scope, value)])),
      };
    case 'block':
      return evaluateBlock(context, scope, expression);
    case 'scan':
      return evaluateScan(context, scope, expression);
  }
}

const operandOf = (context: Context, scope: Scope, expression: Expression): Given => ({
  value: evaluate(context, scope, expression),
  span: expression.span,
});

function giveAll(context: Context, scope: Scope, given: readonly Argument[]): Given[] {
  return given.map(({ name, value: expression, span }): Given => {
    const value = evaluate(context, scope, expression);
    return name === undefined ? { value, span } : { name: name.name, value, span };
  });
}

function readName(context: Context, scope: Scope, { name, span }: Identifier): Value {
  const binding = find(scope, name);
  switch (binding?.kind) {
    case undefined:
      return fail(context, 'unknown-name', { name }, [at(span)], didYouMean(name, visibleNames(scope)));
    case 'value':
      return binding.value;
    case 'cell':
      return binding.value;
    case 'slot':
      return tensor(readSlot(context, binding.slot));
    case 'global':
      return binding.read(context, span);
  }
}

function evaluateString(context: Context, scope: Scope, { parts }: StringLiteral): Value {
  let text = '';
  for (const part of parts) {
    if (typeof part === 'string') {
      text += part;
      continue;
    }
    const value = evaluate(context, scope, part);
    if (value.kind === 'unknown') return unknown;
    if (value.kind === 'string') text += value.value;
    else if (value.kind === 'int') text += show(value.value);
    else if (value.kind === 'float' || value.kind === 'bool') text += String(value.value);
    else
      return fail(
        context,
        'wrong-kind',
        { what: 'A hole in a text', wanted: 'a text or a number', found: describe(value) },
        [at(part.span)],
      );
  }
  return string(text);
}

/** `x |> f` is `f(x)`; `x |> g(2)` is `g(x, 2)`; `x |> Layer{…}` makes it and applies it. */
function evaluatePipe(context: Context, scope: Scope, { value: expression, into, span }: Pipe): Value {
  const piped = operandOf(context, scope, expression);
  if (into.kind === 'call') return evaluateCall(context, scope, into, piped);
  return apply(context, evaluate(context, scope, into), [piped], span);
}

function evaluateCall(context: Context, scope: Scope, node: Call, piped?: Given): Value {
  const callee = evaluate(context, scope, node.callee);
  if (callee.kind === 'builtin' && callee.builtin.name === 'map') return mapFields(context, scope, node, piped);
  const [first, ...rest] = node.arguments;
  const given = first === undefined ? [] : giveAll(context, scope, [first]);
  const side =
    callee.kind === 'builtin' && callee.builtin.name === 'where' && piped === undefined
      ? sideTaken(context, scope, given[0]?.value, rest)
      : undefined;
  if (side !== undefined) return evaluate(context, scope, side);
  given.push(...giveAll(context, scope, rest));
  return apply(context, callee, piped === undefined ? given : [piped, ...given], node.span);
}

/** `where(condition, then, else)` with a condition that is known is an `if`: only the side that is taken is evaluated. */
function sideTaken(
  context: Context,
  scope: Scope,
  condition: Value | undefined,
  sides: readonly Argument[],
): Expression | undefined {
  if (condition?.kind !== 'bool' || condition.value === undefined || sides.length !== 2) return undefined;
  if (sides.some(({ name }) => name !== undefined)) return undefined;
  const [yes, no] = sides.map(({ value }) => value);
  noteCut(context, scope, condition.value ? no : yes);
  return condition.value ? yes : no;
}

/** The expressions of a `map` are kept: their names are fields, which have values only when there are rows. */
function mapFields(
  context: Context,
  scope: Scope,
  { arguments: expressions, span }: Call,
  piped: Given | undefined,
): Value {
  const data = piped?.value;
  if (data?.kind === 'unknown') return unknown;
  if (data?.kind !== 'data')
    return fail(
      context,
      'not-data',
      { callee: 'map', found: data === undefined ? 'nothing' : describe(data) },
      [at(span)],
      data?.kind === 'data-function' ? callData(data) : { hint: 'Write `… |> map(field: …)`.' },
    );
  return { kind: 'data', steps: [...data.steps, { name: 'map', arguments: [], expressions, scope, span }] };
}

function evaluateMember(context: Context, scope: Scope, { target: expression, name: { name, span } }: Member): Value {
  const target = evaluate(context, scope, expression);
  switch (target.kind) {
    case 'unknown':
      return unknown;
    case 'record':
      return (
        target.fields.get(name) ??
        fail(
          context,
          'unknown-member',
          { name, of: describe(target) },
          [at(span)],
          didYouMean(name, target.fields.keys()),
        )
      );
    case 'instance': {
      const slot = target.slots.find(({ declaration }) => declaration.name.name === name);
      if (slot !== undefined) return tensor(readSlot(context, slot));
      const known = target.members.get(name) ?? target.hyper.get(name)?.value;
      const names = [
        ...target.slots.map(({ declaration }) => declaration.name.name),
        ...target.members.keys(),
        ...target.hyper.keys(),
      ];
      return (
        known ??
        fail(
          context,
          'unknown-member',
          { name, of: `\`${target.declaration.name.name}\`` },
          [at(span)],
          didYouMean(name, names),
        )
      );
    }
    default:
      return fail(context, 'unknown-member', { name, of: describe(target) }, [at(span)]);
  }
}

/** A range or list of symbolic length has one element that stands for all. */
function evaluateComprehension(context: Context, scope: Scope, node: Comprehension): Value {
  const over = evaluate(context, scope, node.over);
  const name = node.name.name;
  const each = (value: Value): Value | undefined => {
    const inner = createScope(scope);
    bind(inner, name, value);
    if (node.condition !== undefined) {
      const condition = evaluate(context, inner, node.condition);
      if (condition.kind === 'bool' && condition.value === false) return undefined;
      if (condition.kind !== 'bool' && condition.kind !== 'unknown')
        return fail(context, 'not-boolean', { found: describe(condition) }, [at(node.condition.span)]);
    }
    return evaluate(context, inner, node.element);
  };
  switch (over.kind) {
    case 'unknown':
      return unknown;
    case 'range': {
      const length = subtract(over.to, over.from);
      if (typeof length === 'number' && typeof over.from === 'number') {
        if (length > 100_000)
          return fail(
            context,
            'too-large',
            { what: `This list has ${length} elements; the longest that is allowed has 100000.` },
            [at(node.over.span)],
          );
        const start = over.from;
        return list(
          Array.from({ length: Math.max(0, length) }, (_, place) => each(int(start + place))).filter(
            (element) => element !== undefined,
          ),
        );
      }
      const element = each(int(symbol(name)));
      const varies = some(node.element, (part) => part.kind === 'identifier' && part.name === name);
      return {
        kind: 'list',
        elements: element === undefined ? [] : [element],
        length: typeof length === 'number' ? symbol(`${name}s`) : length,
        varies,
      };
    }
    case 'list':
    case 'tuple': {
      const elements = over.elements.map(each).filter((element) => element !== undefined);
      return over.kind === 'list' && typeof over.length !== 'number' ? { ...over, elements } : list(elements);
    }
    default:
      return fail(
        context,
        'wrong-kind',
        { what: 'What a list is made over', wanted: 'a range or a list', found: describe(over) },
        [at(node.over.span)],
      );
  }
}
