/** Which tensor of a weight file fills which parameter: the rules of a `load` block, applied all at once. */
import { nearestName, placed, UserError } from './errors.ts';
import type { Files, InputFile } from './files.ts';
import type { ElementType, Field, LoadRule, Session, TrainPlan, TypedArray } from './program.ts';
import { inFewBits, packedTensors, refuseLostRounding, unpack, type PackedTensor } from './quantize.ts';
import { readTensor, readWeightsHeader, type StoredTensor } from './safetensors.ts';

/** A file's tensors by name with the rules that place them. */
export interface LoadRequest {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>;
  readonly rules: readonly LoadRule[];
}

/** One parameter and the tensor that fills it. */
export interface Placement {
  readonly parameter: string;
  readonly load: LoadRequest;
  readonly tensor: string;
}

/** Metadata of a checkpoint: the tensors that are no weights (optimizer moments), as JSON; a `load` passes them over. */
export const notWeights = 'nacre.not-weights';

/**
 * Places the tensors of the files among the parameters. A tensor goes where the first rule that matches it says, and
 * without one to the parameter of its own name. Nothing is passed over in silence: a tensor nobody wants, a parameter
 * nobody fills and has not been declared `fresh`, a rule that matches nothing, a shape that differs are errors, and all
 * of them are reported together.
 */
export function applyLoadRules(loads: readonly LoadRequest[], parameters: readonly Field[]): Placement[] {
  const byName = new Map(parameters.map((field) => [field.name, field]));
  const filled = new Map<string, Placement>();
  const problems: string[] = [];
  const fresh = new Set<string>();
  for (const load of loads) {
    const used = new Set<LoadRule>();
    for (const rule of load.rules) {
      if (rule.kind !== 'fresh') continue;
      const pattern = compilePattern(rule.to);
      const names = [...byName.keys()].filter((name) => pattern.match(name) !== undefined);
      names.forEach((name) => fresh.add(name));
      if (names.length > 0) used.add(rule);
    }
    for (const [tensor, { shape }] of load.tensors) {
      const place = destination(tensor, load.rules, used);
      if (place === undefined) continue;
      const field = byName.get(place.parameter);
      if (field === undefined || (place.rule === undefined && fresh.has(place.parameter))) {
        problems.push(leftOver(load, tensor, place, field !== undefined, byName));
        continue;
      }
      const other = filled.get(field.name);
      if (other !== undefined) {
        problems.push(`"${other.tensor}" and "${tensor}" both go to ${field.name}.`);
      } else if (!sameShape(shape, field.shape)) {
        problems.push(
          `"${tensor}" of ${load.path} has shape [${shape.join(', ')}]; ${field.name} has [${field.shape.join(', ')}].${shapeHint(shape, field.shape)}`,
        );
        filled.set(field.name, { parameter: field.name, load, tensor });
      } else {
        filled.set(field.name, { parameter: field.name, load, tensor });
      }
    }
    for (const rule of load.rules) if (!used.has(rule)) problems.push(matchesNothing(load, rule, byName));
  }
  const offered = loads.flatMap((load) => [...load.tensors.keys()]);
  for (const { name } of parameters) {
    if (filled.has(name) || fresh.has(name)) continue;
    const near = nearestName(name, offered);
    problems.push(`No tensor fills ${name}.${near === undefined ? '' : ` The nearest is "${near}".`}`);
  }
  if (problems.length > 0) {
    const shown = problems.slice(0, 20);
    if (problems.length > shown.length) shown.push(`… and ${problems.length - shown.length} more.`);
    throw new UserError(
      'weights-rules',
      `The weights of ${loads.map((load) => load.path).join(', ')} do not fit the model:\n  ${shown.join('\n  ')}`,
      'In the load block: "from.*" -> model.to.* renames, skip "name" leaves a tensor out, fresh model.name keeps a parameter\'s first values.',
    );
  }
  return [...filled.values()];
}

interface Destination {
  readonly parameter: string;
  /** The rule that sends the tensor there; undefined where it goes by its own name. */
  readonly rule: LoadRule | undefined;
}

