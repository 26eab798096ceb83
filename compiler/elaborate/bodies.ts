/** The bodies of a train block — the loss and what evaluations measure — evaluated on fields of the data. */
import type { Parameter } from '../../grammar/ast.ts';
import { diagnose, didYouMean, Problem } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import type { Value as GraphValue } from '../graph/graph.ts';
import type { Context } from './context.ts';
import { applyMaps, fieldsWithoutLooking, fieldType, type Pipeline } from './data.ts';
import type { DataDescription } from './describe.ts';
import { evaluate } from './evaluate.ts';
import { bind, createScope } from './scope.ts';
import type { TrainBlock } from './train.ts';
import { describe, tensor, unknown, type Value } from './value.ts';

/** Evaluates a body whose parameters are fields of the data (of any type where `data` is not known). */
export function evaluateBody(
  context: Context,
  block: TrainBlock,
  pipeline: Pipeline,
  data: DataDescription | undefined,
  batch: number,
  parameters: readonly Parameter[],
  body: TrainBlock['loss']['body'],
): Value {
  const known = data?.fields ?? fieldsWithoutLooking(pipeline.plan);
  const raw = new Map(
    known.map((field): [string, Value] => [
      field.name,
      field.shape === undefined ? unknown : tensor(context.root.input(field.name, 'batch', fieldType(field, batch))),
    ]),
  );
  const fields = applyMaps(context, pipeline, raw);
  const scope = createScope(block.scope);
  for (const { name } of parameters) {
    const value = fields.get(name.name);
    if (value === undefined)
      context.diagnostics.report(
        diagnose('unknown-field', { name: name.name }, [{ span: name.span, text: '' }], {
          notes: [`Its fields are ${[...fields.keys()].map((field) => `\`${field}\``).join(', ')}.`],
          ...didYouMean(name.name, fields.keys()),
        }),
      );
    bind(scope, name.name, value ?? unknown);
  }
  return evaluate(context, scope, body);
}

/** A loss as it is; a plain number counts once a batch. */
export function sumAndCount(context: Context, value: Value, span: Span): { sum: GraphValue; count: GraphValue } {
  const one = context.root.constant(1, 'f32');
  if (value.kind === 'loss') return value;
  if (value.kind === 'tensor' && value.value.type.shape.length === 0) return { sum: value.value, count: one };
  if (value.kind === 'unknown') return { sum: one, count: one };
  throw new Problem(diagnose('not-a-metric', { found: describe(value) }, [{ span, text: '' }]));
}

/** Metrics by name. */
export function metricsOf(value: Value, span: Span): ReadonlyMap<string, Value> {
  if (value.kind === 'record') return value.fields;
  if (value.kind === 'unknown') return new Map();
  throw new Problem(
    diagnose('not-a-metric', { found: describe(value) }, [{ span, text: '' }], {
      hint: 'Write `{ accuracy: accuracy(model(x), y) }`.',
    }),
  );
}
