/**
 * From a `data` value to what the runtime reads (DataPlan) and what the step program computes from it (`map` stages).
 *
 * `idx(image: "…") |> split(part, train: 0.9, test: 0.1) |> map(image: f32(image) / 255) |> shuffle(seed: 0) |> batch(64)`
 *
 * A map commutes with choosing and ordering samples, so the plan holds everything but the maps, and the maps are compiled
 * into the program that uses the fields.
 */
import type { Argument } from '../../grammar/ast.ts';
import { diagnose, didYouMean, Problem } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import type { Field, DataPlan } from '../../runtime/program.ts';
import type { TensorType } from '../types/tensor.ts';
import { giveUp, type Context } from './context.ts';
import { evaluate } from './evaluate.ts';
import { bind, createScope, type Scope } from './scope.ts';
import { describe, numberOf, type DataStep, type DataValue, type Value } from './value.ts';

/** A data source, and the maps that follow it. */
export interface Pipeline {
  readonly plan: DataPlan;
  /** Samples per batch, where `batch` was said. */
  readonly batch: number | undefined;
  readonly maps: readonly { readonly expressions: readonly Argument[]; readonly scope: Scope }[];
  readonly span: Span;
}

/** Names of the sources; everything else is a stage that follows one. */
export const dataSources = ['idx', 'npy', 'csv', 'text', 'generate'] as const;
export const dataStages = ['map', 'shuffle', 'split', 'take', 'batch'] as const;

/** What the arguments of sources and stages are called; the others take fields, whose names are the user's. */
const takes: Readonly<Record<string, readonly string[]>> = {
  text: ['path', 'length', 'stride'],
  generate: ['count'],
  shuffle: ['seed'],
  take: ['count'],
  batch: ['size', 'last'],
};

/** A program's inputs and results have one name each: these are the runtime's, whatever is in the data. */
const taken: readonly string[] = ['step', 'seed', 'micro', 'grad_norm', 'loss_scale', 'skipped_in_a_row'];

/** Reports names that a step does not know, names that stand twice, and values that nothing can be made of. */
function checkArguments(step: DataStep): void {
  const known = takes[step.name];
  const seen = new Set<string>();
  const unnamed = step.arguments.filter(({ name }) => name === undefined);
  for (const { name, span } of step.arguments) {
    if (name === undefined) continue;
    if (known !== undefined && !known.includes(name))
      throw new Problem(
        diagnose('unknown-argument', { callee: step.name, name }, [{ span, text: '' }], didYouMean(name, known)),
      );
    if (seen.has(name)) throw new Problem(diagnose('repeated-argument', { name }, [{ span, text: '' }]));
    seen.add(name);
    if (known === undefined && step.name !== 'split' && taken.includes(name))
      wrong(
        span,
        `A field cannot be called \`${name}\`: so is a number that training steps take or give.`,
        'Give it another name.',
      );
  }
  if (known === undefined) return;
  const [first] = known;
  if (unnamed.length > (seen.has(first) ? 0 : 1))
    wrong(unnamed[unnamed.length - 1].span, `Only \`${first}\` may be given to \`${step.name}\` without its name.`);
}

export function planData(data: DataValue): Pipeline {
  const [source, ...stages] = data.steps;
  data.steps.forEach(checkArguments);
  let plan = planSource(source);
  let batch: number | undefined;
  const maps: { expressions: readonly Argument[]; scope: Scope }[] = [];
  for (const step of stages) {
    if (batch !== undefined && step.name !== 'map') wrong(step.span, `\`${step.name}\` must come before \`batch\`.`);
    switch (step.name) {
      case 'map':
        maps.push({ expressions: step.expressions, scope: step.scope });
        break;
      case 'shuffle':
        plan = { kind: 'shuffle', of: plan, seed: optionalInt(step, 'seed', 0, 0) };
        break;
      case 'take':
        plan = { kind: 'take', of: plan, count: requiredInt(step, 'count', 1) };
        break;
      case 'split':
        plan = planSplit(step, plan);
        break;
      case 'batch': {
        batch = requiredInt(step, 'size', 1);
        plan = { kind: 'batch', of: plan, size: batch, last: optionalText(step, 'last', ['keep', 'drop'], 'keep') };
        break;
      }
      default:
        throw new Problem(
          diagnose(
            'unknown-data-stage',
            { name: step.name },
            [{ span: step.span, text: '' }],
            didYouMean(step.name, dataStages),
          ),
        );
    }
  }
  return { plan, batch, maps, span: source.span };
}

/** The plan read in batches of this size, unless it says its own. */
export function batched(pipeline: Pipeline, size: number): DataPlan {
  return pipeline.batch === undefined ? { kind: 'batch', of: pipeline.plan, size, last: 'keep' } : pipeline.plan;
}

