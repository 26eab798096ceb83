/**
 * Builds an expression from its flat row of operands and operators.
 *
 * The parser reads `a + b * -c` as a row, so that a long one costs no stack; this file knows what binds tighter. The table is also
 * the formatter's, which puts back the brackets that the tree needs.
 */
import { cover } from '../compiler/base/source.ts';
import type { Span } from '../compiler/base/source.ts';
import type { BinaryOperator, Expression, Reduction } from './ast.ts';
import type { SyntaxError } from './syntax-error.ts';

/** How tightly each operator binds; loosest first. */
export const precedence = {
  '|>': 1,
  per: 2,
  or: 3,
  and: 4,
  not: 5,
  '==': 6,
  '!=': 6,
  '<': 6,
  '<=': 6,
  '>': 6,
  '>=': 6,
  '..': 7,
  '+': 8,
  '-': 8,
  /** `sum[i] …` takes in products, and ends where a sum goes on. */
  reduction: 9,
  '*': 10,
  '/': 10,
  '%': 10,
  '@': 10,
  negate: 11,
  '^': 12,
} as const;

export type InfixOperator = BinaryOperator | '|>' | '..';

/** One thing in the row. */
export type RowItem =
  | { readonly kind: 'operand'; readonly expression: Expression }
  | { readonly kind: 'infix'; readonly operator: InfixOperator; readonly span: Span }
  | { readonly kind: 'prefix'; readonly operator: '-' | 'not'; readonly span: Span }
  | {
      readonly kind: 'reduce';
      readonly monoid: Reduction['monoid'];
      readonly indices: Reduction['indices'];
      readonly span: Span;
    };

type Pending = Exclude<RowItem, { kind: 'operand' }>;

const isComparison = (operator: InfixOperator): boolean => precedence[operator] === precedence['=='];
/** `a < b < c` and `1..2..3` mean nothing. */
const cannotChain = (operator: InfixOperator): boolean => isComparison(operator) || operator === '..';

const tightness = (item: Pending): number =>
  item.kind === 'infix'
    ? precedence[item.operator]
    : item.kind === 'reduce'
      ? precedence.reduction
      : item.operator === '-'
        ? precedence.negate
        : precedence.not;

/** The tree of a row that alternates as the grammar says. Chains of what cannot chain are told through `report`. */
export function buildExpression(row: readonly RowItem[], report: (error: SyntaxError) => void): Expression {
  const operands: Expression[] = [];
  const pending: Pending[] = [];

  const apply = (item: Pending): void => {
    const right = operands.pop();
    if (right === undefined) throw new Error('an operator without an operand');
    if (item.kind !== 'infix') {
      const span = cover(item.span, right.span);
      if (item.kind === 'prefix') operands.push({ kind: 'unary', operator: item.operator, operand: right, span });
      else operands.push({ kind: 'reduction', monoid: item.monoid, indices: item.indices, body: right, span });
      return;
    }
    const left = operands.pop();
    if (left === undefined) throw new Error('an operator without a left operand');
    operands.push(infix(item.operator, left, right));
  };

  for (const item of row) {
    if (item.kind === 'operand') {
      operands.push(item.expression);
      continue;
    }
    if (item.kind === 'infix') {
      const own = precedence[item.operator];
      for (let top = pending[pending.length - 1]; top !== undefined; top = pending[pending.length - 1]) {
        const above = tightness(top);
        if (above < own || (above === own && item.operator === '^')) break;
        if (above === own && cannotChain(item.operator)) report(chainError(item.operator, item.span));
        pending.pop();
        apply(top);
      }
    }
    pending.push(item);
  }
  for (let top = pending.pop(); top !== undefined; top = pending.pop()) apply(top);
  const [result] = operands;
  if (result === undefined) throw new Error('an empty expression');
  return result;
}

function infix(operator: InfixOperator, left: Expression, right: Expression): Expression {
  const span = cover(left.span, right.span);
  if (operator === '|>') return { kind: 'pipe', value: left, into: right, span };
  if (operator === '..') return { kind: 'range', from: left, to: right, span };
  return { kind: 'binary', operator, left, right, span };
}

function chainError(operator: InfixOperator, span: Span): SyntaxError {
  return operator === '..'
    ? {
        code: 'comparison-chain',
        message: 'A range has two ends; this one goes on with another `..`.',
        span,
        hint: 'Put brackets around a part.',
      }
    : {
        code: 'comparison-chain',
        message: 'Comparisons cannot be chained.',
        span,
        hint: 'Write `a < b and b < c`, or put brackets around one comparison.',
      };
}
