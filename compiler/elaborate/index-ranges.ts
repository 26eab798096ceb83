/**
 * How far index variables run. Before the elements of a definition in index notation are built, its reads are looked at:
 * an index that reads an axis directly runs over all of it; one inside `i*stride + u` runs over the positions at which
 * everything read is inside; `u in 0..k` says it.
 */
import type { Expression, Index, IndexVariable, Reduction } from '../../grammar/ast.ts';
import { parts, some } from '../check/walk.ts';
import { Problem } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import { add, equal, floorDivide, multiply, show, subtract, type Dim } from '../types/dim.ts';
import { at, fail, standing, type Context } from './context.ts';
import { bind, createScope, find, type Scope } from './scope.ts';
import { describe, showType, unknown, type Axis, type IndexValue, type Value } from './value.ts';

/** One definition in index notation, reductions inside it included. */
export interface IndexScope {
  /** The axes that `...` stands for, counted from the right. */
  readonly rest: Axis[];
  /** The scope of each reduction's body, in which its indices are bound. */
  readonly reductions: Map<Reduction, { readonly scope: Scope; readonly axes: readonly Axis[] }>;
  /** What is read, evaluated once. */
  readonly targets: Map<Expression, Value>;
  next: number;
  /** Something that is read is not known, so a range that cannot be found may be in it. */
  undecided: boolean;
}

export const createIndexScope = (): IndexScope => ({
  rest: [],
  reductions: new Map(),
  targets: new Map(),
  next: 0,
  undecided: false,
});

/** One position of one read: `index` has to stay inside `size`. */
interface Bound {
  readonly index: IndexValue;
  readonly size: Dim;
  readonly axis: number;
  readonly span: Span;
}

/** Binds index variables; explicit ranges are evaluated outside of them. */
export function bindIndices(
  context: Context,
  index: IndexScope,
  variables: readonly IndexVariable[],
  scope: Scope,
): { scope: Scope; axes: Axis[] } {
  const inner = createScope(scope);
  const axes = variables
    .filter(({ name }) => name.name !== '...')
    .map(({ name, range }): Axis => {
      const axis: Axis = { name: name.name, span: name.span, order: index.next++ };
      let offset: Dim = 0;
      if (range !== undefined) {
        const value = context.evaluator.evaluate(context, scope, range);
        if (value.kind === 'range') {
          offset = value.from;
          axis.size = subtract(value.to, value.from);
          if (typeof axis.size === 'number' && axis.size < 0)
            fail(context, 'negative-size', { size: show(axis.size) }, [at(range.span)]);
        } else if (value.kind !== 'unknown') {
          fail(
            context,
            'wrong-kind',
            { what: `The range of \`${name.name}\``, wanted: 'a range such as 0..n', found: describe(value) },
            [at(range.span)],
          );
        }
      }
      bind(inner, name.name, { kind: 'index', terms: [{ axis, scale: 1 }], offset });
      return axis;
    });
  return { scope: inner, axes };
}

/** Finds the ranges of all index variables in an expression; what cannot be found stays open until somebody needs it. */
export function inferRanges(context: Context, index: IndexScope, root: Expression, scope: Scope): void {
  const bounds: Bound[] = [];
  collect(context, index, root, scope, bounds);
  const direct = new Map<Axis, Bound>();
  for (const bound of bounds) {
    const axis = directAxis(bound.index);
    if (axis === undefined) continue;
    const first = direct.get(axis);
    if (axis.size === undefined) {
      axis.size = bound.size;
      direct.set(axis, bound);
    } else if (first !== undefined && !equal(axis.size, bound.size)) {
      fail(context, 'index-range-clash', { name: axis.name, first: show(axis.size), second: show(bound.size) }, [
        at(bound.span, `reads an axis of size ${show(bound.size)}`),
        at(first.span, `reads an axis of size ${show(axis.size)}`),
      ]);
    }
  }
  for (let changed = true; changed;) {
    changed = false;
    for (const bound of bounds) if (solve(bound)) changed = true;
  }
  for (const bound of bounds) checkBound(context, bound);
}

/** The axis that a position is, and nothing else. */
function directAxis({ terms, offset }: IndexValue): Axis | undefined {
  const [term] = terms;
  return terms.length === 1 && term.scale === 1 && offset === 0 ? term.axis : undefined;
}

const isNegative = (dim: Dim): boolean => typeof dim === 'number' && dim < 0;

/** The range of the only unknown index of a position: the largest that stays inside. */
function solve({ index, size }: Bound): boolean {
  const open = index.terms.filter(({ axis }) => axis.size === undefined);
  const [only] = open;
  if (open.length !== 1) return false;
  const [low, high] = extremes({ ...index, terms: index.terms.filter((term) => term !== only) });
  only.axis.size = isNegative(only.scale)
    ? add(floorDivide(low, multiply(-1, only.scale)), 1)
    : add(floorDivide(subtract(subtract(size, 1), high), only.scale), 1);
  if (isNegative(only.axis.size)) only.axis.size = 0;
  return true;
}

/** Smallest and largest value of a position whose ranges are all known. */
function extremes({ terms, offset }: IndexValue): [Dim, Dim] {
  let [low, high] = [offset, offset];
  for (const { axis, scale } of terms) {
    const reach = multiply(scale, subtract(axis.size ?? 1, 1));
    if (isNegative(scale)) low = add(low, reach);
    else high = add(high, reach);
  }
  return [low, high];
}

