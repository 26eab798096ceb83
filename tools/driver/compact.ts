/** Structured pruning of a run: looks at the first or loaded weights once, and goes on with the smaller block. */
import { totalElements } from '../../common/elements.ts';
import { slice } from '../../compiler/compact/compact.ts';
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildColumns, compactBlock, guessColumns, readColumns, refuseIdle } from '../../compiler/elaborate/compact.ts';
import { planTrain } from '../../compiler/elaborate/step.ts';
import type { Files } from '../../runtime/files.ts';
import type { TrainPlan, TypedArray } from '../../runtime/program.ts';
import { refuseOtherPruning } from '../../runtime/prune.ts';
import { chooseInputs, scalarsOf } from '../../runtime/step.ts';
import { loadWeights, weightsOf } from '../../runtime/weights.ts';
import { diagnosed } from './diagnosed.ts';
import { createPrograms } from './programs.ts';
import type { RunnableTrain } from './project.ts';
import type { Target } from './targets/backend.ts';

export interface Compacted {
  readonly train: RunnableTrain;
  /** Parameters and buffers as the smaller block begins with them. */
  readonly weights: ReadonlyMap<string, TypedArray>;
  readonly notice: string;
}

export const prunesColumns = ({ block }: RunnableTrain): boolean => block.prunes.some(({ structured }) => structured);

/** The block that a run went on with whose plan says so. */
export function asPlanned(train: RunnableTrain, { columns }: TrainPlan): RunnableTrain {
  return columns === undefined ? train : withColumns(train, columns);
}

/** The block of a run that goes on. */
export function asBegun(train: RunnableTrain, run: string, before: TrainPlan): RunnableTrain {
  refuseOtherPruning(run, before, train.plan);
  return asPlanned(train, before);
}

/** The block as it will be trained, for those who look at it before: sizes are known then, though not which columns stay. */
export function asTrained(train: RunnableTrain): RunnableTrain {
  const columns = prunesColumns(train) ? guessColumns(train.block, new Diagnostics()) : undefined;
  return columns === undefined ? train : withColumns(train, columns);
}

/** Judges the weights that a run begins with, on a target that holds them only for that. */
export async function compactTrain(
  train: RunnableTrain,
  files: Files,
  open: () => Promise<Target>,
): Promise<Compacted> {
  const target = await open();
  try {
    return await judge(train, files, target);
  } finally {
    target.session.close();
  }
}

async function judge(train: RunnableTrain, files: Files, target: Target): Promise<Compacted> {
  const { block, plan, data } = train;
  const programs = createPrograms(block, data, target);
  const init = await programs.init();
  await init.run(chooseInputs(init, new Map(), scalarsOf(plan.seed, 0, 0, 0)));
  loadWeights(plan, files, target.session);
  const diagnostics = new Diagnostics();
  const program = await target.load(buildColumns(block, diagnostics));
  const verdicts = await program.run(chooseInputs(program, new Map(), scalarsOf(plan.seed, 0, 0, 0)));
  const columns = readColumns(verdicts);
  diagnosed(diagnostics, () => refuseIdle(block, columns));
  const small = withColumns(train, columns);
  const weights = new Map<string, TypedArray>();
  for (const { name, shape } of weightsOf(plan)) {
    const all = await target.session.read(name);
    const kept = small.block.kept.get(name);
    weights.set(name, kept === undefined ? all : copied(all, slice(all, shape, kept)));
  }
  return { train: small, weights, notice: describe(plan, small.plan, columns) };
}

function withColumns(train: RunnableTrain, columns: NonNullable<TrainPlan['columns']>): RunnableTrain {
  const { plan, data } = train;
  const diagnostics = new Diagnostics();
  const block = diagnosed(diagnostics, () => compactBlock(train.block, columns, data.train, diagnostics));
  const metrics = plan.evaluations.map((evaluation) => evaluation.metrics);
  return { ...train, block, plan: { ...planTrain(block, data, metrics, diagnostics, columns), seed: plan.seed } };
}

/** The elements in an array of the kind they came in. */
function copied(like: TypedArray, elements: readonly number[]): TypedArray {
  const result = like.slice(0, elements.length);
  elements.forEach((element, at) => (result[at] = element));
  return result;
}

/** `columns`: those that the pruners keep of their weights. */
function describe(before: TrainPlan, after: TrainPlan, columns: NonNullable<TrainPlan['columns']>): string {
  const smaller = after.parameters.flatMap(({ name, shape }, at) => {
    const was = before.parameters[at].shape;
    if (was.join() === shape.join()) return [];
    const dragged = (columns[name]?.length ?? 0) - shape[shape.length - 1];
    const why = dragged > 0 ? ` (${dragged} more than its pruner removes: they go together with what it does)` : '';
    return [`  ${name}  [${was.join(', ')}] → [${shape.join(', ')}]${why}`];
  });
  return [
    `${totalElements(before.parameters).toLocaleString('en-US')} parameters become ${totalElements(after.parameters).toLocaleString('en-US')}:`,
    ...smaller,
  ].join('\n');
}
