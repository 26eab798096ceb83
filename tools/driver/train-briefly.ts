/** Training inside a test: a few steps without a run folder, then the loss and every metric. */
import type { Training } from '../../compiler/elaborate/tests.ts';
import { openData, type Batch } from '../../runtime/data/dataset.ts';
import { UserError } from '../../runtime/errors.ts';
import { evaluate, openEvaluations } from '../../runtime/evaluate.ts';
import { pruneDue } from '../../runtime/prune.ts';
import { calibrate, takeCodes } from '../../runtime/quantize.ts';
import { chooseInputs, scalarsOf } from '../../runtime/step.ts';
import type { TypedArray } from '../../runtime/program.ts';
import { loadWeights } from '../../runtime/weights.ts';
import { createPrograms } from './programs.ts';
import type { Project } from './project.ts';
import { openTarget } from './target.ts';
import type { TargetName } from './targets/index.ts';

export async function trainBriefly(
  project: Project,
  training: Training,
  targetName: TargetName,
): Promise<ReadonlyMap<string, number>> {
  const { block, plan, data } = await project.train(training.train.name);
  if (block.accumulate > 1)
    throw new UserError(
      'test-accumulate',
      `\`${block.name}\` accumulates gradients, which a training test does not do.`,
    );
  const target = await openTarget(targetName);
  try {
    const programs = createPrograms(block, data, target);
    const init = await programs.init();
    await init.run(chooseInputs(init, new Map(), scalarsOf(plan.seed, 0, 0, 0)));
    loadWeights(plan, project.files, target.session);
    const dataset = await openData(plan.data, project.files, { prefetch: false });
    await calibrate(plan, programs, dataset);
    let loss = NaN;
    let done = 0;
    const step = async (fields: ReadonlyMap<string, TypedArray>, size: number): Promise<void> => {
      await pruneDue(plan, programs, done);
      const program = await programs.step(size, 'only');
      const results = await program.run(chooseInputs(program, fields, scalarsOf(plan.seed, ++done, 0, 0)));
      loss = (results.get('loss.sum')?.[0] ?? NaN) / (results.get('loss.count')?.[0] ?? NaN);
    };
    for (let epoch = 0; done < training.steps; epoch++)
      for await (const batch of first(
        dataset.batches(training.batches === undefined ? epoch : 0),
        training.batches ?? Infinity,
      )) {
        await step(batch.fields, batch.size);
        if (done === training.steps) break;
      }
    const values = new Map([['loss', loss]]);
    await takeCodes(plan, programs, done);
    const evaluations = await openEvaluations(plan, project.files);
    for (const evaluation of evaluations)
      for (const [name, value] of (await evaluate(evaluation, programs, plan.seed, 0, () => Promise.resolve(false))) ??
        [])
        values.set(name, value);
    await Promise.all([dataset, ...evaluations.map((evaluation) => evaluation.data)].map((opened) => opened.close()));
    return values;
  } finally {
    target.session.close();
  }
}

/** The first batches of an epoch. `on 1 batch` takes those of epoch 0 again and again. */
async function* first(batches: AsyncIterable<Batch>, count: number): AsyncGenerator<Batch> {
  for await (const batch of batches) {
    if (batch.index >= count) return;
    yield batch;
  }
}