/** Where a tensor goes; undefined where a rule skips it. */
function destination(tensor: string, rules: readonly LoadRule[], used: Set<LoadRule>): Destination | undefined {
  for (const rule of rules) {
    if (rule.kind === 'fresh') continue;
    const found = compilePattern(rule.from).match(tensor);
    if (found === undefined) continue;
    used.add(rule);
    return rule.kind === 'skip' ? undefined : { parameter: fillPattern(rule.to, found), rule };
  }
  return { parameter: tensor, rule: undefined };
}

function leftOver(
  load: LoadRequest,
  tensor: string,
  place: Destination,
  isFresh: boolean,
  parameters: ReadonlyMap<string, Field>,
): string {
  if (isFresh) return `"${tensor}" of ${load.path} goes to ${place.parameter}, which is declared fresh; skip it.`;
  const near = nearestName(place.parameter, parameters.keys());
  const where =
    place.rule === undefined
      ? 'no rule and no parameter wants it'
      : `its rule sends it to ${place.parameter}, which is no parameter`;
  return `"${tensor}" of ${load.path} is left over: ${where}.${near === undefined ? '' : ` The nearest parameter is ${near}.`}`;
}

function matchesNothing(load: LoadRequest, rule: LoadRule, parameters: ReadonlyMap<string, Field>): string {
  const selector = rule.kind === 'fresh' ? rule.to : rule.from;
  const near = nearestName(selector, rule.kind === 'fresh' ? parameters.keys() : load.tensors.keys());
  const what =
    rule.kind === 'fresh'
      ? `fresh ${selector} matches no parameter`
      : `"${selector}" matches no tensor of ${load.path} that is still free`;
  return `${what}.${near === undefined ? '' : ` The nearest is ${near}.`}`;
}

const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((size, axis) => size === b[axis]);

function shapeHint(file: readonly number[], model: readonly number[]): string {
  return file.length === 2 && file[0] !== file[1] && sameShape([...file].reverse(), model)
    ? " It looks transposed: PyTorch keeps a linear layer's weight as [out, in]."
    : '';
}

interface Pattern {
  /** What the wildcards stood for, or undefined where the name does not match. */
  match(name: string): readonly string[] | undefined;
}

const patterns = new Map<string, Pattern>();

