/** Walking and rewriting scalar expressions so that what was shared stays shared. */
import { children } from '../loop/build.ts';
import type { Access, Coordinate, Expression } from '../loop/loop.ts';

/** Calls `visit` once for every expression reachable from the roots. */
export function visitExpression(roots: readonly Expression[], visit: (expression: Expression) => void): void {
  const seen = new Set<Expression>();
  const walk = (expression: Expression): void => {
    if (seen.has(expression)) return;
    seen.add(expression);
    visit(expression);
    children(expression).forEach(walk);
  };
  roots.forEach(walk);
}

/** What happens to affine coordinates and to accesses; coordinates computed from data are rewritten inside. */
export interface Rewriting {
  coordinate(at: Coordinate): Coordinate;
  access(access: Access): Access;
}

/** A rewriter that maps each expression once; what does not change keeps its identity. */
export function rewriteExpression(by: Rewriting): {
  expression(expression: Expression): Expression;
  access(access: Access): Access;
} {
  const known = new Map<Expression, Expression>();
  const accessOf = (given: Access): Access => {
    const index = given.index.map((at): Coordinate =>
      at.kind === 'computed' ? { kind: 'computed', value: expressionOf(at.value) } : at,
    );
    return by.access({ ...given, index });
  };
  const rewrite = (expression: Expression): Expression => {
    switch (expression.kind) {
      case 'number':
      case 'result':
        return expression;
      case 'coordinate':
        return { ...expression, value: by.coordinate(expression.value) };
      case 'load':
        return { ...expression, access: accessOf(expression.access) };
      case 'apply': {
        const operands = expression.operands.map(expressionOf);
        return operands.every((operand, at) => operand === expression.operands[at])
          ? expression
          : { ...expression, operands };
      }
    }
  };
  const expressionOf = (expression: Expression): Expression => {
    let result = known.get(expression);
    if (result === undefined) known.set(expression, (result = rewrite(expression)));
    return result;
  };
  return { expression: expressionOf, access: accessOf };
}
