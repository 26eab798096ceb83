/**
 * The training loop: batches in, one program run per (micro-)step, metrics out, checkpoints between. It keeps every
 * promise of exact continuation by holding all of its state in one `Progress` value beside the tensors.
 */
import { totalElements } from '../common/elements.ts';
import { programKey } from './artefact.ts';
import { openData, type Dataset } from './data/dataset.ts';
import { nearestName, UserError } from './errors.ts';
import { checkVersion, evaluate, openEvaluations, type OpenEvaluation } from './evaluate.ts';
import type { Field, Programs, TrainPlan } from './program.ts';
import { isPruneDue, pruneDue, refuseOtherPruning } from './prune.ts';
import { calibrate, describeQuantized, quantizedMetadata, takeCodes } from './quantize.ts';
import { checkpointFile, runFolders, type Progress, type RunFolder, type Tensor } from './run-folder.ts';
import { chooseInputs, guardDevice, makeStepper, phaseOf, ratio, refuseSpoiled, scalarsOf } from './step.ts';
import type { Begun, Position } from './step.ts';
import type { TrainEvent, TrainOptions, TrainResult } from './train-options.ts';
import { learnedWeights, loadWeights, restoreFields, weightsOf } from './weights.ts';

/** Milliseconds of training after which the event loop gets a turn, so that Ctrl-C and timers work. */
const breath = 50;
/** Seconds between checkpoints that nobody asked for, made at the ends of epochs. */
const quietSave = 10;

/** Trains as the plan says. Throws UserError for whatever a person can put right. */
export async function train(options: TrainOptions): Promise<TrainResult> {
  const { plan, programs, files, resume, runs = runFolders(options.out) } = options;
  checkVersion(plan);
  const bounds = chooseBounds(options);
  checkSaves(plan);
  // All data are opened before anything is written: a missing file should not leave an empty run behind.
  const data = await openData(plan.data, files, { batch: plan.batch });
  const evaluations = await openEvaluations(plan, files).catch(async (error: unknown) => {
    await data.close();
    throw error;
  });
  try {
    programs.refuseMissing?.(programsFor(options, bounds, data, evaluations));
    // The largest program first: where it has no room, no run is begun.
    const first = Math.min(plan.batch, data.description.count);
    if (bounds.steps > 0 && bounds.epochs > 0)
      await guardDevice(0, () => programs.step(first, phaseOf(0, Math.min(plan.accumulate, data.batchesPerEpoch))));
    const init = await programs.init();
    await guardDevice(0, () => init.run(chooseInputs(init, new Map(), scalarsOf(plan.seed, 0, 0, 0))));
    const config = {
      plan,
      settings: options.settings ?? {},
      ...(options.source === undefined ? {} : { source: options.source }),
    };
    if (options.weights !== undefined) for (const [name, data] of options.weights) programs.session.write(name, data);
    else if (resume === undefined) loadWeights(plan, files, programs.session);
    const run = resume === undefined ? runs.create(plan.name, config) : runs.reopen(resume);
    try {
      const start = resume === undefined ? undefined : restore(run, plan, programs);
      if (start !== undefined) run.writeConfig(config);
      return await runLoop(options, bounds, data, evaluations, run, start);
    } finally {
      run.release();
    }
  } finally {
    await Promise.all([data, ...evaluations.map((evaluation) => evaluation.data)].map((dataset) => dataset.close()));
  }
}

interface Bounds {
  readonly epochs: number;
  readonly steps: number;
}

function chooseBounds({ plan, epochs, steps }: TrainOptions): Bounds {
  if (plan.epochs === 0) {
    if (epochs === undefined && steps === undefined) return { epochs: 0, steps: 0 };
    throw new UserError(
      'train-bound',
      `The train block ${plan.name} learns nothing: it quantizes weights as they are.`,
      'Leave the number of epochs or steps out, or give the block an optimizer.',
    );
  }
  const given = epochs === undefined && steps === undefined ? plan : { epochs, steps };
  for (const [name, value] of [
    ['epochs', given.epochs],
    ['steps', given.steps],
  ] as const) {
    if (value !== undefined && (!Number.isSafeInteger(value) || value < 1)) {
      throw new UserError('train-bound', `The number of ${name} has to be a whole number, at least 1; not ${value}.`);
    }
  }
  if (given.epochs === undefined && given.steps === undefined) {
    throw new UserError(
      'train-bound',
      `The train block ${plan.name} says neither epochs nor steps, so it would never end.`,
      'Add: epochs = 10',
    );
  }
  return { epochs: given.epochs ?? Infinity, steps: given.steps ?? Infinity };
}

