/**
 * Instances: what braces make. They live outside every graph; their parameters enter a graph when they are first read in
 * it, so applying an instance twice shares them.
 */
import type { Parameter } from '../../grammar/ast.ts';
import type { Span } from '../base/source.ts';
import { bindHyper, distribute, takesOf } from './arguments.ts';
import { at, attempt, fail, standing, type Context, type Given } from './context.ts';
import { bind, createScope } from './scope.ts';
import { tensorTypeOf } from './types.ts';
import {
  describe,
  showType,
  unknown,
  type Fixed,
  type InstanceValue,
  type LayerValue,
  type Slot,
  type Value,
} from './value.ts';

/** Makes an instance. `open` gives hyperparameters without a value one, for generic checks. */
export function instantiate(
  context: Context,
  layer: LayerValue,
  given: readonly Given[],
  span: Span,
  open?: (parameter: Parameter) => Value,
): InstanceValue {
  const { declaration } = layer;
  const name = declaration.name.name;
  const fixed = distribute(context, name, takesOf(declaration.hyper), given);
  const depth = context.frames.filter((frame) => frame.declaration === declaration && frame.kind === 'init').length;
  if (depth > 20) fail(context, 'recursion', { name }, [at(span)]);
  return standing(context, {}, () => {
    context.frames.push({ name, span, kind: 'init', declaration });
    return build(context, layer, fixed, span, open);
  });
}

function build(
  context: Context,
  layer: LayerValue,
  fixed: ReadonlyMap<string, Fixed>,
  span: Span,
  open: ((parameter: Parameter) => Value) | undefined,
): InstanceValue {
  const { declaration } = layer;
  const name = declaration.name.name;
  const scope = createScope(layer.scope);
  const hyper = bindHyper(context, name, declaration.hyper, fixed, scope, span, open);
  const members = new Map<string, Value>();
  const slots: Slot[] = [];
  const instance: InstanceValue = { kind: 'instance', declaration, hyper, scope, slots, members, span };
  for (const [key, { value, span: place }] of hyper) adopt(instance, key, compileTime(context, value, place));
  for (const member of declaration.members) {
    if (member.kind === 'param') {
      const value = attempt(context, () => {
        const slot: Slot = { owner: instance, declaration: member, type: tensorTypeOf(context, scope, member.type) };
        if (member.role === 'param' && slot.type.shape.includes(0))
          fail(context, 'empty-parameter', { name: member.name.name, type: showType(slot.type) }, [
            at(member.type.span),
            at(span, 'made here'),
          ]);
        slots.push(slot);
        scope.names.set(member.name.name, { kind: 'slot', slot });
        return unknown;
      });
      if (!scope.names.has(member.name.name)) bind(scope, member.name.name, value);
      continue;
    }
    const value = attempt(context, () =>
      compileTime(context, context.evaluator.evaluate(context, scope, member.value), member.value.span),
    );
    adopt(instance, member.name.name, value);
    members.set(member.name.name, value);
    bind(scope, member.name.name, value);
  }
  return instance;
}

/** What an instance or optimizer keeps outlives every graph, so it cannot be a tensor of one. */
export function compileTime(context: Context, value: Value, span: Span): Value {
  const parts = value.kind === 'list' || value.kind === 'tuple' ? value.elements : [value];
  for (const part of parts)
    if (part.kind === 'tensor' || part.kind === 'loss' || part.kind === 'indexed')
      fail(
        context,
        'wrong-kind',
        { what: 'This', wanted: 'a layer or a number known before anything runs', found: describe(part) },
        [at(span)],
        {
          hint: 'Give it to the layer where it is applied.',
        },
      );
  return value;
}

/** Gives instances that have no owner yet their place. */
export function adopt(owner: InstanceValue, name: string, value: Value): void {
  if (value.kind === 'instance') {
    if (value.owner !== undefined || value.name !== undefined || value === owner) return;
    value.owner = owner;
    value.name = name;
  } else if (value.kind === 'list' || value.kind === 'tuple')
    value.elements.forEach((element, place) => adopt(owner, `${name}.${place}`, element));
  else if (value.kind === 'record')
    for (const [field, element] of value.fields) adopt(owner, `${name}.${field}`, element);
}

/** Instances directly inside, in order: of hyperparameters that were made for it, and of members. */
export function children(instance: InstanceValue): InstanceValue[] {
  const found: InstanceValue[] = [];
  const visit = (value: Value): void => {
    if (value.kind === 'instance') {
      if (value.owner === instance && !found.includes(value)) found.push(value);
    } else if (value.kind === 'list' || value.kind === 'tuple') value.elements.forEach(visit);
    else if (value.kind === 'record') value.fields.forEach(visit);
  };
  for (const { value } of instance.hyper.values()) visit(value);
  for (const value of instance.members.values()) visit(value);
  return found;
}

/** An instance and all inside it, outer ones first. */
export const instancesOf = (instance: InstanceValue): InstanceValue[] => [
  instance,
  ...children(instance).flatMap(instancesOf),
];

/** Parameters and buffers of an instance and everything in it, in order. */
export const slotsOf = (instance: InstanceValue): Slot[] => [...instance.slots, ...children(instance).flatMap(slotsOf)];

/** The hyperparameters that a value of the language fixed, by position or name. */
export function fixHyper(
  context: Context,
  callee: string,
  parameters: readonly Parameter[],
  before: ReadonlyMap<string, Fixed>,
  given: readonly Given[],
): Map<string, Fixed> {
  const fixed = distribute(context, callee, takesOf(parameters), given);
  return new Map([...before, ...fixed]);
}
