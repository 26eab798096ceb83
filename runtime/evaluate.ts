/** Runs the evaluations of a train block, and those of a finished run again. */
import { openData, type Dataset } from './data/dataset.ts';
import { UserError } from './errors.ts';
import type { Files, InputFile } from './files.ts';
import { programVersion, type Field, type Programs, type Session, type TrainPlan } from './program.ts';
import { inFewBits } from './quantize.ts';
import { openRun } from './run-folder.ts';
import { addMeans, chooseInputs, ratio, scalarsOf, type Mean } from './step.ts';
import { learnedWeights, restoreFields, weightsOf } from './weights.ts';

type Evaluation = TrainPlan['evaluations'][number];

/** An evaluation with its data open. */
export interface OpenEvaluation {
  readonly plan: Evaluation;
  readonly data: Dataset;
}

export function openEvaluations(plan: TrainPlan, files: Files): Promise<OpenEvaluation[]> {
  return Promise.all(
    plan.evaluations.map(async (evaluation) => ({
      plan: evaluation,
      data: await openData(evaluation.data, files, { batch: evaluation.batch }),
    })),
  );
}

/** The metrics over all samples; undefined where `pause` said to stop. `pause` is asked after each batch. */
export async function evaluate(
  { plan, data }: OpenEvaluation,
  programs: Programs,
  seed: number,
  step: number,
  pause: () => Promise<boolean>,
): Promise<Map<string, number> | undefined> {
  const means = new Map<string, Mean>();
  const scalars = scalarsOf(seed, step, 0, 0);
  for await (const batch of data.batches(0)) {
    const program = await programs.evaluate(plan.name, batch.size);
    addMeans(means, await program.run(chooseInputs(program, batch.fields, scalars)));
    if (await pause()) return undefined;
  }
  return new Map(
    plan.metrics.map((metric) => {
      const mean = means.get(metric);
      if (mean === undefined) throw new Error(`the evaluation ${plan.name} gave no "${metric}"`);
      return [metric, ratio(mean)];
    }),
  );
}

/** Fills the weights of a session from a run: its best ones where it kept them, else those of its newest checkpoint. */
export function restoreWeights(path: string, plan: TrainPlan, session: Session): { readonly from: string } {
  const run = openRun(path);
  const restore = (file: InputFile, fields: readonly Field[]): string => {
    try {
      restoreFields(file, fields, (name, data) => session.write(name, data));
      return file.shown;
    } finally {
      file.close();
    }
  };
  const best = run.openWeights('best');
  const learned = learnedWeights(plan);
  const all = inFewBits(plan, weightsOf(plan));
  const checkpoint = best === undefined || all.length > learned.length ? run.newestCheckpoint() : undefined;
  const shown = checkpoint === undefined ? undefined : restore(checkpoint.open(), all);
  const from = best === undefined ? shown : restore(best, learned);
  if (from === undefined) throw new UserError('run-empty', `${path} has no saved weights yet.`);
  return { from };
}

export interface EvaluateOptions {
  readonly plan: TrainPlan;
  readonly programs: Programs;
  readonly files: Files;
  /** The run folder whose weights are evaluated. */
  readonly run: string;
}

/** `nacre eval`: the metrics of every evaluation of the train block, with the weights of a run. */
export async function evaluateRun(
  options: EvaluateOptions,
): Promise<{ readonly from: string; readonly metrics: ReadonlyMap<string, number> }> {
  const { plan, programs, files, run } = options;
  checkVersion(plan);
  if (plan.evaluations.length === 0) {
    throw new UserError(
      'no-evaluation',
      `The train block ${plan.name} has no eval line, so there is nothing to measure.`,
      'Add: eval(…) over DATA = { name: metric }.',
    );
  }
  // What is not in the weights (nothing, usually) has its first value.
  const init = await programs.init();
  await init.run(chooseInputs(init, new Map(), scalarsOf(plan.seed, 0, 0, 0)));
  const { from } = restoreWeights(run, plan, programs.session);
  const metrics = new Map<string, number>();
  const evaluations = await openEvaluations(plan, files);
  try {
    for (const evaluation of evaluations) {
      const values = await evaluate(evaluation, programs, plan.seed, 0, async () => false);
      for (const [name, value] of values ?? []) metrics.set(name, value);
    }
  } finally {
    await Promise.all(evaluations.map(({ data }) => data.close()));
  }
  return { from, metrics };
}

/** The runtime refuses what another version of the compiler made. */
export function checkVersion(plan: TrainPlan): void {
  if (plan.version !== programVersion) {
    throw new UserError(
      'program-version',
      `This program has version ${plan.version}; this runtime runs version ${programVersion}.`,
      'Compile it again with the same Nacre.',
    );
  }
}
