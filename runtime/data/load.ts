/** From a data plan to samples in memory, and to what can be said of them before. */
import { UserError } from '../errors.ts';
import type { Files } from '../files.ts';
import type { DataPlan, ElementType, Field } from '../program.ts';
import { loadCsv } from './csv.ts';
import { describeIdx, loadIdx } from './idx.ts';
import { describeNpy, loadNpy } from './npy.ts';
import { orderSamples } from './order.ts';
import { shareColumns, type DataDescription, type Source } from './source.ts';
import { loadText } from './text.ts';

/** The plans that read or make samples, as opposed to choosing and ordering them. */
export type SourcePlan = Extract<DataPlan, { kind: 'idx' | 'npy' | 'csv' | 'text' | 'generate' }>;

export function sourceOf(plan: DataPlan): SourcePlan {
  return 'of' in plan ? sourceOf(plan.of) : plan;
}

/** Training and evaluation often take parts of one file; it is read once for as long as its `Files` lives. */
const loaded = new WeakMap<Files, Map<string, Promise<Source>>>();

export function loadSource(plan: SourcePlan, files: Files): Promise<Source> {
  const known = loaded.get(files) ?? new Map<string, Promise<Source>>();
  loaded.set(files, known);
  const key = JSON.stringify(plan);
  const source = known.get(key) ?? readSource(plan, files);
  known.set(key, source);
  return source;
}

/** The same, in memory that worker threads see as well; replaces the private copy, so that there is only one. */
export async function loadSharedSource(plan: SourcePlan, files: Files): Promise<Source> {
  const source = await loadSource(plan, files);
  const shared = { ...source, columns: shareColumns(source.columns) };
  loaded.get(files)?.set(JSON.stringify(plan), Promise.resolve(shared));
  return shared;
}

async function readSource(plan: SourcePlan, files: Files): Promise<Source> {
  switch (plan.kind) {
    case 'idx':
    case 'npy': {
      const load = plan.kind === 'idx' ? loadIdx : loadNpy;
      // The headers first: that the files do not belong together should not take a long read to say.
      const description = await describeSource(plan, files);
      return { description, columns: plan.fields.map((field) => load(files, field.path, field.name)) };
    }
    case 'csv':
      return loadCsv(files, plan);
    case 'text':
      return loadText(files, plan);
    case 'generate': {
      const description = await describeSource(plan, files);
      return { description, columns: [{ kind: 'number', field: description.fields[0] }] };
    }
  }
}

async function describeSource(plan: SourcePlan, files: Files): Promise<DataDescription> {
  switch (plan.kind) {
    case 'idx':
      return describeArrays(plan.fields, (path) => describeIdx(files, path));
    case 'npy':
      return describeArrays(plan.fields, (path) => describeNpy(files, path));
    case 'csv':
    case 'text':
      return (await loadSource(plan, files)).description;
    case 'generate': {
      if (!Number.isInteger(plan.count) || plan.count < 1 || plan.count >= 2 ** 31) {
        throw new UserError('data-count', `A generated data set has 1 to ${2 ** 31 - 1} samples, not ${plan.count}.`);
      }
      return { count: plan.count, fields: [{ name: plan.index, dtype: 'i32', shape: [] }] };
    }
  }
}

function describeArrays(
  fields: readonly { readonly name: string; readonly path: string }[],
  describe: (path: string) => { readonly dtype: ElementType; readonly dimensions: readonly number[] },
): DataDescription {
  let first: { readonly path: string; readonly count: number } | undefined;
  const described: Field[] = [];
  for (const { name, path } of fields) {
    const { dtype, dimensions } = describe(path);
    const count = dimensions[0];
    first ??= { path, count };
    if (count !== first.count) {
      throw new UserError(
        'data-count',
        `${first.path} holds ${first.count} samples and ${path} holds ${count}; they should go together one by one.`,
      );
    }
    described.push({ name, dtype, shape: dimensions.slice(1) });
  }
  if (first === undefined) throw new UserError('data-empty', 'A data set needs at least one file.');
  return { count: first.count, fields: described };
}

/**
 * How many samples a plan gives and what each consists of, so that sizes can be bound before anything is compiled. Of IDX
 * and .npy files only the headers are read; tables and texts are read whole, once.
 */
export async function describeData(plan: DataPlan, files: Files): Promise<DataDescription> {
  const description = await describeSource(sourceOf(plan), files);
  return { ...description, count: orderSamples(plan, description.count).count };
}
