/** Runs the evaluations of a train block, and those of a finished run again. */
import { openData, type Dataset } from './data/dataset.ts';
import { UserError } from './errors.ts';
import type { Files } from './files.ts';
import type { Executable, Programs, Session, TrainPlan, TypedArray } from './program.ts';
import { programVersion } from './program.ts';
import { seedWords } from './philox.ts';
import { openRun } from './run-folder.ts';
import { restoreFields, weightsOf } from './weights.ts';

/** Picks from everything that can be given the inputs that a program declares. */
export function chooseInputs(
  executable: Executable, fields: ReadonlyMap<string, TypedArray>, scalars: ReadonlyMap<string, TypedArray>,
): Map<string, TypedArray> {
  return new Map(executable.inputs.map(({ name }) => {
    const data = fields.get(name) ?? scalars.get(name);
    if (data === undefined) throw new Error(`the program wants an input "${name}" that the data do not have`);
    return [name, data];
  }));
}

/** A running sum and count, whose ratio does not depend on how samples were cut into batches. */
export interface Mean {
  readonly sum: number;
  readonly count: number;
}

/** Adds the `<name>.sum` and `<name>.count` of a run's results to the means. */
export function addMeans(means: Map<string, Mean>, results: ReadonlyMap<string, TypedArray>): void {
  for (const [key, value] of results) {
    if (!key.endsWith('.sum')) continue;
    const name = key.slice(0, -'.sum'.length);
    const count = results.get(`${name}.count`);
    if (count === undefined) continue;
    const before = means.get(name);
    means.set(name, { sum: (before?.sum ?? 0) + value[0], count: (before?.count ?? 0) + count[0] });
  }
}

export const ratio = ({ sum, count }: Mean): number => sum / count;

type Evaluation = TrainPlan['evaluations'][number];

/** An evaluation with its data open. */
export interface OpenEvaluation {
  readonly plan: Evaluation;
  readonly data: Dataset;
}

export function openEvaluations(plan: TrainPlan, files: Files): Promise<OpenEvaluation[]> {
  return Promise.all(plan.evaluations.map(async (evaluation) =>
    ({ plan: evaluation, data: await openData(evaluation.data, files, { batch: evaluation.batch }) })));
}

/** The metrics over all samples; undefined where `pause` said to stop. `pause` is asked after each batch. */
export async function evaluate(
  { plan, data }: OpenEvaluation, programs: Programs, seed: number, step: number, pause: () => Promise<boolean>,
): Promise<Map<string, number> | undefined> {
  const means = new Map<string, Mean>();
  const scalars = new Map([
    ['step', Uint32Array.of(step)], ['seed', seedWords(seed)], ['micro', Uint32Array.of(0)], ['epoch', Uint32Array.of(0)],
  ]);
  for await (const batch of data.batches(0)) {
    const program = await programs.evaluate(plan.name, batch.size);
    addMeans(means, await program.run(chooseInputs(program, batch.fields, scalars)));
    if (await pause()) return undefined;
  }
  return new Map(plan.metrics.map((metric) => {
    const mean = means.get(metric);
    if (mean === undefined) throw new Error(`the evaluation ${plan.name} gave no "${metric}"`);
    return [metric, ratio(mean)];
  }));
}

/** Fills the weights of a session from a run: its best ones where it kept them, else those of its newest checkpoint. */
export function restoreWeights(path: string, plan: TrainPlan, session: Session): { readonly from: string } {
  const run = openRun(path);
  const best = run.openWeights('best');
  const checkpoint = best === undefined ? run.newestCheckpoint() : undefined;
  const file = best ?? checkpoint?.open();
  if (file === undefined) throw new UserError('run-empty', `${path} has no saved weights yet.`);
  try {
    restoreFields(file, weightsOf(plan), (name, data) => session.write(name, data));
    return { from: file.shown };
  } finally {
    file.close();
  }
}

export interface EvaluateOptions {
  readonly plan: TrainPlan;
  readonly programs: Programs;
  readonly files: Files;
  /** The run folder whose weights are evaluated. */
  readonly run: string;
}

/** `nacre eval`: the metrics of every evaluation of the train block, with the weights of a run. */
export async function evaluateRun(options: EvaluateOptions): Promise<{ readonly from: string; readonly metrics: ReadonlyMap<string, number> }> {
  const { plan, programs, files, run } = options;
  checkVersion(plan);
  if (plan.evaluations.length === 0) {
    throw new UserError('no-evaluation', `The train block ${plan.name} has no eval line, so there is nothing to measure.`, 'Add: eval(…) over DATA = { name: metric }.');
  }
  // What is not in the weights (nothing, usually) has its first value.
  const init = await programs.init();
  await init.run(chooseInputs(init, new Map(), new Map([['seed', seedWords(plan.seed)]])));
  const { from } = restoreWeights(run, plan, programs.session);
  const metrics = new Map<string, number>();
  const evaluations = await openEvaluations(plan, files);
  try {
    for (const evaluation of evaluations) {
      const values = await evaluate(evaluation, programs, plan.seed, 0, async () => false);
      for (const [name, value] of values ?? []) metrics.set(metrics.has(name) ? `${evaluation.plan.name}.${name}` : name, value);
    }
  } finally {
    await Promise.all(evaluations.map(({ data }) => data.close()));
  }
  return { from, metrics };
}

/** The runtime refuses what another version of the compiler made. */
export function checkVersion(plan: TrainPlan): void {
  if (plan.version !== programVersion) {
    throw new UserError('program-version', `This program has version ${plan.version}; this runtime runs version ${programVersion}.`, 'Compile it again with the same Nacre.');
  }
}