/** The fields of a batch after all maps. `raw` holds the source's fields as values of the graph in `context`. */
export function applyMaps(
  context: Context,
  pipeline: Pipeline,
  raw: ReadonlyMap<string, Value>,
): ReadonlyMap<string, Value> {
  let fields = raw;
  for (const { expressions, scope } of pipeline.maps) {
    const inner = createScope(scope);
    for (const [name, value] of fields) bind(inner, name, value);
    const mapped = new Map<string, Value>();
    for (const { name, value, span } of expressions) {
      if (name === undefined)
        wrong(span, '`map` needs a name for each field it makes.', 'Write `map(image: f32(image) / 255)`.');
      else mapped.set(name.name, evaluate(context, inner, value));
    }
    fields = mapped;
  }
  return fields;
}

function planSource(step: DataStep): DataPlan {
  switch (step.name) {
    case 'idx':
    case 'npy': {
      const fields = step.arguments.map((argument) => {
        if (argument.name === undefined)
          wrong(
            argument.span,
            `\`${step.name}\` needs a field name for each file.`,
            `Write \`${step.name}(image: "file")\`.`,
          );
        return { name: argument.name ?? '', path: textOf(argument.value, argument.span) };
      });
      if (fields.length === 0) wrong(step.span, `\`${step.name}\` needs at least one file.`);
      return { kind: step.name, fields };
    }
    case 'csv':
      return planCsv(step);
    case 'text': {
      const length = requiredInt(step, 'length', 1);
      return {
        kind: 'text',
        path: requiredText(step, 'path'),
        length,
        stride: optionalInt(step, 'stride', 1, length),
        input: 'input',
        target: 'target',
      };
    }
    case 'generate':
      return { kind: 'generate', count: requiredInt(step, 'count', 1), index: 'index' };
    default:
      throw new Problem(
        diagnose(
          'unknown-data-source',
          { name: step.name },
          [{ span: step.span, text: '' }],
          didYouMean(step.name, dataSources),
        ),
      );
  }
}

/**
 * `csv("iris.csv", x: ["width", "length"], y: "price", label: { category: "species" })`: a list of columns is a row of
 * numbers, one column a number; `{ category: … }` numbers the distinct texts of a column, `{ integer: … }` keeps whole numbers.
 */
function planCsv(step: DataStep): DataPlan {
  const [, ...unnamed] = step.arguments.filter(({ name }) => name === undefined);
  for (const { span } of unnamed)
    wrong(
      span,
      'Only the file is given to `csv` without a name.',
      'Each field needs one: `csv("iris.csv", x: ["width", "length"])`.',
    );
  const columns = step.arguments
    .filter((given) => given.name !== undefined && given.name !== 'header' && given.name !== 'path')
    .map(({ name = '', value, span }) => ({ name, ...planColumns(value, span) }));
  if (columns.length === 0)
    wrong(
      step.span,
      '`csv` needs its fields.',
      'Write `csv("iris.csv", x: ["width", "length"], label: { category: "species" })`.',
    );
  const header = find(step, 'header');
  if (header !== undefined && header.value.kind !== 'bool')
    wrong(header.span, `\`header\` should be true or false, but it is ${describe(header.value)}.`);
  return {
    kind: 'csv',
    path: requiredText(step, 'path'),
    columns,
    header: header?.value.kind === 'bool' ? header.value.value !== false : true,
  };
}

const columnForms =
  'A field of `csv` is a column: `"name"`, `["name", …]`, `{ category: "name" }` or `{ integer: "name" }`';

function planColumns(value: Value, span: Span): { columns: string[]; dtype: 'f32' | 'i32' | 'category' } {
  if (value.kind === 'list') return { columns: value.elements.map((element) => textOf(element, span)), dtype: 'f32' };
  if (value.kind !== 'record') {
    if (value.kind === 'string') return { columns: [value.value], dtype: 'f32' };
    return wrong(span, `${columnForms}, not ${describe(value)}.`);
  }
  const [entry, ...more] = value.fields;
  if (entry === undefined || more.length > 0 || (entry[0] !== 'category' && entry[0] !== 'integer'))
    return wrong(span, `${columnForms}.`);
  return { columns: [textOf(entry[1], span)], dtype: entry[0] === 'category' ? 'category' : 'i32' };
}

