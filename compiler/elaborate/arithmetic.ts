/**
 * Operators on values: compile-time numbers fold, positions of index notation stay positions, losses combine as means,
 * and everything else becomes an elementwise operation of the graph.
 */
import type { BinaryOperator } from '../../grammar/ast.ts';
import type { Span } from '../base/source.ts';
import type { BinaryOp, Value as GraphValue } from '../graph/graph.ts';
import {
  add,
  divide,
  divideExactly,
  equal,
  multiply,
  show,
  subtract,
  symbol,
  symbolsOf,
  type Dim,
} from '../types/dim.ts';
import { isInteger } from '../types/dtype.ts';
import { align, constantOf, type Operand } from './align.ts';
import { at, emit, fail, type Context } from './context.ts';
import { combineIndex } from './indexed.ts';
import {
  bool,
  describe,
  float,
  int,
  isNumber,
  numberOf,
  showType,
  tensor,
  unknown,
  type FloatValue,
  type IntValue,
  type LossValue,
  type Value,
} from './value.ts';

const comparisons: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>=']);

/** The op of an operator; `>` and `>=` are `<` and `<=` with the sides exchanged. */
const ops: Record<Exclude<BinaryOperator, '@' | 'per'>, { readonly op: BinaryOp; readonly exchange?: boolean }> = {
  '+': { op: 'add' },
  '-': { op: 'sub' },
  '*': { op: 'mul' },
  '/': { op: 'div' },
  '%': { op: 'rem' },
  '^': { op: 'pow' },
  '==': { op: 'eq' },
  '!=': { op: 'ne' },
  '<': { op: 'lt' },
  '<=': { op: 'le' },
  '>': { op: 'lt', exchange: true },
  '>=': { op: 'le', exchange: true },
  and: { op: 'and' },
  or: { op: 'or' },
};

export function binary(context: Context, operator: BinaryOperator, left: Operand, right: Operand, span: Span): Value {
  const [a, b] = [left.value, right.value];
  if (operator === 'per') return per(context, left, right, span);
  if (a.kind === 'unknown' || b.kind === 'unknown') return unknown;
  if (operator === '@') return matrixProduct(context, left, right, span);
  if (isNumber(a) && isNumber(b)) return foldNumbers(context, operator, a, b, span);
  if (a.kind === 'string' && b.kind === 'string' && (operator === '==' || operator === '!='))
    return bool((a.value === b.value) === (operator === '=='));
  if (a.kind === 'bool' && b.kind === 'bool') return foldBooleans(context, operator, left, a.value, b.value);
  if (a.kind === 'list' && b.kind === 'list' && operator === '+')
    return { kind: 'list', elements: [...a.elements, ...b.elements], length: add(a.length, b.length) };
  if ((a.kind === 'loss' || b.kind === 'loss') && !comparisons.has(operator)) {
    const combined = combineLosses(context, operator, left, right, span);
    if (combined !== undefined) return combined;
  }
  const position = combinePositions(operator, a, b);
  if (position !== undefined) return position;
  return elementwise(context, operator, left, right, span);
}

function elementwise(
  context: Context,
  operator: Exclude<BinaryOperator, '@' | 'per'>,
  left: Operand,
  right: Operand,
  span: Span,
): Value {
  const power =
    operator === '^' && right.value.kind === 'int' && typeof right.value.value === 'number' ? right.value.value : 0;
  const whole =
    (left.value.kind === 'tensor' || left.value.kind === 'indexed') && isInteger(left.value.value.type.dtype);
  // x² is x·x, exactly; of whole numbers, so is every small power.
  if (power === 2 || (whole && power > 2 && power <= 8)) return repeated(context, left, power, span);
  const aligned = align(context, operator, [left, right], span);
  if (aligned === undefined) return unknown;
  const { op, exchange } = ops[operator];
  const [x, y] = exchange === true ? [aligned.values[1], aligned.values[0]] : [aligned.values[0], aligned.values[1]];
  return aligned.wrap(emit(context, span, (builder) => builder.binary(op, x, y)));
}

function repeated(context: Context, factor: Operand, times: number, span: Span): Value {
  const aligned = align(context, '^', [factor], span);
  if (aligned === undefined) return unknown;
  const [x] = aligned.values;
  let product = x;
  for (let count = 1; count < times; count++)
    product = emit(context, span, (builder) => builder.binary('mul', product, x));
  return aligned.wrap(product);
}

/** −x, and `not x` of truth values. */
export function unary(context: Context, operator: '-' | 'not', operand: Operand, span: Span): Value {
  const { value } = operand;
  if (value.kind === 'unknown') return unknown;
  if (operator === 'not') {
    if (value.kind === 'bool') return bool(value.value === undefined ? undefined : !value.value);
    const aligned = align(context, 'not', [operand], span);
    return aligned === undefined
      ? unknown
      : aligned.wrap(emit(context, span, (builder) => builder.unary('not', aligned.values[0])));
  }
  if (value.kind === 'int') return int(multiply(-1, value.value));
  if (value.kind === 'float') return float(value.value === undefined ? undefined : -value.value);
  if (value.kind === 'index' || value.kind === 'loss')
    return binary(context, '*', operand, { value: int(-1), span }, span);
  const aligned = align(context, '-', [operand], span);
  return aligned === undefined
    ? unknown
    : aligned.wrap(emit(context, span, (builder) => builder.unary('neg', aligned.values[0])));
}

