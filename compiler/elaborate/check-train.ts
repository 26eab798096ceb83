/**
 * Checks what a train block computes, before any program is built: its loss and metrics, that every trained parameter has a
 * say in the loss, that its optimizer can be applied. Fields of data that was not looked at are of any type.
 */
import { diagnose, didYouMean, Problem, type Diagnostics } from '../base/diagnostics.ts';
import type { Value as GraphValue } from '../graph/graph.ts';
import { createBuilder } from '../ops/builder.ts';
import { evaluateBody, metricsOf, sumAndCount } from './bodies.ts';
import { compactBlock, guessColumns, refuseNone } from './compact.ts';
import { findCutOff } from './cut-off.ts';
import { fieldsWithoutLooking, type Pipeline } from './data.ts';
import type { Context } from './context.ts';
import type { DataDescription } from './describe.ts';
import { createContext } from './evaluate.ts';
import { buildPrune, maskingOf } from './masks.ts';
import { applyOptimizer, optimizerStates } from './optimizer.ts';
import { quantizeForward } from './quantize.ts';
import { buildEvaluation, type BoundData } from './step.ts';
import type { TrainBlock } from './train.ts';
import type { OptimizerValue } from './value.ts';

/** The names of the metrics of each evaluation. */
export function checkTrain(
  block: TrainBlock,
  diagnostics: Diagnostics,
  data?: BoundData,
): readonly (readonly string[])[] {
  collect(diagnostics, () => checkLoss(block, diagnostics, data));
  const metrics = block.evaluations.map(
    (_, index) => collect(diagnostics, () => checkEvaluation(block, index, diagnostics, data)) ?? [],
  );
  maskingOf(block).forEach((_, index) => collect(diagnostics, () => buildPrune(block, index, diagnostics)));
  collect(diagnostics, () => checkColumns(block, diagnostics, data));
  checkNames(block, metrics, diagnostics);
  checkSaves(block, metrics.flat(), diagnostics);
  for (const optimizer of new Set(block.parameters.map((parameter) => parameter.optimizer)))
    if (optimizer !== undefined) collect(diagnostics, () => checkOptimizer(optimizer, diagnostics));
  return metrics;
}

function checkLoss(block: TrainBlock, diagnostics: Diagnostics, data: BoundData | undefined): void {
  const context = createContext(createBuilder(block.name), diagnostics, { training: true });
  const { parameters, body } = block.loss;
  const loss = evaluateBody(context, block, block.data, data?.train, block.batch, parameters, body);
  const { sum } = sumAndCount(context, loss, body.span);
  // What is unknown may hold the rest of the model.
  if (!isKnown(block.data, data?.train) || !diagnostics.isEmpty) return;
  const isCutOff = new Set(findCutOff(block, data).map(({ slot }) => slot));
  for (const { path, slot, optimizer } of block.parameters)
    if (optimizer !== undefined && !context.slots.has(slot) && !isCutOff.has(slot))
      diagnostics.report(
        diagnose(
          'unreached-parameter',
          { path },
          [
            { span: block.loss.span, text: 'the loss' },
            { span: slot.declaration.span, text: 'the parameter' },
          ],
          { hint: `Take it out of the model, or say \`freeze ${path}\`.` },
        ),
      );
  if (diagnostics.isEmpty) checkGradients(block, context, sum, diagnostics);
  // Which weights can be multiplied in few bits shows in the graph.
  quantizeForward(block, block.name, { context, values: [sum] }, 'observe');
}

/** A parameter that the loss sees through `stop_gradient` alone would be changed by weight decay and nothing else. */
function checkGradients(block: TrainBlock, { root, slots }: Context, sum: GraphValue, diagnostics: Diagnostics): void {
  const reached = new Set<GraphValue>([sum]);
  for (const value of reached) {
    const node = root.producer(value);
    if (node !== undefined && node.op !== 'detach') for (const input of node.inputs) reached.add(input);
  }
  const still = block.parameters.filter(({ slot, optimizer }) => {
    const value = slots.get(slot);
    return optimizer !== undefined && value !== undefined && !reached.has(value);
  });
  if (still.length === 0) return;
  const [{ path, slot }] = still;
  const paths = still.slice(0, 3).map((one) => `\`${one.path}\``);
  diagnostics.report(
    diagnose(
      'no-gradient',
      { paths: `${paths.join(', ')}${still.length > 3 ? ` and ${still.length - 3} more` : ''}` },
      [
        { span: block.loss.span, text: 'the loss' },
        { span: slot.declaration.span, text: 'the parameter' },
      ],
      { hint: `A teacher is frozen, and loaded: \`freeze ${path.split('.')[0]}.*\`.` },
    ),
  );
}