/** `split(part, train: 0.9, test: 0.1)`: the named part, the shares in the order they are written. */
function planSplit(step: DataStep, of: DataPlan): DataPlan {
  const [which, ...shares] = step.arguments;
  if (which === undefined || which.name !== undefined)
    wrong(step.span, '`split` needs the part that is wanted first.', 'Write `split(part, train: 0.9, test: 0.1)`.');
  const part = textOf(which.value, which.span);
  let start = 0;
  let chosen: { start: number; end: number } | undefined;
  for (const { name, value, span } of shares) {
    const share = value.kind === 'int' || value.kind === 'float' ? numberOf(value) : undefined;
    if (name === undefined || share === undefined || share <= 0 || share > 1) {
      wrong(span, 'Each part of a split is a name and a share between 0 and 1.');
      continue;
    }
    // Shares are written in decimals; summing them must not move a boundary by a rounding.
    const end = Math.round((start + share) * 1e9) / 1e9;
    if (name === part) chosen = { start, end };
    start = end;
  }
  if (start > 1) wrong(step.span, `The parts of this split add up to ${start}, more than the whole.`);
  if (chosen === undefined) {
    const names = shares.flatMap(({ name }) => (name === undefined ? [] : [name]));
    // Which of the two is misspelt cannot be told, so both are shown.
    const labels = [{ span: which.span, text: '' }, ...shares.map(({ span }) => ({ span, text: '' }))];
    const problem = `This split has no part \`${part}\`; it has ${names.map((name) => `\`${name}\``).join(', ')}.`;
    throw new Problem(diagnose('bad-data', { problem }, labels));
  }
  return { kind: 'slice', of, ...chosen };
}

function find(step: DataStep, name: string): DataStep['arguments'][number] | undefined {
  return step.arguments.find((argument) => argument.name === name);
}

/** An argument by name; one without a name is the first that the step takes. */
function argument(step: DataStep, name: string): DataStep['arguments'][number] | undefined {
  const isFirst = (takes[step.name]?.[0] ?? 'path') === name;
  return find(step, name) ?? (isFirst ? step.arguments.find((candidate) => candidate.name === undefined) : undefined);
}

function required(step: DataStep, name: string): DataStep['arguments'][number] {
  return argument(step, name) ?? wrong(step.span, `\`${step.name}\` needs \`${name}\`.`);
}

const requiredText = (step: DataStep, name: string): string => {
  const { value, span } = required(step, name);
  return textOf(value, span);
};

const requiredInt = (step: DataStep, name: string, least: number): number => intOf(required(step, name), name, least);

function optionalInt(step: DataStep, name: string, least: number, otherwise: number): number {
  const found = argument(step, name);
  return found === undefined ? otherwise : intOf(found, name, least);
}

function optionalText<Choice extends string>(
  step: DataStep,
  name: string,
  choices: readonly Choice[],
  otherwise: Choice,
): Choice {
  const found = find(step, name);
  if (found === undefined) return otherwise;
  const text = textOf(found.value, found.span);
  return (
    choices.find((choice) => choice === text) ??
    wrong(found.span, `\`${name}\` is one of ${choices.map((choice) => `"${choice}"`).join(', ')}.`)
  );
}

function textOf(value: Value, span: Span): string {
  if (value.kind === 'unknown') giveUp();
  return value.kind === 'string' ? value.value : wrong(span, `This should be a text, but it is ${describe(value)}.`);
}

function intOf({ value, span }: DataStep['arguments'][number], name: string, least: number): number {
  if (value.kind === 'unknown') giveUp();
  if (value.kind === 'int' && typeof value.value === 'number' && value.value >= least) return value.value;
  return wrong(span, `\`${name}\` should be a whole number of at least ${least}, but it is ${describe(value)}.`);
}

function wrong(span: Span, problem: string, hint?: string): never {
  throw new Problem(diagnose('bad-data', { problem }, [{ span, text: '' }], hint === undefined ? {} : { hint }));
}

/** A field of a batch of this size, as a tensor type. */
export const fieldType = (field: Field, batch: number): TensorType => ({
  dtype: field.dtype,
  shape: [batch, ...field.shape],
});

/** What a plan says of its fields by itself; shapes and element types of arrays are in their files. */
export function fieldsWithoutLooking(
  plan: DataPlan,
): readonly (Field | { readonly name: string; readonly shape?: undefined })[] {
  switch (plan.kind) {
    case 'idx':
    case 'npy':
      return plan.fields.map(({ name }) => ({ name }));
    case 'csv':
      return plan.columns.map(({ name, columns, dtype }) => ({
        name,
        dtype: dtype === 'f32' ? 'f32' : 'i32',
        shape: columns.length === 1 ? [] : [columns.length],
      }));
    case 'text':
      return [plan.input, plan.target].map((name) => ({ name, dtype: 'i32', shape: [plan.length] }));
    case 'generate':
      return [{ name: plan.index, dtype: 'i32', shape: [] }];
    default:
      return fieldsWithoutLooking(plan.of);
  }
}
