/** Quantized weights of a run: looking at data before the first step, taking codes after the last, reading a file that holds codes. */
import { elementCount, totalElements } from '../common/elements.ts';
import type { Dataset } from './data/dataset.ts';
import { placed, UserError } from './errors.ts';
import type { InputFile } from './files.ts';
import { elementBytes, type Field, type Programs, type TrainPlan, type TypedArray } from './program.ts';
import { readTensor, type StoredTensor, type WeightsHeader } from './safetensors.ts';
import { chooseInputs, guardDevice, scalarsOf } from './step.ts';

type QuantizedWeight = NonNullable<TrainPlan['quantization']>['weights'][number];

/** What was done: how many weights (tensors) are kept in few bits, and the bytes they take now and took. */
export type Quantized = { readonly weights: number; readonly bytes: number; readonly was: number };

/** Finds the ranges of what is multiplied, on the first batches of the training data. */
export async function calibrate(plan: TrainPlan, programs: Programs, data: Dataset): Promise<void> {
  const wanted = plan.quantization?.calibrate ?? 0;
  if (wanted === 0) return;
  const batches = data.batches(0);
  try {
    for (let at = 0; at < Math.min(wanted, data.batchesPerEpoch); at++) {
      const batch = await batches.next();
      if (batch.done === true) return;
      const program = await programs.calibrate(batch.value.size);
      const inputs = chooseInputs(program, batch.value.fields, scalarsOf(plan.seed, 0, 0, 0));
      await guardDevice(0, () => program.run(inputs));
    }
  } finally {
    await batches.return();
  }
}

/** Takes codes and scales of the weights as they are now: what evaluations compute with and files hold. */
export async function takeCodes(plan: TrainPlan, programs: Programs, step: number): Promise<void> {
  if (plan.quantization === undefined) return;
  const program = await programs.quantize();
  await guardDevice(step, () => program.run(new Map()));
}

export function describeQuantized({ quantization, parameters, states }: TrainPlan): Quantized {
  const weights = quantization?.weights ?? [];
  const kept = new Set(weights.flatMap((weight) => weight.states));
  const names = new Set(weights.map(({ name }) => name));
  return {
    weights: weights.length,
    bytes: states
      .filter(({ name }) => kept.has(name))
      .reduce((sum, state) => sum + elementCount(state.shape) * elementBytes[state.dtype], 0),
    was: 4 * totalElements(parameters.filter(({ name }) => names.has(name))),
  };
}

/** The fields with the states of quantized weights in place of the weights. */
export function inFewBits(plan: TrainPlan, fields: readonly Field[]): Field[] {
  const states = new Map(plan.states.map((state) => [state.name, state]));
  const weights = new Map(plan.quantization?.weights.map((weight) => [weight.name, weight.states]));
  return fields.flatMap((field) => weights.get(field.name)?.flatMap((name) => states.get(name) ?? []) ?? [field]);
}

/** Metadata of a file of weights: which are in few bits, as JSON: { name: { bits, group, shape } }. */
const metadataKey = 'nacre.quantized';

export function quantizedMetadata({ quantization, parameters }: TrainPlan): readonly (readonly [string, string])[] {
  if (quantization === undefined) return [];
  const shapes = new Map(parameters.map(({ name, shape }) => [name, shape]));
  const entries = quantization.weights.map(({ name, bits, group }) => [name, { bits, group, shape: shapes.get(name) }]);
  return [[metadataKey, JSON.stringify(Object.fromEntries(entries))]];
}

/** A weight of a file in few bits, as a `load` sees it: a tensor of the weight's name and shape. */
export interface PackedTensor extends Pick<QuantizedWeight, 'bits' | 'group'> {
  readonly shape: readonly number[];
  readonly codes: StoredTensor;
  readonly scale: StoredTensor;
}

