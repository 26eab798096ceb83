/**
 * What a builtin is: one record with its name, what it does, what it takes, and its evaluation. Everything else is written
 * in the language, in `stdlib/`.
 */
import type { Span } from '../../base/source.ts';
import { show, type Dim } from '../../types/dim.ts';
import type { Value as GraphValue } from '../../graph/graph.ts';
import type { Operand } from '../align.ts';
import { at, emit, fail, giveUp, type Context, type Given } from '../context.ts';
import { describe, numberOf, showType, tensor, type Value } from '../value.ts';

export interface Builtin {
  readonly name: string;
  /** What it computes, in a sentence or two. */
  readonly doc: string;
  /** As a user would write it: `sum(x, axis, keep: false)`. */
  readonly signature: string;
  readonly parameters: readonly { readonly name: string; readonly optional?: boolean }[];
  /** Takes any further arguments, named or not: data sources and stages. */
  readonly open?: boolean;
  /** Takes a shape in brackets: `zeros[2, 3]`. `value` is what the brackets alone give. */
  readonly shaped?: 'value' | 'function';
  evaluate(call: BuiltinCall): Value;
}

export interface BuiltinCall {
  readonly context: Context;
  readonly builtin: Builtin;
  readonly span: Span;
  readonly shape: readonly Dim[];
  readonly arguments: ReadonlyMap<string, Given>;
  /** All arguments in order, as they were given. */
  readonly given: readonly Given[];
}

/** A required argument (the binder made sure that it is there). */
export function argument(call: BuiltinCall, name: string): Given {
  const found = call.arguments.get(name);
  if (found === undefined) throw new Error(`${call.builtin.name} was called without ${name}`);
  return found;
}

export const operand = (call: BuiltinCall, name: string): Operand => argument(call, name);

/** An argument that must be a whole tensor; a number becomes a scalar. Undefined if it is unknown. */
export function tensorArgument(call: BuiltinCall, name: string): GraphValue | undefined {
  const { value, span } = argument(call, name);
  return wholeTensor(call, value, span);
}

export function wholeTensor(call: BuiltinCall, value: Value, span: Span): GraphValue | undefined {
  const { context } = call;
  switch (value.kind) {
    case 'unknown':
      return undefined;
    case 'tensor':
      return value.value;
    case 'loss':
      return emit(context, span, (builder) => builder.binary('div', value.sum, value.count));
    case 'int':
    case 'float': {
      const dtype = value.kind === 'int' ? 'i32' : 'f32';
      return emit(context, span, (builder) => builder.constant(numberOf(value) ?? 1, dtype));
    }
    case 'index':
    case 'indexed':
      return fail(context, 'not-whole', { callee: call.builtin.name }, [at(span)], {
        hint: 'Give the elements a name with `let y[i, j] = …`, then use `y`.',
      });
    default:
      return fail(
        context,
        'wrong-kind',
        { what: `\`${call.builtin.name}\``, wanted: 'given a tensor', found: describe(value) },
        [at(span)],
      );
  }
}

export function boolArgument(call: BuiltinCall, name: string, otherwise: boolean): boolean {
  const given = call.arguments.get(name);
  if (given === undefined) return otherwise;
  if (given.value.kind === 'bool') return given.value.value ?? otherwise;
  if (given.value.kind === 'unknown') return otherwise;
  return fail(
    call.context,
    'wrong-kind',
    { what: `\`${name}\``, wanted: 'true or false', found: describe(given.value) },
    [at(given.span)],
  );
}

/** A size, symbolic in generic checks. */
export function sizeArgument(call: BuiltinCall, name: string, otherwise?: Dim): Dim {
  const given = call.arguments.get(name);
  if (given === undefined && otherwise !== undefined) return otherwise;
  const { value, span } = argument(call, name);
  if (value.kind === 'int') {
    if (typeof value.value === 'number' && value.value < 0)
      fail(call.context, 'negative-size', { size: show(value.value) }, [at(span)]);
    return value.value;
  }
  return fail(call.context, 'not-a-size', { found: describe(value) }, [at(span)]);
}

/** An axis, counted from the end when negative. */
export function axisFrom(
  call: BuiltinCall,
  x: GraphValue,
  value: Value,
  span: Span,
  rank = x.type.shape.length,
): number {
  if (value.kind === 'unknown' || (value.kind === 'int' && typeof value.value !== 'number')) return giveUp();
  if (value.kind !== 'int' || typeof value.value !== 'number')
    return fail(call.context, 'wrong-kind', { what: 'An axis', wanted: 'a whole number', found: describe(value) }, [
      at(span),
    ]);
  const axis = value.value < 0 ? value.value + rank : value.value;
  if (axis < 0 || axis >= rank)
    fail(call.context, 'axis-out-of-range', { axis: value.value, type: showType(x.type) }, [at(span)]);
  return axis;
}

export function axisArgument(
  call: BuiltinCall,
  name: string,
  x: GraphValue,
  otherwise: number,
  rank = x.type.shape.length,
): number {
  const given = call.arguments.get(name);
  if (given === undefined) {
    const axis = otherwise < 0 ? otherwise + rank : otherwise;
    if (axis < 0 || axis >= rank)
      fail(call.context, 'axis-out-of-range', { axis: otherwise, type: showType(x.type) }, [at(call.span)]);
    return axis;
  }
  return axisFrom(call, x, given.value, given.span, rank);
}

/** The elements of a list or tuple argument. */
export function elementsOf(call: BuiltinCall, name: string): readonly Value[] {
  const { value, span } = argument(call, name);
  if (value.kind === 'list' || value.kind === 'tuple') return value.elements;
  return fail(
    call.context,
    'wrong-kind',
    { what: `\`${name}\` of \`${call.builtin.name}\``, wanted: 'a list', found: describe(value) },
    [at(span)],
  );
}

export const added = (call: BuiltinCall, add: Parameters<typeof emit>[2]): Value =>
  tensor(emit(call.context, call.span, add));
