/** Walking and rewriting scalar expressions, and the stages made of them, so that what was shared stays shared. */
import { children } from '../loop/build.ts';
import type { Access, Coordinate, Expression, Stage, Store } from '../loop/loop.ts';

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

export interface Rewriter {
  expression(expression: Expression): Expression;
  stores(stores: readonly Store[]): Store[];
  stage(stage: Stage): Stage;
}

/** A rewriter that maps each expression once; what does not change keeps its identity. */
export function createRewriter(by: Rewriting): Rewriter {
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
  const storesOf = (stores: readonly Store[]): Store[] =>
    stores.map(({ access, value }) => ({ access: accessOf(access), value: expressionOf(value) }));
  const stageOf = (stage: Stage): Stage => {
    if (stage.kind === 'reduce')
      return { ...stage, results: stage.results.map((part) => ({ ...part, value: expressionOf(part.value) })) };
    const stores = storesOf(stage.stores);
    return stage.kind === 'store' ? { ...stage, stores } : { ...stage, stores, value: expressionOf(stage.value) };
  };
  return { expression: expressionOf, stores: storesOf, stage: stageOf };
}
