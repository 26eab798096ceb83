/**
 * Parameters and buffers that constants cut off: only the branch of a condition names them that is not taken, neither while
 * training nor in any evaluation. They are no part of the run.
 */
import type { Span } from '../base/source.ts';
import { Diagnostics } from '../base/diagnostics.ts';
import { createBuilder } from '../ops/builder.ts';
import { evaluateBody } from './bodies.ts';
import type { Context } from './context.ts';
import { createContext } from './evaluate.ts';
import type { BoundData } from './step.ts';
import type { TrainBlock } from './train.ts';
import { slotPath, type Slot } from './value.ts';

/** A parameter or buffer that is left out, and the branch that is not taken. */
export interface CutOff {
  readonly path: string;
  readonly slot: Slot;
  readonly branch: Span;
}

/** What is cut off in all programs of the block; fields of data that was not looked at are of any type. */
export function findCutOff(block: TrainBlock, data?: BoundData): CutOff[] {
  const contexts = [
    contextOf(block, true, (context) =>
      evaluateBody(context, block, block.data, data?.train, block.batch, block.loss.parameters, block.loss.body),
    ),
    ...block.evaluations.map(({ declaration: { parameters, body }, data: pipeline }, index) =>
      contextOf(block, false, (context) =>
        evaluateBody(context, block, pipeline, data?.evaluations[index], 1, parameters, body),
      ),
    ),
  ];
  const slots = [...block.parameters.map(({ slot }) => slot), ...block.buffers];
  return slots.flatMap((slot) => {
    const branch = contexts.map(({ cut }) => cut.get(slot)).find((span) => span !== undefined);
    const isReached = contexts.some((context) => context.slots.has(slot));
    return branch === undefined || isReached ? [] : [{ path: slotPath(slot), slot, branch }];
  });
}

function contextOf(block: TrainBlock, training: boolean, run: (context: Context) => unknown): Context {
  const context = createContext(createBuilder(block.name), new Diagnostics(), { training });
  run(context);
  return context;
}

/** The block without what is cut off. */
export function leaveOut(block: TrainBlock, cutOff: readonly CutOff[]): TrainBlock {
  if (cutOff.length === 0) return block;
  const gone = new Set(cutOff.map(({ slot }) => slot));
  const kept = (slots: readonly Slot[]): Slot[] => slots.filter((slot) => !gone.has(slot));
  return {
    ...block,
    cutOff,
    parameters: block.parameters.filter(({ slot }) => !gone.has(slot)),
    buffers: kept(block.buffers),
    prunes: block.prunes.map((prune) => ({ ...prune, weights: kept(prune.weights) })),
    quantizes: block.quantizes.map((line) => ({ ...line, weights: kept(line.weights) })),
  };
}
