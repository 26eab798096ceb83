/**
 * Nacre from TypeScript, in Node and in a browser's bundle: a model from a string, trained step by step on arrays that the program
 * has at hand. `nacre train` does more — data from files, checkpoints, reports — and is built from the same parts.
 *
 *   import { compile } from 'nacre';
 *   const model = await compile(source, { data: { x: { dtype: 'f32', shape: [2] }, y: { dtype: 'i32', shape: [] } } });
 *   const { loss } = await model.step({ x, y });
 *   const [logits] = await model.infer({ dtype: 'f32', shape: [1, 2], data: point });
 */
import { elementCount } from '../../common/elements.ts';
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { loadProgram } from '../../compiler/elaborate/modules.ts';
import { buildInference } from '../../compiler/elaborate/infer.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import type { TensorType } from '../../compiler/types/tensor.ts';
import { builtPrograms, readTrainer } from '../../runtime/artefact.ts';
import { inBrowser } from '../../runtime/browser.ts';
import type { Field, TrainPlan } from '../../runtime/program.ts';
import { memoryFiles } from '../../runtime/memory-files.ts';
import { DeviceError } from '../../runtime/program.ts';
import { diagnosed } from '../driver/diagnosed.ts';
import { createPrograms } from '../driver/programs.ts';
import type { TargetName } from '../driver/targets/index.ts';
import { type RunnableTrain, trainBlocks } from '../driver/train-blocks.ts';
import { assertArray, assertFiles, assertFolder, assertOptions, assertText, assertType } from './arguments.ts';
import { explained } from './explained.ts';
import { type Model, onDevice } from './model.ts';
import type { Platform } from './platform.ts';
import { recentPrograms } from './recent.ts';
import { standardLibrary } from './standard-library.ts';
import { type SampleTypes, type Tensor, tensorOf } from './tensor.ts';

export { DeviceError, DeviceLost } from '../../runtime/program.ts';
export { UserError } from '../../runtime/errors.ts';
export type { ElementType, Field, TypedArray } from '../../runtime/program.ts';
export { ModelError } from './explained.ts';
export type { Model, StepResult } from './model.ts';
export type { ArrayOf, Batch, SampleType, SampleTypes, Tensor } from './tensor.ts';

export interface CompileOptions<Data extends SampleTypes = SampleTypes> {
  /** The train block, where the text has several. */
  readonly train?: string;
  /** The fields that its data have before `map`; those of generated data are known. */
  readonly data?: Data;
  /** `auto`: in Node machine code where libLLVM is found; else, and in a page, a GPU where there is one; else WebAssembly. */
  readonly target?: TargetName;
  /** Threads of the processor; all there are where nothing is said. */
  readonly threads?: number;
  /** Of everything random, instead of the block's own. */
  readonly seed?: number;
  /** The files of weights that its `load` lines name. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
}

export interface CompiledModel<Data extends SampleTypes = SampleTypes> extends Model<Data> {
  /** The block's model (its only one, else `of`) applied to inputs, as after training; one tensor for each that it gives. */
  infer(input: Tensor | readonly Tensor[], of?: string): Promise<readonly Tensor[]>;
}

/** For how many kinds of inputs `infer` keeps the program that it compiled. */
const keptInferences = 8;

/** Compiles the train block of a model's text and fills its weights. Throws ModelError, DeviceError or UserError. */
export async function compile<const Data extends SampleTypes = SampleTypes>(
  source: string,
  options: CompileOptions<Data> = {},
): Promise<CompiledModel<Data>> {
  assertText(source);
  assertOptions(options, ['train', 'data', 'target', 'threads', 'seed', 'files']);
  const { target: on = 'auto', threads, seed, files = {} } = options;
  for (const [name, type] of Object.entries(options.data ?? {})) assertType(`\`${name}\``, type, 1);
  assertFiles(files);
  const runnable = await read(source, options);
  const { block, data } = runnable;
  const plan = seed === undefined ? runnable.plan : { ...runnable.plan, seed };
  if (block.prunes.some(({ structured }) => structured))
    throw new DeviceError(
      `${plan.name} removes columns, which is decided before it is compiled: build it with \`nacre build\`, and \`load\` what that gives.`,
    );
  const target = await (await platform()).openTarget(on, threads);
  const samples = new Map(data.train.fields.map((field) => [field.name, elementCount(field.shape)]));
  const programs = createPrograms(block, data, target);
  const weights = memoryFiles(new Map(Object.entries(files)), 'in `files`');
  const { model, inTurn } = await onDevice(plan, programs, samples, weights);
  const programFor = recentPrograms(keptInferences);
  const infer = async (inputs: readonly Tensor[], root: string): Promise<readonly Tensor[]> => {
    if (!block.roots.has(root))
      throw new DeviceError(`The train block has no model \`${root}\`; it has ${[...block.roots.keys()].join(', ')}.`);
    for (const [at, input] of inputs.entries()) {
      assertType(`input ${at + 1}`, input, 0);
      assertArray(`The data of input ${at + 1}`, input.data);
    }
    const types = inputs.map(({ dtype, shape }) => ({ dtype, shape }));
    const program = await programFor(JSON.stringify([root, types]), () =>
      target.load(inference(runnable, root, types)),
    );
    const results = await program.run(new Map(inputs.map((tensor, at) => [`x${at}`, tensor.data])));
    return program.results.map((field) => {
      const data = results.get(field.name);
      if (data === undefined) throw new Error(`the program gave no ${field.name}`);
      return tensorOf(field, data);
    });
  };
  return {
    ...model,
    get steps() {
      return model.steps;
    },
    infer: (input, of = [...block.roots.keys()][0]) => inTurn(() => infer(isList(input) ? input : [input], of)),
  };
}

