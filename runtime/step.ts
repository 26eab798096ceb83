/** One optimizer step: its micro-batches in, its loss and other scalars out, with a guard against divergence. */
import type { Batch } from './data/dataset.ts';
import { UserError } from './errors.ts';
import { seedWords } from './philox.ts';
import {
  DeviceError,
  DeviceLost,
  type Executable,
  type Programs,
  type StepPhase,
  type TrainPlan,
  type TypedArray,
} from './program.ts';
import type { Progress } from './run-folder.ts';

/** The scalars that a program may declare as inputs. */
export const scalarsOf = (seed: number, step: number, micro: number, epoch: number): Map<string, TypedArray> =>
  new Map([
    ['step', Uint32Array.of(step)],
    ['micro', Uint32Array.of(micro)],
    ['epoch', Uint32Array.of(epoch)],
    ['seed', seedWords(seed)],
  ]);

/** The i32 that a cast makes of a number; NaN is 0 in an array of them. */
const nearestInt = (value: number): number => Math.min(Math.max(value, -(2 ** 31)), 2 ** 31 - 1);

/** Picks from everything that can be given the inputs that a program declares. */
export function chooseInputs(
  executable: Executable,
  fields: ReadonlyMap<string, TypedArray>,
  scalars: ReadonlyMap<string, TypedArray>,
): Map<string, TypedArray> {
  return new Map(
    executable.inputs.map(({ name, dtype }) => {
      const data = fields.get(name) ?? scalars.get(name);
      if (data === undefined) throw new Error(`the program wants an input "${name}" that the data do not have`);
      // A program that only takes a rounded copy is given that.
      if (data instanceof Float64Array && dtype === 'f32') return [name, Float32Array.from(data)];
      if (data instanceof Float64Array && dtype === 'i32') return [name, Int32Array.from(data, nearestInt)];
      return [name, data];
    }),
  );
}

/** A running sum and count, whose ratio does not depend on how samples were cut into batches. */
export interface Mean {
  readonly sum: number;
  readonly count: number;
}

/** Adds every `<name>.sum` and `<name>.count` of a run's results to the means. */
export function addMeans(means: Map<string, Mean>, results: ReadonlyMap<string, TypedArray>): void {
  for (const [key, value] of results) {
    if (!key.endsWith('.sum')) continue;
    const name = key.slice(0, -'.sum'.length);
    const count = results.get(`${name}.count`);
    if (count === undefined) throw new Error(`the program gave ${key} without its count`);
    const before = means.get(name);
    means.set(name, { sum: (before?.sum ?? 0) + value[0], count: (before?.count ?? 0) + count[0] });
  }
}

export const ratio = ({ sum, count }: Mean): number => sum / count;

/** Says which step it was when the device fails. */
export async function guardDevice<Result>(step: number, act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof DeviceError && !(error instanceof DeviceLost))
      throw new UserError('device', `${step === 0 ? 'At the start' : `In step ${step}`}: ${error.message}`);
    throw error;
  }
}

export interface StepDone {
  readonly progress: Progress;
  /** Everything the program reports besides its loss, by name. */
  readonly scalars: Readonly<Record<string, number>>;
}

/** How far the steps are that were begun. */
export type Position = Pick<Progress, 'step' | 'epoch' | 'batch'>;

/** A step that the device has, or has done. */
export interface Begun {
  readonly after: Position;
  /** Waits for what it reports. */
  finish(before: Progress): Promise<StepDone>;
}

/** Where micro-batch number `micro` of a group stands in it. */
export const phaseOf = (micro: number, group: number): StepPhase =>
  group === 1 ? 'only' : micro === group - 1 ? 'last' : 'accumulate';

export type Stepper = (batches: AsyncGenerator<Batch, void>, at: Position) => Promise<Begun>;

