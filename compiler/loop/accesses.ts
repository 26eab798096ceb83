/** Which elements a segment reads and writes. */
import type { Access, Axis, Expression, Link, Scatter, Store } from './loop.ts';

export function writesOf(segment: Link | Scatter): Access[] {
  if (segment.kind === 'scatter') return [{ buffer: segment.target, shape: segment.shape, index: [] }];
  if (segment.kind === 'contraction') return segment.stores.map(({ access }) => access);
  return segment.stages.flatMap((stage) => (stage.kind === 'reduce' ? [] : stage.stores.map(({ access }) => access)));
}

export function readsOf(segment: Link | Scatter): Access[] {
  const found: Access[] = [];
  const seen = new Set<Expression>();
  const visit = (expression: Expression): void => {
    if (seen.has(expression)) return;
    seen.add(expression);
    if (expression.kind === 'load') {
      found.push(expression.access);
      for (const at of expression.access.index) if (at.kind === 'computed') visit(at.value);
    } else if (expression.kind === 'coordinate' && expression.value.kind === 'computed') visit(expression.value.value);
    else if (expression.kind === 'apply') expression.operands.forEach(visit);
  };
  const stores = (list: readonly Store[]): void => {
    for (const { access, value } of list) {
      visit(value);
      for (const at of access.index) if (at.kind === 'computed') visit(at.value);
    }
  };
  if (segment.kind === 'scatter') [segment.id, segment.value].forEach(visit);
  else if (segment.kind === 'contraction') {
    [segment.left, segment.right].forEach(visit);
    stores(segment.stores);
  } else
    for (const stage of segment.stages) {
      if (stage.kind === 'reduce') stage.results.forEach(({ value }) => visit(value));
      else stores(stage.stores);
      if (stage.kind === 'cumulate') visit(stage.value);
    }
  return found;
}

/**
 * Can two accesses hit one element? Not where a coordinate is always the same distance apart: a loop reads one slot and writes the
 * next. Axes that both have are enclosing ones.
 */
export function mayMeet(a: Access, b: Access): boolean {
  if (a.buffer !== b.buffer) return false;
  const [first, second] = [a.index[0], b.index[0]];
  if (first?.kind !== 'affine' || second?.kind !== 'affine' || a.shape[0] !== b.shape[0]) return true;
  const sameTerms =
    first.terms.length === second.terms.length &&
    first.terms.every((term) => second.terms.some((other) => other.axis === term.axis && other.scale === term.scale));
  return !sameTerms || first.offset === second.offset || first.divisor !== second.divisor;
}

/** The axes of the sum that a link begins with. */
export function summedBy(link: Link): readonly Axis[] {
  if (link.kind === 'contraction') return link.reduce;
  const [stage] = link.stages;
  return stage.kind === 'reduce' ? stage.axes : [];
}
