/** Arguments to parameters: by position, then by name; each once; none left over. */
import type { Parameter } from '../../grammar/ast.ts';
import { didYouMean } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import { at, fail, type Context, type Given } from './context.ts';
import { bind, type Scope } from './scope.ts';
import { createSizes } from './sizes.ts';
import { matchType } from './types.ts';
import { unknown, type Fixed, type Value } from './value.ts';

interface Takes {
  readonly name: string;
  readonly optional?: boolean;
}

/** Which argument each name gets. What may be missing is checked by `requireArguments`. */
export function distribute(
  context: Context,
  callee: string,
  takes: readonly Takes[],
  given: readonly Given[],
): Map<string, Given> {
  const bound = new Map<string, Given>();
  const positional = given.filter(({ name }) => name === undefined);
  if (positional.length > takes.length)
    fail(context, 'too-many-arguments', { callee, takes: takes.length, given: positional.length }, [
      at(positional[takes.length].span),
    ]);
  positional.forEach((argument, place) => bound.set(takes[place].name, argument));
  for (const argument of given) {
    const { name } = argument;
    if (name === undefined) continue;
    if (!takes.some((parameter) => parameter.name === name))
      fail(context, 'unknown-argument', { callee, name }, [at(argument.span)], {
        ...didYouMean(
          name,
          takes.map((parameter) => parameter.name),
        ),
        notes: takesNote(callee, takes),
      });
    const before = bound.get(name);
    if (before !== undefined) {
      const { source, start, end } = before.span;
      const hint = `Arguments without a name go by position; is \`${source.text.slice(start, end)}\` in its place?`;
      const places = [at(argument.span), at(before.span, 'here first')];
      fail(context, 'repeated-argument', { name }, places, before.name === undefined ? { hint } : {});
    }
    bound.set(name, argument);
  }
  return bound;
}

const takesNote = (callee: string, takes: readonly Takes[]): string[] =>
  takes.length === 0 ? [] : [`\`${callee}\` takes ${takes.map(({ name }) => `\`${name}\``).join(', ')}`];

export function requireArguments(
  context: Context,
  callee: string,
  takes: readonly Takes[],
  bound: ReadonlyMap<string, unknown>,
  span: Span,
): void {
  for (const { name, optional } of takes)
    if (optional !== true && !bound.has(name))
      fail(context, 'missing-argument', { callee, name }, [at(span)], { notes: takesNote(callee, takes) });
}

export const takesOf = (parameters: readonly Parameter[]): Takes[] =>
  parameters.map(({ name, default: otherwise }) => ({ name: name.name, optional: otherwise !== undefined }));

/**
 * Binds hyperparameters in a scope, in order, so that a default may use the ones before it. In a generic check `open` gives
 * values to those without one.
 */
export function bindHyper(
  context: Context,
  callee: string,
  parameters: readonly Parameter[],
  fixed: ReadonlyMap<string, Fixed>,
  scope: Scope,
  span: Span,
  open?: (parameter: Parameter) => Value,
): Map<string, Fixed> {
  const bound = new Map<string, Fixed>();
  if (open === undefined) requireArguments(context, callee, takesOf(parameters), fixed, span);
  for (const parameter of parameters) {
    const name = parameter.name.name;
    const given = fixed.get(name);
    let value: Value;
    if (given !== undefined) value = given.value;
    else if (open !== undefined) value = open(parameter);
    else
      value = parameter.default === undefined ? unknown : context.evaluator.evaluate(context, scope, parameter.default);
    const place = given?.span ?? parameter.default?.span ?? parameter.span;
    if (parameter.type !== undefined)
      value = matchType(context, scope, createSizes(), parameter.type, value, {
        what: `\`${name}\` of \`${callee}\``,
        name,
        span: place,
      });
    bind(scope, name, value);
    scope.origins.set(name, place);
    bound.set(name, { value, span: place });
  }
  return bound;
}