function checkBound(context: Context, { index, size, axis, span }: Bound): void {
  if (index.terms.some((term) => term.axis.size === undefined || term.axis.size === 0)) return;
  const [low, high] = extremes(index);
  const outside = isNegative(low) ? low : isNegative(subtract(subtract(size, 1), high)) ? high : undefined;
  if (outside !== undefined)
    fail(
      context,
      'index-out-of-range',
      { index: show(outside), size: show(size), axis },
      [at(span, `reaches ${show(outside)}`)],
      {
        hint: 'Give the index a range (`i in 0..n`), or read from `pad(x, …)`.',
      },
    );
}

function collect(
  context: Context,
  index: IndexScope,
  expression: Expression,
  scope: Scope,
  bounds: Bound[],
  isOwn = true,
): void {
  const introduced = namesIntroduced(expression);
  if (introduced !== undefined) {
    // What these names stand for is known only when it is evaluated; a reduction among them is a notation of its own.
    const inner = createScope(scope);
    for (const name of introduced) bind(inner, name, unknown);
    for (const part of parts(expression)) collect(context, index, part, inner, bounds, false);
    return;
  }
  if (expression.kind === 'reduction') {
    if (!isOwn) return;
    const inner = bindIndices(context, index, expression.indices, scope);
    index.reductions.set(expression, inner);
    collect(context, index, expression.body, inner.scope, bounds);
    return;
  }
  if (expression.kind === 'index') collectRead(context, index, expression, scope, bounds);
  for (const part of parts(expression)) collect(context, index, part, scope, bounds, isOwn);
}

/** The names an expression gives to its parts; undefined for those that give none. */
function namesIntroduced(expression: Expression): readonly string[] | undefined {
  switch (expression.kind) {
    case 'block':
      return expression.statements.flatMap((statement) =>
        statement.kind === 'let' ? statement.names.map(({ name }) => name) : [],
      );
    case 'comprehension':
      return [expression.name.name];
    case 'scan':
      return [...expression.sequences.map(({ name }) => name), ...expression.carried.map(({ name }) => name.name)];
    default:
      return undefined;
  }
}

const mentionsIndex = (expression: Expression, scope: Scope): boolean =>
  some(expression, (part) => {
    const binding = part.kind === 'identifier' ? find(scope, part.name) : undefined;
    return binding?.kind === 'value' && binding.value.kind === 'index';
  });

function collectRead(context: Context, index: IndexScope, read: Index, scope: Scope, bounds: Bound[]): void {
  const isRead = read.items.some((item) => item.kind === 'at' && mentionsIndex(item.value, scope));
  if (!isRead || mentionsIndex(read.target, scope)) return;
  const target = index.targets.get(read.target) ?? quietly(context, read.target, scope);
  if (target?.kind === 'unknown') index.undecided = true;
  if (target?.kind !== 'tensor') return;
  index.targets.set(read.target, target);
  const { shape } = target.value.type;
  const explicit = read.items.filter((item) => item.kind !== 'rest').length;
  const rest = read.items.some((item) => item.kind === 'rest');
  if (explicit > shape.length || (!rest && explicit < shape.length))
    fail(context, 'missing-indices', { type: showType(target.value.type), given: explicit, rank: shape.length }, [
      at(read.span),
    ]);
  let axis = 0;
  for (const item of read.items) {
    if (item.kind === 'rest') {
      const count = shape.length - explicit;
      for (let place = 0; place < count; place++, axis++)
        restAxis(context, index, count - place - 1, shape[axis], read.span);
      continue;
    }
    const position =
      item.kind === 'at' && isAffine(item.value, scope) ? quietly(context, item.value, scope) : undefined;
    if (position?.kind === 'index') bounds.push({ index: position, size: shape[axis], axis, span: item.span });
    axis++;
  }
}

/** The axis of `...` at a place counted from the right. All reads share it. */
export function restAxis(context: Context, index: IndexScope, fromRight: number, size: Dim, span: Span): Axis {
  const known = index.rest[fromRight];
  if (known === undefined) {
    const axis: Axis = { name: '...', span, order: -1 - fromRight, size };
    index.rest[fromRight] = axis;
    return axis;
  }
  if (known.size !== undefined && !equal(known.size, size))
    fail(context, 'index-range-clash', { name: '...', first: show(known.size), second: show(size) }, [
      at(span, `${show(size)} here`),
      at(known.span, `${show(known.size)} here`),
    ]);
  return known;
}

/** Made of numbers, sizes and indices only: its value needs no ranges. */
const isAffine = (expression: Expression, scope: Scope): boolean =>
  !some(expression, (part) => {
    if (part.kind === 'number' || part.kind === 'unary') return false;
    if (part.kind === 'binary') return !['+', '-', '*'].includes(part.operator);
    if (part.kind !== 'identifier') return true;
    const binding = find(scope, part.name);
    return binding?.kind === 'value' && binding.value.kind !== 'index' && binding.value.kind !== 'int';
  });

/** A value, or nothing where it fails: the evaluation proper will say why. */
function quietly(context: Context, expression: Expression, scope: Scope): Value | undefined {
  try {
    return standing(context, { index: undefined }, () => context.evaluator.evaluate(context, scope, expression));
  } catch (error) {
    if (error instanceof Problem) return undefined;
    throw error;
  }
}
