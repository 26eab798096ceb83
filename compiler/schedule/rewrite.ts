/**
 * Rewrites the coordinates and accesses of a segment, keeping shared expressions shared. What `simplify` and
 * `split-reduction` are made of.
 */
import { type Affine, children, linksOf } from '../loop/build.ts';
import type { Access, Axis, Coordinate, Expression, Link, Result, Segment, Stage, Store } from '../loop/loop.ts';

export interface Rules {
  /** What becomes of an affine function of axes. */
  readonly affine: (at: Affine) => Affine;
  /** What becomes of an access whose coordinates were rewritten; `inside`: never outside its buffer. */
  readonly access?: (access: Access, inside: boolean) => Access;
  /** What is read in place of a result. */
  readonly result?: (of: Result) => Expression | undefined;
}

export interface Rewriter {
  expression(of: Expression): Expression;
  store(of: Store): Store;
}

export function rewriter(rules: Rules): Rewriter {
  const done = new Map<Expression, Expression>();
  const coordinate = (at: Coordinate): Coordinate =>
    at.kind === 'affine' ? rules.affine(at) : { kind: 'computed', value: expression(at.value) };
  const access = (of: Access, inside: boolean): Access => {
    const moved = { ...of, index: of.index.map(coordinate) };
    return rules.access?.(moved, inside) ?? moved;
  };
  function expression(of: Expression): Expression {
    const known = done.get(of);
    if (known !== undefined) return known;
    const made = make(of);
    done.set(of, made);
    return made;
  }
  function make(of: Expression): Expression {
    switch (of.kind) {
      case 'coordinate':
        return { ...of, value: coordinate(of.value) };
      case 'load':
        return { ...of, access: access(of.access, of.guard === 'none') };
      case 'apply':
        return { ...of, operands: of.operands.map(expression) };
      case 'result':
        return rules.result?.(of.of) ?? of;
      default:
        return of;
    }
  }
  return { expression, store: (of) => ({ access: access(of.access, true), value: expression(of.value) }) };
}

/** The stage with other axes and rewritten expressions. */
export function rewriteStage(stage: Stage, to: Rewriter, axes: (of: readonly Axis[]) => readonly Axis[]): Stage {
  switch (stage.kind) {
    case 'reduce':
      return {
        ...stage,
        axes: axes(stage.axes),
        results: stage.results.map((of) => ({ ...of, value: to.expression(of.value) })),
      };
    case 'store':
      return { ...stage, axes: axes(stage.axes), stores: stage.stores.map(to.store) };
    case 'cumulate':
      return { ...stage, value: to.expression(stage.value), stores: stage.stores.map(to.store) };
  }
}

/** The link with rewritten expressions, over the same axes. */
export const rewriteLink = (link: Link, to: Rewriter): Link =>
  link.kind === 'region'
    ? { ...link, stages: link.stages.map((stage) => rewriteStage(stage, to, (axes) => axes)) }
    : {
        ...link,
        left: to.expression(link.left),
        right: to.expression(link.right),
        stores: link.stores.map(to.store),
      };

/** The expressions a segment computes, stores' values included. */
export function rootsOf(segment: Segment): readonly Expression[] {
  switch (segment.kind) {
    case 'region':
      return segment.stages.flatMap((stage) => {
        if (stage.kind === 'reduce') return stage.results.map((result) => result.value);
        const values = stage.stores.map((store) => store.value);
        return stage.kind === 'cumulate' ? [stage.value, ...values] : values;
      });
    case 'contraction':
      return [segment.left, segment.right, ...segment.stores.map((store) => store.value)];
    case 'scatter':
      return [segment.id, segment.value];
    case 'chain':
      return linksOf(segment).flatMap(rootsOf);
  }
}

/** The stores a segment makes (a scatter's are implied by its target). */
export function storesOf(segment: Segment): readonly Store[] {
  switch (segment.kind) {
    case 'region':
      return segment.stages.flatMap((stage) => (stage.kind === 'reduce' ? [] : stage.stores));
    case 'contraction':
      return segment.stores;
    case 'scatter':
      return [];
    case 'chain':
      return linksOf(segment).flatMap(storesOf);
  }
}

/** Calls `visit` once for every expression below the roots, operands first. */
export function walk(roots: readonly Expression[], visit: (of: Expression) => void): void {
  const seen = new Set<Expression>();
  const enter = (of: Expression): void => {
    if (seen.has(of)) return;
    seen.add(of);
    for (const child of children(of)) enter(child);
    visit(of);
  };
  for (const root of roots) enter(root);
}

/** Every affine function of axes that a segment evaluates. */
export function affinesOf(segment: Segment): readonly Affine[] {
  const found = new Set<Affine>();
  const note = (at: Coordinate): void => {
    if (at.kind === 'affine') found.add(at);
  };
  const roots = [...rootsOf(segment)];
  for (const store of storesOf(segment))
    for (const at of store.access.index) {
      note(at);
      if (at.kind === 'computed') roots.push(at.value);
    }
  walk(roots, (of) => {
    if (of.kind === 'load') of.access.index.forEach(note);
    if (of.kind === 'coordinate') note(of.value);
  });
  return [...found];
}