/** Makes the function that begins the next step of a run. On a device that queues, it returns before the step is done. */
export function makeStepper(plan: TrainPlan, programs: Programs, batchesPerEpoch: number): Stepper {
  return async (batches, at) => {
    const step = at.step + 1;
    // The end of an epoch closes its last group, however small.
    const group = Math.min(plan.accumulate, batchesPerEpoch - at.batch);
    const runs: Promise<ReadonlyMap<string, TypedArray>>[] = [];
    let explain = (): ReturnType<NonNullable<Programs['explainSkip']>> => Promise.resolve(undefined);
    for (let micro = 0; micro < group; micro++) {
      const next = await batches.next();
      if (next.done === true)
        throw new Error(`the epoch ended before its batch ${at.batch + micro + 1} of ${batchesPerEpoch}`);
      const phase = phaseOf(micro, group);
      const program = await programs.step(next.value.size, phase);
      const inputs = chooseInputs(program, next.value.fields, scalarsOf(plan.seed, step, micro, at.epoch));
      const run = program.run(inputs);
      if (programs.session.queues !== true) await run;
      // What goes wrong is said where it is waited for.
      run.catch(() => {});
      runs.push(run);
      const { size } = next.value;
      explain = async () => programs.explainSkip?.(size, phase, inputs);
    }
    const after = { step, epoch: at.epoch, batch: at.batch + group };
    return { after, finish: async (before) => report(await Promise.all(runs), before) };

    async function report(micros: readonly ReadonlyMap<string, TypedArray>[], before: Progress): Promise<StepDone> {
      const means = new Map<string, Mean>();
      for (const results of micros) addMeans(means, results);
      const loss = means.get('loss');
      if (loss === undefined) throw new Error('the step program gave no loss');
      const scalars = otherScalars(means, micros[micros.length - 1]);
      const last = ratio(loss);
      const skips = scalars[skipped] ?? 0;
      if (skips >= mostSkips) throw tooManySkips(step, skips, await explain());
      const sound = skips === 0 || (Number.isFinite(loss.sum) && Number.isFinite(loss.count));
      if (skips === 0 && (!Number.isFinite(last) || !Number.isFinite(scalars.grad_norm ?? 0)))
        throw diverged(
          step,
          Number.isFinite(last) ? `the norm of its gradient is ${scalars.grad_norm}` : `its loss is ${last}`,
          await spoiledParameters(plan, programs),
        );
      const { sum, count } = before.loss;
      return {
        progress: {
          ...before,
          ...after,
          last,
          measured: [],
          // What a skipped step computed is no number, but nothing came of it.
          loss: sound ? { sum: sum + loss.sum, count: count + loss.count } : before.loss,
        },
        scalars,
      };
    }
  };
}

/** The scalar by which a program that scales its loss says how many steps in a row it skipped. */
const skipped = 'skipped_in_a_row';
/** The scale has been at its floor for most of them: it is not what is wrong. */
const mostSkips = 50;

function tooManySkips(step: number, skips: number, why: { text: string; hint: string } | undefined): UserError {
  return new UserError(
    'all-skipped',
    `In step ${step}: ${skips} steps in a row were skipped, because their gradients were not finite however the loss was scaled.${why === undefined ? '' : ` ${why.text}`}`,
    why?.hint ?? 'Lower the learning rate, keep what grows in f32 with `precision = … except …`, or use bf16.',
  );
}

function otherScalars(
  means: ReadonlyMap<string, Mean>,
  results: ReadonlyMap<string, TypedArray>,
): Record<string, number> {
  const scalars: Record<string, number> = {};
  for (const [name, mean] of means) if (name !== 'loss') scalars[name] = ratio(mean);
  for (const [name, value] of results) {
    if (value.length === 1 && !name.endsWith('.sum') && !name.endsWith('.count')) scalars[name] = value[0];
  }
  return scalars;
}

/** Refuses to go on, and above all to save, where a step has left weights that are no numbers. */
export async function refuseSpoiled(plan: TrainPlan, programs: Programs, step: number): Promise<void> {
  const spoiled = await spoiledParameters(plan, programs);
  if (spoiled.length > 0) throw diverged(step, 'the weights it left cannot be used', spoiled);
}

/** Bits of the exponent of the two-byte types; all of them set means infinite or no number. */
const exponentBits = { f16: 0x7c00, bf16: 0x7f80 } as const;

async function spoiledParameters(plan: TrainPlan, programs: Programs): Promise<string[]> {
  const spoiledOnes: string[] = [];
  for (const { name, dtype } of plan.parameters) {
    const data = await programs.session.read(name);
    let spoiled = false;
    if (dtype === 'f16' || dtype === 'bf16') {
      const bits = exponentBits[dtype];
      for (let i = 0; i < data.length && !spoiled; i++) spoiled = (data[i] & bits) === bits;
    } else {
      for (let i = 0; i < data.length && !spoiled; i++) spoiled = !Number.isFinite(data[i]);
    }
    if (spoiled) spoiledOnes.push(name);
  }
  return spoiledOnes;
}

function diverged(step: number, what: string, spoiled: readonly string[]): UserError {
  const where = spoiled.length === 0 ? '' : ` These now hold values that are no numbers: ${listNames(spoiled)}.`;
  return new UserError(
    'diverged',
    `Training diverged in step ${step}: ${what}.${where} Nothing of this step was saved.`,
    'Lower the learning rate, warm it up, or limit the gradient with: clip norm 1.0',
  );
}

const listNames = (names: readonly string[]): string =>
  names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');