/** x @ w: the matrix product over the last axis of x and the last but one of w. */
function matrixProduct(context: Context, left: Operand, right: Operand, span: Span): Value {
  for (const { value, span: place } of [left, right])
    if (value.kind !== 'tensor') fail(context, 'not-numeric', { operator: '@', found: describe(value) }, [at(place)]);
  if (left.value.kind !== 'tensor' || right.value.kind !== 'tensor') return unknown;
  const [x, w] = [left.value.value, right.value.value];
  const inner = x.type.shape.at(-1);
  const outer = w.type.shape.length === 1 ? w.type.shape[0] : w.type.shape.at(-2);
  if (inner !== undefined && outer !== undefined && !equal(inner, outer))
    fail(
      context,
      'product-mismatch',
      { left: showType(x.type), right: showType(w.type), inner: show(inner), outer: show(outer) },
      [at(left.span, `this is ${showType(x.type)}`), at(right.span, `this is ${showType(w.type)}`)],
    );
  return tensor(emit(context, span, (builder) => builder.matmul(x, w)));
}

// ------------------------------------------------------------------------------------------------------ numbers

function foldNumbers(
  context: Context,
  operator: BinaryOperator,
  a: IntValue | FloatValue,
  b: IntValue | FloatValue,
  span: Span,
): Value {
  if (a.kind === 'int' && b.kind === 'int' && (typeof a.value !== 'number' || typeof b.value !== 'number'))
    return foldSizes(operator, a.value, b.value);
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x === undefined || y === undefined) return comparisons.has(operator) ? bool(undefined) : float(undefined);
  const whole = a.kind === 'int' && b.kind === 'int';
  const number = (value: number): Value => (whole && Number.isInteger(value) ? int(value) : float(value));
  switch (operator) {
    case '+':
      return number(x + y);
    case '-':
      return number(x - y);
    case '*':
      return number(x * y);
    case '/':
      if (y === 0 && whole) return fail(context, 'division-by-zero', {}, [at(span)]);
      return number(x / y);
    case '%':
      if (y === 0 && whole) return fail(context, 'division-by-zero', {}, [at(span)]);
      return number(x - y * Math.floor(x / y));
    case '^':
      return number(x ** y);
    case '==':
      return bool(x === y);
    case '!=':
      return bool(x !== y);
    case '<':
      return bool(x < y);
    case '<=':
      return bool(x <= y);
    case '>':
      return bool(x > y);
    case '>=':
      return bool(x >= y);
    default:
      return fail(context, 'not-boolean', { found: describe(a) }, [at(span)]);
  }
}

/** At least one is symbolic. A comparison is decided where it is for every size. */
function foldSizes(operator: BinaryOperator, a: Dim, b: Dim): Value {
  switch (operator) {
    case '+':
      return int(add(a, b));
    case '-':
      return int(subtract(a, b));
    case '*':
      return int(multiply(a, b));
    case '/':
      return int(divideExactly(a, b) ?? divide(a, b));
    case '%':
      return divideExactly(a, b) === undefined ? int(opaque('%', a, b)) : int(0);
    case '^':
      return typeof b === 'number' && b >= 0 && b <= 4
        ? int(Array.from({ length: b }, () => a).reduce(multiply, 1))
        : int(opaque('^', a, b));
    default:
      break;
  }
  const difference = subtract(a, b);
  if (typeof difference === 'number')
    return bool(
      {
        '==': difference === 0,
        '!=': difference !== 0,
        '<': difference < 0,
        '<=': difference <= 0,
        '>': difference > 0,
        '>=': difference >= 0,
      }[operator as '=='],
    );
  return bool(undefined);
}

/** A size of which nothing is known but how it was made. */
export const opaque = (operator: string, ...dims: readonly Dim[]): Dim => {
  const names = [...new Set(dims.flatMap((dim) => [...symbolsOf(dim)]))];
  return names.length === 0 ? symbol(`${operator}()`) : symbol(`(${dims.map(show).join(` ${operator} `)})`);
};

function foldBooleans(
  context: Context,
  operator: BinaryOperator,
  left: Operand,
  a: boolean | undefined,
  b: boolean | undefined,
): Value {
  switch (operator) {
    case 'and':
      return bool(a === false || b === false ? false : a === undefined || b === undefined ? undefined : true);
    case 'or':
      return bool(a === true || b === true ? true : a === undefined || b === undefined ? undefined : false);
    case '==':
      return bool(a === undefined || b === undefined ? undefined : a === b);
    case '!=':
      return bool(a === undefined || b === undefined ? undefined : a !== b);
    default:
      return fail(context, 'not-numeric', { operator, found: describe(left.value) }, [at(left.span)]);
  }
}