const stepsPerEpoch = (plan: TrainPlan, data: Dataset): number => Math.ceil(data.batchesPerEpoch / plan.accumulate);
/** The run's last step. */
const lastOf = ({ steps, epochs }: Bounds, perEpoch: number): number => Math.min(steps, epochs * perEpoch);

/** The programs that a run needs because its data are as many as they are, as `programKey` names them. */
function programsFor(
  { plan, resume }: TrainOptions,
  bounds: Bounds,
  data: Dataset,
  evaluations: readonly OpenEvaluation[],
): string[] {
  const perEpoch = stepsPerEpoch(plan, data);
  const last = lastOf(bounds, perEpoch);
  const { batchesPerEpoch: batches, sizes } = data;
  /** Where the end of an epoch is not reached, its last batch is not either. */
  const sizesWhere = (reachesEnd: boolean): readonly number[] => (reachesEnd ? sizes : sizes.slice(0, 1));
  const calibrations = resume === undefined ? (plan.quantization?.calibrate ?? 0) : 0;
  const group = Math.min(plan.accumulate, batches);
  const lastGroup = batches % plan.accumulate || plan.accumulate;
  return [
    ...(calibrations > 0 ? sizesWhere(calibrations >= batches).map(programKey.calibrate) : []),
    ...(last > 0
      ? sizesWhere(last >= perEpoch).map((size, at) =>
          programKey.step(size, at === 0 ? phaseOf(0, group) : phaseOf(lastGroup - 1, lastGroup)),
        )
      : []),
    ...evaluations
      .filter(({ plan: { every } }) => every === undefined || every <= last)
      .flatMap(({ plan: { name }, data: of }) => of.sizes.map((size) => programKey.evaluate(name, size))),
  ];
}

function checkSaves(plan: TrainPlan): void {
  const known = ['loss', ...plan.evaluations.flatMap((evaluation) => evaluation.metrics)];
  for (const save of plan.saves) {
    if (save.kind !== 'best' || known.includes(save.metric)) continue;
    const near = nearestName(save.metric, known);
    throw new UserError(
      'save-metric',
      `save best ${save.metric}: no evaluation measures "${save.metric}".`,
      near === undefined ? undefined : `Did you mean ${near}?`,
    );
  }
}

/** What a run must have in common with its continuation for the continuation to be the same run. */
const lastingNames = {
  seed: 'seed',
  data: 'data',
  batch: 'batch',
  accumulate: 'accumulate',
  precision: 'precision',
  prunes: 'time to prune',
  quantization: 'quantization',
} as const;
const lasting = ['seed', 'data', 'batch', 'accumulate', 'precision', 'prunes', 'quantization'] as const;

function restore(run: RunFolder, plan: TrainPlan, programs: Programs): Progress {
  const before = run.config().plan;
  refuseOtherPruning(run.path, before, plan);
  // Lines move in a file.
  const shown = (of: TrainPlan, key: (typeof lasting)[number]): string =>
    JSON.stringify(of[key], (name, value: unknown) => (name === 'place' ? undefined : value));
  const changed = lasting.filter((key) => shown(before, key) !== shown(plan, key));
  if (changed.length > 0) {
    throw new UserError(
      'resume-differs',
      `${run.path} was trained with another ${changed.map((key) => lastingNames[key]).join(', another ')}; continued with this one it would be a different run.`,
      'Give the same settings as then (config.json has them), or start a new run and load its weights.',
    );
  }
  const checkpoint = run.newestCheckpoint();
  if (checkpoint === undefined)
    throw new UserError(
      'run-empty',
      `${run.path} has no checkpoint to continue from.`,
      'Start the run again without --resume.',
    );
  const file = checkpoint.open();
  try {
    restoreFields(file, fieldsOf(plan), (name, data) => programs.session.write(name, data));
  } finally {
    file.close();
  }
  run.rewindMetrics(checkpoint.progress.step);
  // A run that was stopped before its first step has no loss, which JSON writes as null.
  return { ...checkpoint.progress, last: checkpoint.progress.last ?? NaN };
}

const fieldsOf = (plan: TrainPlan): Field[] => [...plan.parameters, ...plan.states];

const fresh: Progress = {
  step: 0,
  epoch: 0,
  batch: 0,
  last: NaN,
  loss: { sum: 0, count: 0 },
  measured: [],
  best: [],
  seconds: 0,
};