export interface LoadOptions {
  /** Threads of the processor; all there are where nothing is said. */
  readonly threads?: number;
  /** Of everything random, instead of the block's own. */
  readonly seed?: number;
  /** The files of weights that its `load` lines name; one that is not here is taken from the folder. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
}

/** Opens a folder that `nacre build` wrote: by its address in a page, by its path in Node. Throws DeviceError or UserError. */
export async function load(folder: string | URL, options: LoadOptions = {}): Promise<Model> {
  assertFolder(folder);
  assertOptions(options, ['threads', 'seed', 'files']);
  const { threads, seed, files = {} } = options;
  assertFiles(files);
  const { readerOf, openBuilt } = await platform();
  const file = readerOf(folder);
  const trainer = readTrainer(await file('trainer.json'));
  const plan = seed === undefined ? trainer.plan : { ...trainer.plan, seed };
  // A step of any size says what a sample of each field is.
  const step = Object.entries(trainer.programs).find(([key]) => key.startsWith('step-'))?.[1];
  const batch = (step?.buffers ?? []).filter(({ role }) => role === 'batch');
  const samples = new Map(batch.map(({ name, shape }) => [name, elementCount(shape.slice(1))]));
  const weights = new Map(Object.entries(files));
  for (const { path } of plan.loads) {
    if (weights.has(path)) continue;
    const found = await file(path).catch((error: unknown) => {
      // Said where it is opened, with the line that wants it.
      if (error instanceof DeviceError) return undefined;
      throw error;
    });
    if (found !== undefined) weights.set(path, found);
  }
  const programs = builtPrograms(trainer, await openBuilt(trainer.target, threads), file);
  const { model } = await onDevice(plan, programs, samples, memoryFiles(weights, `in \`files\` or in ${folder}`));
  return model;
}

/** What there is where this runs; nothing of the other place is loaded. */
const platform = (): Promise<Platform> => (inBrowser ? import('./page.ts') : import('./node.ts'));

async function read(text: string, { train, data = {} }: CompileOptions): Promise<RunnableTrain> {
  const fields = Object.entries(data).map(([name, type]): Field => ({ name, ...type }));
  const readModule = (name: string) => {
    const library = standardLibrary[name];
    return library === undefined ? undefined : { name: `stdlib/${name.replace('std.', '')}.model`, text: library };
  };
  return explained(async () => {
    const program = loadProgram({ name: 'model', text }, readModule, Object.keys(standardLibrary));
    const shown = { name: 'The text', ask: (block: string) => `: \`compile(text, { train: '${block}' })\`` };
    // As many samples as a whole batch has: what comes is given step by step.
    const blocks = trainBlocks(program, shown, async (plan) => ({
      count: plan.kind === 'batch' ? plan.size : 1,
      fields: fields.length === 0 ? generated(plan) : fields,
    }));
    return blocks.train(train);
  });
}

/** Array.isArray forgets what the elements are. */
const isList = (input: Tensor | readonly Tensor[]): input is readonly Tensor[] => Array.isArray(input);

/** Generated data have the number of the sample. */
function generated(plan: TrainPlan['data']): readonly Field[] {
  if ('of' in plan) return generated(plan.of);
  return plan.kind === 'generate' ? [{ name: plan.index, dtype: 'i32', shape: [] }] : [];
}

function inference({ block }: RunnableTrain, root: string, types: readonly TensorType[]): Graph {
  const diagnostics = new Diagnostics();
  return diagnosed(diagnostics, () => buildInference(block, root, types, diagnostics));
}