/** Are the shapes of all its fields known? */
const isKnown = ({ plan }: Pipeline, data: DataDescription | undefined): boolean =>
  data !== undefined || fieldsWithoutLooking(plan).every(({ shape }) => shape !== undefined);

/** Tries structured pruning on weights that are all different: what may be removed depends on shapes. */
function checkColumns(block: TrainBlock, diagnostics: Diagnostics, data: BoundData | undefined): void {
  const columns = guessColumns(block, diagnostics);
  if (columns === undefined) return;
  if (!isKnown(block.data, data?.train)) return refuseNone(block, columns);
  const small = compactBlock(block, columns, data?.train, diagnostics);
  block.evaluations.forEach((evaluation, index) => {
    const described = data?.evaluations[index];
    if (isKnown(evaluation.data, described)) buildEvaluation(small, index, described, 1, diagnostics);
  });
}

function checkEvaluation(
  block: TrainBlock,
  index: number,
  diagnostics: Diagnostics,
  data: BoundData | undefined,
): string[] {
  const context = createContext(createBuilder(block.name), diagnostics);
  const {
    declaration: { parameters, body },
    data: pipeline,
  } = block.evaluations[index];
  const metrics = metricsOf(
    evaluateBody(context, block, pipeline, data?.evaluations[index], 1, parameters, body),
    body.span,
  );
  for (const metric of metrics.values()) sumAndCount(context, metric, body.span);
  return [...metrics.keys()];
}

/** A metric is known by its name alone: in what a run tells, in its report, to `save best`. */
function checkNames(block: TrainBlock, metrics: readonly (readonly string[])[], diagnostics: Diagnostics): void {
  const first = new Map<string, number>();
  for (const [index, names] of metrics.entries())
    for (const name of names) {
      const before = first.get(name);
      if (before === undefined) first.set(name, index);
      else {
        const [earlier, later] = [before, index].map((at) => block.evaluations[at].declaration.body.span);
        diagnostics.report(
          diagnose(
            'repeated-metric',
            { name },
            [
              { span: later, text: 'here again' },
              { span: earlier, text: 'the first' },
            ],
            { hint: `Give each its own name, as \`train_${name}\`.` },
          ),
        );
      }
    }
}

function checkSaves(block: TrainBlock, metrics: readonly string[], diagnostics: Diagnostics): void {
  const known = ['loss', ...metrics];
  if (!diagnostics.isEmpty) return;
  for (const entry of block.declaration.entries) {
    if (entry.kind !== 'save' || entry.when.kind !== 'best' || known.includes(entry.when.metric.name)) continue;
    const { name, span } = entry.when.metric;
    diagnostics.report(diagnose('unknown-metric', { name }, [{ span, text: '' }], didYouMean(name, known)));
  }
}

/** On a parameter of one element: what an optimizer does depends on no shape. */
function checkOptimizer(optimizer: OptimizerValue, diagnostics: Diagnostics): void {
  const build = createBuilder('optimizer');
  const context = createContext(build, diagnostics, { training: true });
  const type = { dtype: 'f32', shape: [] } as const;
  const states = new Map(optimizerStates(context, optimizer, type).map(({ name, initial }) => [name, initial]));
  const [param, grad, step] = ['param', 'grad', 'step'].map((name) => build.input(name, 'batch', type));
  applyOptimizer(context, optimizer, { param, grad, step, states });
}

function collect<T>(diagnostics: Diagnostics, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    diagnostics.report(error.diagnostic);
    return undefined;
  }
}