/** Runs from `start` to the bounds, or to the wish to stop. */
async function runLoop(
  options: TrainOptions,
  bounds: Bounds,
  data: Dataset,
  evaluations: readonly OpenEvaluation[],
  run: RunFolder,
  start: Progress | undefined,
): Promise<TrainResult> {
  const { plan, programs } = options;
  const begun = performance.now() - (start?.seconds ?? 0) * 1000;
  const seconds = (): number => Math.round(performance.now() - begun) / 1000;
  const stopping = (): boolean => options.signal?.aborted === true;
  let progress = start ?? fresh;
  let saved = start;
  let savedAt = performance.now();
  let flushedAt = performance.now();
  let rested = performance.now();
  const latest = new Map<string, number>();

  const emit = async (event: TrainEvent): Promise<void> => {
    if (event.event !== 'start' && event.event !== 'save' && event.event !== 'done') run.log(event);
    await options.onEvent?.(event);
  };
  /** Lets the event loop have its turn; says whether there is a wish to stop. */
  const rest = async (): Promise<boolean> => {
    if (performance.now() - rested > breath) {
      await new Promise((resume) => setTimeout(resume));
      rested = performance.now();
    }
    return stopping();
  };
  /** The step whose weights the codes stand for. */
  let codesOf = start?.step;
  const settle = async (): Promise<void> => {
    if (codesOf === progress.step) return;
    await takeCodes(plan, programs, progress.step);
    codesOf = progress.step;
  };
  const save = async (): Promise<void> => {
    if (saved === progress) return;
    await settle();
    // A loss is computed before the update, so a step may look sound and leave weights that are not.
    await refuseSpoiled(plan, programs, progress.step);
    run.flush();
    progress = { ...progress, seconds: seconds() };
    run.saveCheckpoint(
      progress,
      await readFields(programs, weightsOf(plan)),
      await readFields(
        programs,
        plan.states.filter((state) => !state.buffer),
      ),
    );
    saved = progress;
    savedAt = performance.now();
    await emit({ event: 'save', step: progress.step, file: checkpointFile(progress.step) });
  };
  const saveWeights = async (name: string, about: readonly (readonly [string, string])[]): Promise<void> => {
    await settle();
    await refuseSpoiled(plan, programs, progress.step);
    run.saveWeights(
      name,
      await readFields(programs, learnedWeights(plan)),
      new Map([['nacre', 'weights'], ['step', String(progress.step)], ...quantizedMetadata(plan), ...about]),
    );
    await emit({ event: 'save', step: progress.step, file: `${name}.safetensors` });
  };
  const keepBest = async (values: ReadonlyMap<string, number>): Promise<void> => {
    for (const kind of plan.saves) {
      const value = kind.kind === 'best' ? values.get(kind.metric) : undefined;
      if (kind.kind !== 'best' || value === undefined || !Number.isFinite(value)) continue;
      const before = progress.best.find((entry) => entry.metric === kind.metric);
      if (before !== undefined && (kind.order === 'max' ? value <= before.value : value >= before.value)) continue;
      const best = [
        ...progress.best.filter((entry) => entry !== before),
        { metric: kind.metric, value, step: progress.step },
      ];
      progress = { ...progress, best };
      await saveWeights(bestName(plan, kind.metric), [[kind.metric, String(value)]]);
    }
  };
  /** Does each of these evaluations once a step, also across a continuation. False where the wish to stop came before the end. */
  const measure = async (chosen: readonly OpenEvaluation[]): Promise<boolean> => {
    for (const evaluation of chosen) {
      const { name } = evaluation.plan;
      if (progress.measured.includes(name)) continue;
      await settle();
      const values = await guardDevice(progress.step, () =>
        evaluate(evaluation, programs, plan.seed, progress.step, rest),
      );
      if (values === undefined) return false;
      for (const [metric, value] of values) latest.set(metric, value);
      await emit({
        event: 'eval',
        step: progress.step,
        epoch: progress.epoch + 1,
        data: name,
        ...Object.fromEntries(values),
      });
      progress = { ...progress, measured: [...progress.measured, name] };
      await keepBest(values);
    }
    return true;
  };
  const measureDue = (): Promise<boolean> =>
    measure(
      evaluations.filter(
        ({ plan: { every } }) => every !== undefined && progress.step > 0 && progress.step % every === 0,
      ),
    );
  const measureEpoch = (): Promise<boolean> =>
    measure(evaluations.filter(({ plan: { every } }) => every === undefined));
  const endEpoch = async (): Promise<boolean> => {
    if (!(await measureEpoch())) return false;
    const loss = ratio(progress.loss);
    await emit({ event: 'epoch', step: progress.step, epoch: progress.epoch + 1, loss, seconds: seconds() });
    await keepBest(lossIfUnmeasured(plan, loss));
    progress = { ...progress, epoch: progress.epoch + 1, batch: 0, loss: fresh.loss };
    return true;
  };

  const perEpoch = stepsPerEpoch(plan, data);
  const lastStep = lastOf(bounds, perEpoch);
  const begin = makeStepper(plan, programs, data.batchesPerEpoch);
  const savesEvery = plan.saves.flatMap((kind) => (kind.kind === 'every' ? [kind.steps] : []));
  const epochIsWhole = (at: Position = progress): boolean => at.batch === data.batchesPerEpoch;
  const savesAfter = (step: number): boolean => savesEvery.some((steps) => step % steps === 0);
  /** May the next step begin while this one's results are still on their way? Only where nothing looks at the weights between. */
  const goesOn = (at: Position): boolean =>
    programs.session.queues === true &&
    !stopping() &&
    !epochIsWhole(at) &&
    at.step < lastStep &&
    !savesAfter(at.step) &&
    !isPruneDue(plan, at.step) &&
    !evaluations.some(({ plan: { every } }) => every !== undefined && at.step % every === 0);
  await emit({
    event: 'start',
    run: run.path,
    step: progress.step,
    steps: lastStep,
    epochs: Math.ceil(lastStep / perEpoch),
    batches: data.batchesPerEpoch,
    samples: data.description.count,
    trained: countElements(plan, true),
    frozen: countElements(plan, false),
    resumed: start !== undefined,
  });

  /** Steps until the epoch or the run is over. False where it was interrupted. */
  const runEpoch = async (): Promise<boolean> => {
    const batches = data.batches(progress.epoch, progress.batch);
    let ahead: Begun | undefined;
    try {
      while (!epochIsWhole() && progress.step < lastStep) {
        if ((await rest()) && ahead === undefined) return false;
        for (const pruned of await pruneDue(plan, programs, progress.step))
          await emit({ event: 'prune', step: progress.step, ...pruned });
        const done = await guardDevice(progress.step + 1, async () => {
          const current = ahead ?? (await begin(batches, progress));
          ahead = goesOn(current.after) ? await begin(batches, current.after) : undefined;
          return current.finish(progress);
        });
        progress = done.progress;
        await emit({
          event: 'step',
          step: progress.step,
          epoch: progress.epoch + 1,
          loss: progress.last,
          ...done.scalars,
          seconds: seconds(),
        });
        if (!(await measureDue())) return false;
        if (savesAfter(progress.step)) await save();
        if (performance.now() - flushedAt > 1000) {
          run.flush();
          flushedAt = performance.now();
        }
      }
      return true;
    } finally {
      await batches.return();
    }
  };
  /** True once everything is done. False where it was interrupted, with `progress` telling what is still to do. */
  const runAll = async (): Promise<boolean> => {
    if (start === undefined && plan.quantization !== undefined) {
      await calibrate(plan, programs, data);
      await emit({ event: 'quantize', step: 0, ...describeQuantized(plan) });
    }
    if (lastStep === 0) return measureEpoch();
    if (!(await measureDue())) return false;
    while (epochIsWhole() || progress.step < lastStep) {
      if (!(await runEpoch())) return false;
      if (!epochIsWhole()) break;
      if (!(await endEpoch())) return false;
      if (progress.step < lastStep && performance.now() - savedAt > quietSave * 1000) await save();
    }
    // A run that ends within an epoch is measured all the same, but the epoch stays open for a continuation.
    return progress.batch === 0 || measureEpoch();
  };

  try {
    const finished = await runAll();
    await save();
    if (finished && plan.saves.some((kind) => kind.kind === 'last')) await saveWeights('last', []);
    const result = {
      run: run.path,
      steps: progress.step,
      loss: progress.last,
      status: finished ? 'done' : 'interrupted',
    } as const;
    await emit({ event: 'done', ...Object.fromEntries(latest), ...result });
    return { ...result, metrics: latest };
  } finally {
    run.flush();
    run.writeReport();
  }
}

const readFields = (programs: Programs, fields: readonly Field[]): Promise<Tensor[]> =>
  Promise.all(fields.map(async (field) => ({ field, data: await programs.session.read(field.name) })));

/** The first `save best` is best.safetensors, the file that `nacre eval` takes; further ones carry their metric's name. */
function bestName(plan: TrainPlan, metric: string): string {
  const first = plan.saves.find((kind) => kind.kind === 'best');
  return first?.kind === 'best' && first.metric === metric ? 'best' : `best-${metric}`;
}

/** `save best loss` means the loss of an evaluation where one measures it, else the training loss of the epoch. */
const lossIfUnmeasured = (plan: TrainPlan, loss: number): Map<string, number> =>
  new Map(plan.evaluations.some(({ metrics }) => metrics.includes('loss')) ? [] : [['loss', loss]]);

const countElements = (plan: TrainPlan, trained: boolean): number =>
  totalElements(plan.parameters.filter((field) => field.trained === trained));
