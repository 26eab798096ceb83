/** Blocks and their statements, and both kinds of `if`. */
import type { Assign, Block, Conditional, Let, Statement } from '../../grammar/ast.ts';
import { didYouMean } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import { equal } from '../types/dim.ts';
import { align, constantOf } from './align.ts';
import { at, attempt, emit, fail, readSlot, standing, type Context } from './context.ts';
import { defineByIndex } from './index-notation.ts';
import { noteCut } from './note-cut.ts';
import { checkRequirement } from './requirement.ts';
import { bind, createScope, find, visibleNames, type Scope } from './scope.ts';
import { bool, describe, float, isNumber, showType, unknown, type Slot, type Value } from './value.ts';

/** What `yield` does, inside the body of a scan. */
export type OnYield = (value: Value, span: Span) => void;

/** The value of a block, or `unknown` where `effects` is set and it has none. */
export function evaluateBlock(
  context: Context,
  outer: Scope,
  block: Block,
  options: { readonly onYield?: OnYield; readonly effects?: boolean } = {},
): Value {
  const scope = createScope(outer);
  for (const statement of block.statements) runStatement(context, scope, statement, options.onYield);
  if (block.result !== undefined) return context.evaluator.evaluate(context, scope, block.result);
  if (options.effects === true) return unknown;
  return fail(context, 'no-value', {}, [at({ ...block.span, start: block.span.end - 1 })]);
}

/** One statement; what fails is collected, and the names it would have bound are unknown. */
export function runStatement(context: Context, scope: Scope, statement: Statement, onYield?: OnYield): void {
  switch (statement.kind) {
    case 'let': {
      const value = attempt(context, () => evaluateLet(context, scope, statement));
      bindNames(context, scope, statement, value);
      return;
    }
    case 'assign':
      attempt(context, () => (assign(context, scope, statement), unknown));
      return;
    case 'yield':
      attempt(context, () => {
        if (onYield === undefined)
          return fail(context, 'misplaced-statement', { what: 'yield', where: 'in the body of a `scan`' }, [
            at(statement.span),
          ]);
        onYield(context.evaluator.evaluate(context, scope, statement.value), statement.value.span);
        return unknown;
      });
      return;
    case 'expect':
      attempt(context, () => (checkRequirement(context, scope, statement), unknown));
      return;
    case 'gradcheck':
    case 'train':
      attempt(context, () =>
        fail(context, 'misplaced-statement', { what: statement.kind, where: 'in a `test`' }, [at(statement.span)]),
      );
  }
}

function evaluateLet(context: Context, scope: Scope, statement: Let): Value {
  if (statement.indices !== undefined)
    return defineByIndex(context, statement.indices, statement.value, scope, statement.span);
  return context.evaluator.evaluate(context, scope, statement.value);
}

function bindNames(context: Context, scope: Scope, { names, span }: Let, value: Value): void {
  if (names.length === 1) {
    nameInstance(context, names[0].name, value);
    bind(scope, names[0].name, value);
    return;
  }
  const elements = value.kind === 'tuple' || value.kind === 'list' ? value.elements : [];
  if (value.kind !== 'unknown' && elements.length !== names.length)
    attempt(context, () => fail(context, 'destructure', { names: names.length, found: describe(value) }, [at(span)]));
  names.forEach(({ name }, place) => bind(scope, name, elements.length === names.length ? elements[place] : unknown));
}

/** In a test, `let m = MLP{}` gives the instance its path. */
function nameInstance(context: Context, name: string, value: Value): void {
  if (context.frames.length === 0 && value.kind === 'instance' && value.owner === undefined && value.name === undefined)
    value.name = name;
}

// --------------------------------------------------------------------------------------------------- assignment

