/** All builtins, and the scope below everything in which they are found. */
import { at, fail, type Context } from '../context.ts';
import type { Span } from '../../base/source.ts';
import { drawNormal, drawUniform } from '../random.ts';
import { createScope, type Scope } from '../scope.ts';
import { bool, float, list, int, tensor, unknown, type Value } from '../value.ts';
import { argument, tensorArgument, type Builtin } from './builtin.ts';
import { creation } from './creation.ts';
import { addStage, dataBuiltins } from './data.ts';
import { elementwise } from './elementwise.ts';
import { reductions } from './reductions.ts';
import { shapes, split } from './shapes.ts';

/** Two meanings, told apart by what it is given: parts of a tensor, or of a data set. */
const splitEither: Builtin = {
  name: 'split',
  doc: 'A tensor cut into equal parts (or parts of given sizes) along an axis; or the named part of data.',
  signature: 'split(x, parts, axis: -1) or data |> split(part, train: 0.9, test: 0.1)',
  parameters: [{ name: 'x' }, { name: 'parts' }, { name: 'axis', optional: true }],
  open: true,
  evaluate(call) {
    if (call.given[0]?.value.kind === 'data' || call.given[0]?.value.kind === 'data-function') return addStage(call);
    for (const name of ['x', 'parts'])
      if (!call.arguments.has(name))
        return fail(call.context, 'missing-argument', { callee: 'split', name }, [at(call.span)]);
    for (const { name, span } of call.given)
      if (name !== undefined && !['x', 'parts', 'axis'].includes(name))
        return fail(call.context, 'unknown-argument', { callee: 'split', name }, [at(span)]);
    const x = tensorArgument(call, 'x');
    return x === undefined || argument(call, 'parts').value.kind === 'unknown' ? unknown : split(call, x);
  },
};

export const builtins: readonly Builtin[] = [
  ...elementwise,
  ...reductions,
  ...shapes,
  splitEither,
  ...creation,
  ...dataBuiltins,
];

/** In the body of an `init`: random numbers of the shape of the parameter (or of the brackets) that it is for. */
const ofParameter =
  (draw: typeof drawUniform) =>
  (context: Context, span: Span): Value =>
    context.shape === undefined
      ? fail(
          context,
          'misplaced-statement',
          { what: 'random_uniform and random_normal', where: 'in the body of an `init`' },
          [at(span)],
        )
      : tensor(draw(context, context.shape, span));

/** Names that stand for values. */
const values: Record<string, { readonly doc: string; readonly read: (context: Context, span: Span) => Value }> = {
  pi: { doc: 'π.', read: () => float(Math.PI) },
  inf: { doc: 'Infinity.', read: () => float(Infinity) },
  training: { doc: 'True inside a training step.', read: (context) => bool(context.training) },
  random_uniform: {
    doc: 'In an `init`: uniform on [0, 1), of the shape that is wanted.',
    read: ofParameter(drawUniform),
  },
  random_normal: {
    doc: 'In an `init`: normal with mean 0 and deviation 1, of the shape that is wanted.',
    read: ofParameter(drawNormal),
  },
  wanted_shape: {
    doc: 'In an `init`: the sizes that are wanted, as a list.',
    read: (context, span) =>
      context.shape === undefined
        ? fail(context, 'misplaced-statement', { what: 'wanted_shape', where: 'in the body of an `init`' }, [at(span)])
        : list(context.shape.map(int)),
  },
  _: { doc: 'A size to be inferred.', read: () => ({ kind: 'wildcard' }) },
};

export const builtinValues: readonly { readonly name: string; readonly doc: string }[] = Object.entries(values).map(
  ([name, { doc }]) => ({ name, doc }),
);

export function createBuiltinScope(): Scope {
  const scope = createScope();
  for (const builtin of builtins) scope.names.set(builtin.name, { kind: 'value', value: { kind: 'builtin', builtin } });
  for (const [name, { read }] of Object.entries(values)) scope.names.set(name, { kind: 'global', read });
  return scope;
}
