/**
 * Data sources and what is done to their rows. Nothing is read here: each call becomes a step of a data value. `map` keeps
 * its expressions, whose names are the fields of the data.
 */
import { at, fail } from '../context.ts';
import { createScope } from '../scope.ts';
import { callData, describe, unknown, type DataStep, type DataValue, type Value } from '../value.ts';
import type { Builtin, BuiltinCall } from './builtin.ts';

const source = (name: string, signature: string, doc: string): Builtin => ({
  name,
  doc,
  signature,
  parameters: [],
  open: true,
  evaluate: (call) => ({ kind: 'data', steps: [stepOf(call, call.given)] }),
});

const stage = (name: string, signature: string, doc: string): Builtin => ({
  name,
  doc,
  signature,
  parameters: [],
  open: true,
  evaluate: (call) => addStage(call),
});

function stepOf(call: BuiltinCall, given: BuiltinCall['given']): DataStep {
  return { name: call.builtin.name, arguments: given, expressions: [], scope: createScope(), span: call.span };
}

/** The data before it, and this step. */
export function addStage(call: BuiltinCall): Value {
  const [data, ...rest] = call.given;
  if (data?.value.kind === 'unknown') return unknown;
  if (data?.value.kind !== 'data')
    return fail(
      call.context,
      'not-data',
      { callee: call.builtin.name, found: data === undefined ? 'nothing' : describe(data.value) },
      [at(call.span)],
      callData(data?.value),
    );
  const value: DataValue = { kind: 'data', steps: [...data.value.steps, stepOf(call, rest)] };
  return value;
}

export const dataBuiltins: readonly Builtin[] = [
  source('idx', 'idx(image: "file", …)', 'Fields from files in the IDX format (also .gz).'),
  source('npy', 'npy(x: "file", …)', 'Fields from NumPy files.'),
  source('csv', 'csv("file", x: ["column", …], …)', 'Fields from the columns of a CSV file.'),
  source(
    'text',
    'text("file", length: 128)',
    'Windows of a text (`input`) and the characters that follow each (`target`).',
  ),
  source('generate', 'generate(count)', 'Numbered rows: the field `index` is 0, 1, …'),
  stage('map', 'map(field: expression, …)', 'Rows with these fields, computed from the fields of each row.'),
  stage('shuffle', 'shuffle(seed: 0)', 'Rows in a random order, another in each epoch.'),
  stage('take', 'take(n)', 'The first n rows.'),
  stage('batch', 'batch(size)', 'Rows in groups of one training step.'),
];