function assign(context: Context, scope: Scope, { target, value: expression, span }: Assign): void {
  const name = target.kind === 'identifier' ? target.name : target.name.name;
  const binding = target.kind === 'identifier' ? find(scope, target.name) : undefined;
  const slot =
    target.kind === 'member' ? memberSlot(context, scope, target) : binding?.kind === 'slot' ? binding.slot : undefined;
  if (slot !== undefined) {
    if (slot.declaration.role !== 'buffer')
      fail(context, 'not-assignable', { name }, [at(target.span)], {
        hint: 'A `param` is changed by its optimizer; a `buffer` can be assigned.',
      });
    if (context.builder !== context.root)
      fail(context, 'misplaced-statement', { what: `${name} <-`, where: 'outside of a `scan`' }, [at(span)]);
    if (context.training === false) return;
    if (context.branches > 0) fail(context, 'assign-in-branch', { name }, [at(span)]);
    assignSlot(context, slot, context.evaluator.evaluate(context, scope, expression), span);
    return;
  }
  if (binding?.kind !== 'cell')
    fail(
      context,
      'not-assignable',
      { name },
      [at(target.span)],
      binding === undefined ? didYouMean(name, visibleNames(scope)) : {},
    );
  else {
    if (context.branches > 0) fail(context, 'assign-in-branch', { name }, [at(span)]);
    binding.assigned = true;
    binding.value = attempt(context, () => context.evaluator.evaluate(context, scope, expression));
  }
}

function memberSlot(
  context: Context,
  scope: Scope,
  target: Extract<Assign['target'], { kind: 'member' }>,
): Slot | undefined {
  const owner = context.evaluator.evaluate(context, scope, target.target);
  return owner.kind === 'instance'
    ? owner.slots.find((slot) => slot.declaration.name.name === target.name.name)
    : undefined;
}

function assignSlot(context: Context, slot: Slot, value: Value, span: Span): void {
  if (value.kind === 'unknown') return;
  const name = slot.declaration.name.name;
  readSlot(context, slot);
  if (isNumber(value))
    return assignSlot(
      context,
      slot,
      { kind: 'tensor', value: constantOf(context, value, slot.type.dtype, slot.type.shape, span, name) },
      span,
    );
  const found = value.kind === 'tensor' ? value.value.type : undefined;
  const fits =
    found !== undefined &&
    found.dtype === slot.type.dtype &&
    found.shape.length === slot.type.shape.length &&
    found.shape.every((size, axis) => equal(size, slot.type.shape[axis]));
  if (value.kind !== 'tensor' || !fits)
    return fail(
      context,
      'assigned-type',
      { name, wanted: showType(slot.type), found: found === undefined ? describe(value) : showType(found) },
      [at(span), at(slot.declaration.span)],
    );
  context.slots.set(slot, value.value);
  context.updates.set(slot, value.value);
}

// --------------------------------------------------------------------------------------------------- conditions

export function evaluateConditional(context: Context, scope: Scope, node: Conditional): Value {
  const { evaluate } = context.evaluator;
  const condition = evaluate(context, scope, node.condition);
  if (condition.kind === 'bool' && condition.value !== undefined) {
    noteCut(context, scope, condition.value ? node.else : node.then);
    return evaluate(context, scope, condition.value ? node.then : node.else);
  }
  if (condition.kind === 'unknown' || condition.kind === 'bool') {
    const yes = attempt(context, () => evaluate(context, scope, node.then));
    return either(
      yes,
      attempt(context, () => evaluate(context, scope, node.else)),
    );
  }
  if (condition.kind !== 'tensor' && condition.kind !== 'indexed')
    return fail(context, 'not-boolean', { found: describe(condition) }, [at(node.condition.span)]);
  if (condition.value.type.dtype !== 'bool')
    return fail(context, 'not-boolean', { found: describe(condition) }, [at(node.condition.span)]);
  const [yes, no] = standing(context, { branches: context.branches + 1 }, () => [
    evaluate(context, scope, node.then),
    evaluate(context, scope, node.else),
  ]);
  const aligned = align(
    context,
    'if',
    [
      { value: condition, span: node.condition.span, condition: true },
      { value: yes, span: node.then.span },
      { value: no, span: node.else.span },
    ],
    node.span,
  );
  if (aligned === undefined) return unknown;
  return aligned.wrap(
    emit(context, node.span, (builder) => builder.where(aligned.values[0], aligned.values[1], aligned.values[2])),
  );
}

/** What is known when either side may be taken. */
function either(a: Value, b: Value): Value {
  if (a.kind === 'tensor' && b.kind === 'tensor')
    return showType(a.value.type) === showType(b.value.type) ? a : unknown;
  if (isNumber(a) && isNumber(b))
    return a.kind === 'int' && b.kind === 'int' && equal(a.value, b.value)
      ? a
      : a.kind === 'int' && b.kind === 'int'
        ? unknown
        : float(undefined);
  if (a.kind === 'bool' && b.kind === 'bool') return bool(a.value === b.value ? a.value : undefined);
  if (a.kind === 'loss' && b.kind === 'loss') return a;
  return unknown;
}
