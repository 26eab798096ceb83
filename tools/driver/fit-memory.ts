/**
 * A memory budget: which activations to compute again, and how large the batches of evaluations may be, so that the planned
 * peak of a run fits. Neither changes a number of the training.
 */
import { rankRecompute } from '../../compiler/analyze/recompute.ts';
import { children } from '../../compiler/elaborate/instances.ts';
import { pathOf, type InstanceValue } from '../../compiler/elaborate/value.ts';
import { UserError } from '../../runtime/errors.ts';
import { analyzeTrain, type TrainAnalysis } from './analysis.ts';
import { showBytes } from './numbers.ts';
import type { RunnableTrain } from './project.ts';

export interface Fitted {
  readonly train: RunnableTrain;
  /** What was done, for people; undefined where nothing had to be. */
  readonly notice?: string;
}

/** Throws UserError where no choice fits. */
export async function fitMemory(asked: RunnableTrain, budget: number, threads: number): Promise<Fitted> {
  const analyze = (train: RunnableTrain): Promise<TrainAnalysis> => analyzeTrain(train, { threads, predict: false });
  const before = await analyze(asked);
  if (before.memory.peak <= budget) return { train: asked };
  const { main } = before;
  const choices = main.kind === 'step' ? rankRecompute(main.graph, partsOf(asked)).map(({ path }) => path) : [];
  const modest = withModestEvaluations(asked);
  let least = before;
  // A longer list is not always a lower peak: what is computed again is there beside what it is computed for.
  for (const count of counts(choices.length)) {
    const train = withRecompute(modest, choices.slice(0, count));
    const after = await analyze(train);
    if (after.memory.peak <= budget) return { train, notice: describe(before, after, asked, train) };
    if (after.memory.peak < least.memory.peak) least = after;
  }
  throw await tooSmall(withRecompute(modest, choices), budget, least, threads);
}

/** How many of a ranking are tried, from none to all: not more than a dozen, for each is a compilation. */
function counts(all: number): number[] {
  const tries = Math.min(all, 12);
  return [...new Set(Array.from({ length: tries + 1 }, (_, at) => Math.round((at * all) / Math.max(1, tries))))];
}

function describe(before: TrainAnalysis, after: TrainAnalysis, asked: RunnableTrain, train: RunnableTrain): string {
  const again = train.block.recompute.filter((path) => !asked.block.recompute.includes(path));
  const work = 100 * (after.main.analysis.flops / before.main.analysis.flops - 1);
  const evaluations = train.plan.evaluations
    .filter(({ batch }, at) => batch < asked.plan.evaluations[at].batch)
    .map(({ name, batch }) => `batches of ${batch} in ${name}`);
  const done = [
    ...(again.length === 0 ? [] : [`${again.join(', ')} computed again, ${work.toFixed(0)} % more FLOPs`]),
    ...evaluations,
  ];
  return `memory: peak ${showBytes(before.memory.peak)} → ${showBytes(after.memory.peak)}: ${done.join('; ')}`;
}

const withRecompute = (train: RunnableTrain, paths: readonly string[]): RunnableTrain => ({
  ...train,
  block: { ...train.block, recompute: [...new Set([...train.block.recompute, ...paths])] },
});

/** The instances a model is directly made of; one that is all of it is looked into. */
function partsOf({ block }: RunnableTrain): string[] {
  const parts = (instance: InstanceValue): InstanceValue[] => {
    const inside = children(instance);
    return inside.length === 1 ? parts(inside[0]) : inside;
  };
  return [...block.roots.values()]
    .flatMap(parts)
    .flatMap((instance) => pathOf(instance) ?? [])
    .filter((path) => !block.recompute.some((known) => path === known || path.startsWith(`${known}.`)));
}

/** An evaluation is a sum over samples, in whatever batches: in those of the training it takes less memory than a step. */
function withModestEvaluations(train: RunnableTrain): RunnableTrain {
  const evaluations = train.plan.evaluations.map((evaluation) => {
    const batch = Math.min(evaluation.batch, train.plan.batch);
    const { data } = evaluation;
    return { ...evaluation, batch, data: data.kind === 'batch' ? { ...data, size: batch } : data };
  });
  return { ...train, plan: { ...train.plan, evaluations } };
}

/** What the least is, and which batch would fit. */
async function tooSmall(
  modest: RunnableTrain,
  budget: number,
  least: TrainAnalysis,
  threads: number,
): Promise<UserError> {
  const { name, batch: asked } = modest.plan;
  const wanted = `${name} needs at least ${showBytes(least.memory.peak)}, however much is computed again, and the budget is ${showBytes(budget)}.`;
  for (let batch = asked >> 1; batch >= 1; batch >>= 1) {
    const smaller = withModestEvaluations({ ...modest, plan: { ...modest.plan, batch } });
    const { memory } = await analyzeTrain(smaller, { threads, predict: false, batch });
    if (memory.peak <= budget)
      return new UserError(
        'memory-budget',
        wanted,
        `With batch(${batch}) it fits: ${showBytes(memory.peak)}. \`accumulate\` makes up for smaller batches.`,
      );
  }
  return new UserError(
    'memory-budget',
    wanted,
    'Not even a batch of one fits. Make the model smaller, or take an optimizer with less state.',
  );
}