// ---------------------------------------------------------------------------------------------------- positions

/** What stays a whole multiple of index variables; undefined for what has to become elements. */
function combinePositions(operator: BinaryOperator, a: Value, b: Value): Value | undefined {
  const position = (value: Value): Extract<Value, { kind: 'index' }> | undefined =>
    value.kind === 'index'
      ? value
      : value.kind === 'int'
        ? { kind: 'index', terms: [], offset: value.value }
        : undefined;
  const [x, y] = [position(a), position(b)];
  if (x === undefined || y === undefined) return undefined;
  if (operator === '+') return combineIndex(x, y, 1, add);
  if (operator === '-') return combineIndex(x, y, -1, add);
  if (operator !== '*' || (x.terms.length > 0 && y.terms.length > 0)) return undefined;
  const [scaled, factor] = x.terms.length > 0 ? [x, y.offset] : [y, x.offset];
  const terms = scaled.terms.map(({ axis, scale }) => ({ axis, scale: multiply(scale, factor) }));
  return { kind: 'index', terms: terms.filter(({ scale }) => scale !== 0), offset: multiply(scaled.offset, factor) };
}

// ------------------------------------------------------------------------------------------------------- losses

/** `sum per count`: both scalars. */
function per(context: Context, left: Operand, right: Operand, span: Span): Value {
  if (left.value.kind === 'unknown' || right.value.kind === 'unknown') return unknown;
  return { kind: 'loss', sum: scalar(context, left, span, 'per'), count: scalar(context, right, span, 'per') };
}

/** A value as one f32 number of the graph. */
export function scalar(context: Context, { value, span: place }: Operand, span: Span, operator: string): GraphValue {
  if (value.kind === 'tensor') {
    if (value.value.type.shape.length > 0)
      fail(
        context,
        'rank-mismatch',
        { what: 'This', wanted: 'one number', found: showType(value.value.type) },
        [at(place)],
        { hint: 'Reduce it first: `sum(…)`.' },
      );
    return emit(context, span, (builder) => builder.cast(value.value, 'f32'));
  }
  if (value.kind === 'loss') return emit(context, span, (builder) => builder.binary('div', value.sum, value.count));
  return constantOf(context, value, 'f32', [], place, operator);
}

/** What a loss or metric means: the pair itself, or a plain scalar as its own sum of one. */
export function asLoss(context: Context, operand: Operand): LossValue {
  if (operand.value.kind === 'loss') return operand.value;
  if (operand.value.kind !== 'tensor' && !isNumber(operand.value))
    fail(
      context,
      'wrong-kind',
      { what: 'A loss or metric', wanted: 'a sum `per` a count, or a number', found: describe(operand.value) },
      [at(operand.span)],
    );
  const sum = scalar(context, operand, operand.span, 'per');
  return { kind: 'loss', sum, count: emit(context, operand.span, (builder) => builder.constant(1, 'f32')) };
}

/** Sums of losses and multiples of losses are losses again, with the meaning that their means have. */
function combineLosses(
  context: Context,
  operator: BinaryOperator,
  left: Operand,
  right: Operand,
  span: Span,
): Value | undefined {
  const whole = ({ value }: Operand): boolean => value.kind === 'tensor' && value.value.type.shape.length > 0;
  if (whole(left) || whole(right) || left.value.kind === 'indexed' || right.value.kind === 'indexed') return undefined;
  const build = (op: BinaryOp, a: GraphValue, b: GraphValue): GraphValue =>
    emit(context, span, (builder) => builder.binary(op, a, b));
  const [a, b] = [left.value, right.value];
  if (operator === '+' || operator === '-') {
    const op = operator === '+' ? 'add' : 'sub';
    if (a.kind === 'loss') {
      const other =
        b.kind === 'loss'
          ? build('mul', b.sum, build('div', a.count, b.count))
          : build('mul', scalar(context, right, span, operator), a.count);
      return { kind: 'loss', sum: build(op, a.sum, other), count: a.count };
    }
    if (b.kind === 'loss')
      return {
        kind: 'loss',
        sum: build(op, build('mul', scalar(context, left, span, operator), b.count), b.sum),
        count: b.count,
      };
  }
  if (operator === '*' && a.kind === 'loss' && b.kind !== 'loss')
    return { kind: 'loss', sum: build('mul', a.sum, scalar(context, right, span, operator)), count: a.count };
  if (operator === '*' && b.kind === 'loss' && a.kind !== 'loss')
    return { kind: 'loss', sum: build('mul', scalar(context, left, span, operator), b.sum), count: b.count };
  if (operator === '/' && a.kind === 'loss' && b.kind !== 'loss')
    return { kind: 'loss', sum: build('div', a.sum, scalar(context, right, span, operator)), count: a.count };
  return undefined;
}
