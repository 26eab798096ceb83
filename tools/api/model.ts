/** A train block on a device: what a program does with it, one thing after the other. */
import type { Field, Programs, Session, TrainPlan, TypedArray } from '../../runtime/program.ts';
import { DeviceError } from '../../runtime/program.ts';
import type { Files } from '../../runtime/files.ts';
import { takingTurns } from '../../runtime/in-turn.ts';
import { pruneDue } from '../../runtime/prune.ts';
import { quantizedMetadata, takeCodes } from '../../runtime/quantize.ts';
import { encodeWeights, joined } from '../../runtime/safetensors.ts';
import { addMeans, chooseInputs, phaseOf, ratio, scalarsOf, type Mean } from '../../runtime/step.ts';
import { learnedWeights, loadWeights } from '../../runtime/weights.ts';
import { assertArray } from './arguments.ts';
import { explained } from './explained.ts';
import type { Batch, SampleTypes } from './tensor.ts';

export type StepResult = { readonly loss: number } & Readonly<Record<string, number>>;

/** A train block on a device, with its weights as they are now. Calls may overlap: each is done when those before it are. */
export interface Model<Data extends SampleTypes = SampleTypes> {
  readonly target: string;
  readonly plan: TrainPlan;
  /** Optimizer steps done. */
  readonly steps: number;
  /**
   * One optimizer step on a batch, or a part of one where the block accumulates: every `accumulate`th call updates. Resolves to the
   * loss before it and what else the step reports (`lr`, `grad_norm`). Prunes what is due before.
   */
  step(batch: Batch<Data>): Promise<StepResult>;
  /** The metrics of an `eval` line (the only one, where there is one) on a batch. */
  evaluate(batch: Batch<Data>, name?: string): Promise<Readonly<Record<string, number>>>;
  /** A parameter, a buffer or a state of the optimizer, by its path: `model.fc1.weight`. */
  read(name: string): Promise<TypedArray>;
  write(name: string, data: TypedArray): Promise<void>;
  /** The weights as a safetensors file. */
  save(): Promise<Uint8Array>;
  /** In its turn as well: what was asked for before is done, what is asked for later refused. */
  close(): void;
}

/** Does what it is given when all that it was given before is done, and nothing any more once the model is closed. */
export type InTurn = <Result>(act: () => Promise<Result>) => Promise<Result>;

/** The model with the first values of its weights. `samples`: elements of one, by field; `files`: what it loads. */
export async function onDevice(
  plan: TrainPlan,
  programs: Programs,
  samples: ReadonlyMap<string, number>,
  files: Files,
): Promise<{ readonly model: Model; readonly inTurn: InTurn }> {
  const { session }: { session: Session } = programs;
  try {
    if ((plan.quantization?.calibrate ?? 0) > 0)
      throw new DeviceError(
        `${plan.name} calibrates on its data before the first step, which only \`nacre train\` and a built \`train.js\` do.`,
      );
    const init = await programs.init();
    await init.run(chooseInputs(init, new Map(), scalarsOf(plan.seed, 0, 0, 0)));
    loadWeights(plan, files, session);
  } catch (error) {
    session.close();
    throw error;
  }
  let steps = 0;
  let micro = 0;
  let closed = false;
  // Programs of a session share buffers, and a step reads the number of the one before: two at once would be neither.
  const then = takingTurns();
  const inTurn: InTurn = async (act) => {
    if (closed) throw new DeviceError('The session is closed.');
    return then(() => explained(act));
  };
  const fieldsOf = (batch: Batch): ReadonlyMap<string, TypedArray> => new Map(Object.entries(batch));
  const model: Model = {
    target: session.target,
    plan,
    get steps() {
      return steps;
    },
    step: (batch) =>
      inTurn(async () => {
        const phase = phaseOf(micro, plan.accumulate);
        const program = await programs.step(sizeOf(batch, samples), phase);
        if (micro === 0) await pruneDue(plan, programs, steps);
        const inputs = chooseInputs(program, fieldsOf(batch), scalarsOf(plan.seed, steps + 1, micro, 0));
        const results = await program.run(inputs);
        micro = phase === 'accumulate' ? micro + 1 : 0;
        if (micro === 0) steps++;
        const means = new Map<string, Mean>();
        addMeans(means, results);
        const others = [...results].filter(([name, value]) => value.length === 1 && !/\.(sum|count)$/.test(name));
        return {
          ...Object.fromEntries(others.map(([name, value]) => [name, value[0]])),
          loss: ratio(means.get('loss') ?? { sum: NaN, count: 1 }),
        };
      }),
    evaluate: (batch, name = plan.evaluations[0]?.name) =>
      inTurn(async () => {
        if (name === undefined) throw new DeviceError(`The train block ${plan.name} has no eval line.`);
        const names = plan.evaluations.map((evaluation) => evaluation.name);
        if (!names.includes(name))
          throw new DeviceError(`The train block ${plan.name} has no evaluation ${name}; it has ${names.join(', ')}.`);
        await takeCodes(plan, programs, steps);
        const program = await programs.evaluate(name, sizeOf(batch, samples));
        const means = new Map<string, Mean>();
        addMeans(means, await program.run(chooseInputs(program, fieldsOf(batch), scalarsOf(plan.seed, steps, 0, 0))));
        return Object.fromEntries([...means].map(([metric, mean]) => [metric, ratio(mean)]));
      }),
    read: (name) => inTurn(() => session.read(name)),
    write: (name, data) =>
      inTurn(async () => {
        assertArray(`What is written to ${name}`, data);
        session.write(name, data);
      }),
    save: () =>
      inTurn(async () => {
        await takeCodes(plan, programs, steps);
        const tensors: { field: Field; data: TypedArray }[] = [];
        for (const field of learnedWeights(plan)) tensors.push({ field, data: await session.read(field.name) });
        const metadata = [['nacre', 'weights'], ['step', String(steps)], ...quantizedMetadata(plan)] as const;
        return joined(encodeWeights(tensors, new Map(metadata)));
      }),
    close() {
      closed = true;
      void then(() => session.close());
    },
  };
  return { model, inTurn };
}

/** How many samples the arrays of a batch hold; `samples` are the elements of one, by field. */
function sizeOf(batch: Batch, samples: ReadonlyMap<string, number>): number {
  let size: number | undefined;
  if (typeof batch !== 'object' || batch === null)
    throw new DeviceError(`There is no batch; it needs ${[...samples.keys()].join(', ')}.`);
  for (const [name, elements] of samples) {
    const data = batch[name];
    if (data === undefined)
      throw new DeviceError(`The batch has no \`${name}\`; it needs ${[...samples.keys()].join(', ')}.`);
    assertArray(`\`${name}\` of the batch`, data);
    const count = data.length / elements;
    if (!Number.isInteger(count) || count === 0 || (size !== undefined && count !== size))
      throw new DeviceError(
        `\`${name}\` has ${data.length} elements, which are not ${size ?? 'a whole number of'} samples of ${elements}.`,
      );
    size = count;
  }
  return size ?? 1;
}