/** `*` stands for any run of characters, `{a, b}` for one of the alternatives; all else for itself. */
function compilePattern(text: string): Pattern {
  const known = patterns.get(text);
  if (known !== undefined) return known;
  const source = text.replace(/\*+|\{[^{}]*\}|[^*{]+|\{/g, (part) => {
    if (part.startsWith('*')) return '(.*)';
    if (part.startsWith('{') && part.endsWith('}'))
      return `(${part
        .slice(1, -1)
        .split(',')
        .map((option) => escape(option.trim()))
        .join('|')})`;
    return escape(part);
  });
  const expression = new RegExp(`^${source}$`, 's');
  const pattern: Pattern = { match: (name) => expression.exec(name)?.slice(1) };
  patterns.set(text, pattern);
  return pattern;
}

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** Puts what the wildcards of the left side stood for in place of those of the right side, in order. */
function fillPattern(to: string, found: readonly string[]): string {
  let next = 0;
  return to.replace(/\*+|\{[^{}]*\}/g, () => found[next++] ?? '');
}

/** What `load` fills: the parameters of the model and its buffers. */
export const weightsOf = (plan: TrainPlan): Field[] => [
  ...plan.parameters,
  ...plan.states.filter((state) => state.buffer),
];

/**
 * What a file of weights holds: those of the models that the run trains, with what is frozen in them; of quantized weights their
 * codes and scales. A model that is frozen whole, as a teacher, is a file of its own already; checkpoints have it.
 */
export function learnedWeights(plan: TrainPlan): Field[] {
  const modelOf = ({ name }: Field): string => name.split('.')[0];
  const quantized = new Set(plan.quantization?.weights.map(({ name }) => name));
  const isLearned = ({ name, trained }: TrainPlan['parameters'][number]): boolean => trained || quantized.has(name);
  const learning = new Set(plan.parameters.filter(isLearned).map(modelOf));
  const fixed = new Set(plan.parameters.filter((field) => !isLearned(field)).map(modelOf));
  return inFewBits(
    plan,
    weightsOf(plan).filter((field) => learning.has(modelOf(field)) || !fixed.has(modelOf(field))),
  );
}

const isPacked = (tensor: StoredTensor | PackedTensor | undefined): tensor is PackedTensor =>
  tensor !== undefined && 'codes' in tensor;

/** Reads the weight files of a plan into the session. */
export function loadWeights(plan: TrainPlan, files: Files, session: Session): void {
  if (plan.loads.length === 0) return;
  const opened: InputFile[] = [];
  try {
    const sources = new Map<
      LoadRequest,
      {
        readonly file: InputFile;
        readonly tensors: ReadonlyMap<string, StoredTensor | PackedTensor>;
        readonly place: string | undefined;
      }
    >();
    for (const { path, rules, place } of plan.loads)
      try {
        const file = files.open(path);
        opened.push(file);
        const header = readWeightsHeader(file);
        const passed = new Set(parseNames(header.metadata.get(notWeights)));
        const packed = packedTensors(header, file.shown);
        const plain = [...header.tensors].filter(([name]) => !passed.has(name) && !packed.parts.has(name));
        const tensors = new Map<string, StoredTensor | PackedTensor>([...plain, ...packed.weights]);
        sources.set({ path, rules, tensors }, { file, tensors, place });
      } catch (error) {
        throw placed(error, place);
      }
    const fields = new Map(weightsOf(plan).map((field) => [field.name, field]));
    const placements = applyLoadRules([...sources.keys()], [...fields.values()]);
    for (const [load, { file, tensors, place }] of sources) {
      const packed = placements.filter(({ load: from, tensor }) => from === load && isPacked(tensors.get(tensor)));
      refuseLostRounding(
        plan,
        file.shown,
        packed.map(({ parameter }) => parameter),
        place,
      );
    }
    for (const { parameter, load, tensor } of placements) {
      const source = sources.get(load);
      const stored = source?.tensors.get(tensor);
      const field = fields.get(parameter);
      if (source === undefined || stored === undefined || field === undefined)
        throw new Error(`load placed ${tensor} nowhere`);
      session.write(
        parameter,
        isPacked(stored) ? unpack(source.file, stored) : readTensor(source.file, stored, field.dtype),
      );
    }
  } finally {
    opened.forEach((file) => file.close());
  }
}

function parseNames(json: string | undefined): string[] {
  if (json === undefined) return [];
  try {
    const names: unknown = JSON.parse(json);
    return Array.isArray(names) ? names.filter((name) => typeof name === 'string') : [];
  } catch {
    return [];
  }
}

/** Fills fields of the session from a file that has exactly these tensors and perhaps others, as states of no use any more. */
export function restoreFields(
  file: InputFile,
  fields: readonly Field[],
  write: (name: string, data: TypedArray) => void,
): void {
  const { tensors } = readWeightsHeader(file);
  const problems: string[] = [];
  const found: { readonly tensor: StoredTensor; readonly name: string; readonly dtype: ElementType }[] = [];
  for (const { name, shape, dtype } of fields) {
    const tensor = tensors.get(name);
    if (tensor === undefined) problems.push(`it has no ${name}`);
    else if (!sameShape(tensor.shape, shape))
      problems.push(`its ${name} has shape [${tensor.shape.join(', ')}], now it is [${shape.join(', ')}]`);
    else found.push({ tensor, name, dtype });
  }
  if (problems.length > 0) {
    throw new UserError(
      'checkpoint-differs',
      `${file.shown} was saved by another model or optimizer: ${problems.slice(0, 8).join('; ')}.`,
      'Use the .model file and the settings the run was started with; the run folder keeps both in config.json.',
    );
  }
  for (const { tensor, name, dtype } of found) write(name, readTensor(file, tensor, dtype));
}