/** The weights in few bits of a file by name, and the names of the tensors they are made of. */
export function packedTensors(
  header: WeightsHeader,
  shown: string,
): { weights: Map<string, PackedTensor>; parts: Set<string> } {
  const weights = new Map<string, PackedTensor>();
  const parts = new Set<string>();
  for (const [name, about] of Object.entries(parseObject(header.metadata.get(metadataKey)))) {
    const entry = parseEntry(about);
    const [codes, scale] = [`quantized.${name}`, `scale.${name}`].map((part) => header.tensors.get(part));
    if (entry === undefined || codes === undefined || scale === undefined || !isWhole(entry, codes, scale))
      throw new UserError(
        'weights-format',
        `${shown} says that it holds ${name} in few bits, but what it holds is something else.`,
      );
    for (const part of ['quantized', 'scale', 'range']) parts.add(`${part}.${name}`);
    weights.set(name, { ...entry, codes, scale });
  }
  return { weights, parts };
}

/** Rows, columns, rows to a group, groups. */
function layout({ shape, group }: Pick<PackedTensor, 'shape' | 'group'>): readonly [number, number, number, number] {
  const columns = shape[shape.length - 1];
  const rows = elementCount(shape.slice(0, -1));
  const of = Math.min(group ?? rows, rows);
  return [rows, columns, of, Math.ceil(rows / of)];
}

function isWhole(
  entry: Pick<PackedTensor, 'shape' | 'group' | 'bits'>,
  codes: StoredTensor,
  scale: StoredTensor,
): boolean {
  const [rows, columns, , groups] = layout(entry);
  const bytes = entry.bits === 8 ? rows * columns : Math.ceil(rows / 2) * columns;
  return codes.bytes === bytes && scale.dtype === 'f32' && scale.bytes === 4 * groups * columns;
}

/** The f32 weight that codes and scales stand for: code · scale. */
export function unpack(file: InputFile, packed: PackedTensor): TypedArray {
  const [rows, columns, group] = layout(packed);
  const codes = readTensor(file, packed.codes, packed.bits === 8 ? 'i8' : 'u8');
  const scale = readTensor(file, packed.scale, 'f32');
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const stored = codes[(packed.bits === 8 ? row : row >> 1) * columns + column];
      const code = packed.bits === 8 ? stored : ((row & 1) === 0 ? stored & 15 : stored >> 4) - 8;
      result[row * columns + column] = code * scale[Math.floor(row / group) * columns + column];
    }
  return result;
}

/** Refuses to train weights on that a file holds in few bits, unless they are rounded while they are trained. */
export function refuseLostRounding(
  plan: TrainPlan,
  shown: string,
  names: readonly string[],
  place: string | undefined,
): void {
  const kept = new Set(plan.quantization?.weights.map(({ name }) => name));
  const lost = plan.parameters.filter(({ name, trained }) => trained && names.includes(name) && !kept.has(name));
  if (lost.length === 0) return;
  const list = lost.map(({ name }) => name);
  const error = new UserError(
    'quantized-weights',
    `${shown} holds ${list.slice(0, 3).join(', ')}${list.length > 3 ? ` and ${list.length - 3} more` : ''} in few bits; trained on without rounding they would not fit these any more.`,
    'Say `quantize … to …` in the train block to train through the rounding, or `freeze` these weights, or load the weights they were made from.',
  );
  throw placed(error, place);
}

function parseObject(json: string | undefined): Record<string, unknown> {
  if (json === undefined) return {};
  try {
    const found: unknown = JSON.parse(json);
    return typeof found === 'object' && found !== null ? { ...found } : {};
  } catch {
    return {};
  }
}

function parseEntry(about: unknown): Pick<PackedTensor, 'shape' | 'group' | 'bits'> | undefined {
  if (typeof about !== 'object' || about === null || !('shape' in about) || !('bits' in about)) return undefined;
  const { shape, bits } = about;
  const group = 'group' in about ? about.group : undefined;
  const isSize = (value: unknown): value is number =>
    typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
  if (!Array.isArray(shape) || shape.length < 2 || !shape.every(isSize) || (bits !== 8 && bits !== 4)) return undefined;
  if (group === undefined) return { shape, bits };
  return isSize(group) ? { shape, bits, group } : undefined;
}
