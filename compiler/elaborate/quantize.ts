/**
 * The lines `quantize … to …` of a train block: resolved, and what they ask of the programs. Training computes with the rounded
 * weights (quantization-aware training), evaluations with their codes; the master weights stay f32 until they are saved.
 */
import type { TrainQuantize } from '../../grammar/ast.ts';
import { refuse, type Diagnostics } from '../base/diagnostics.ts';
import type { Span } from '../base/source.ts';
import type { Graph } from '../graph/graph.ts';
import { createBuilder } from '../ops/builder.ts';
import { CannotQuantize, quantizeInto, stateNames, type Mode } from '../quantize/forward.ts';
import { codesType, encode, scaleType, type Scheme } from '../quantize/weights.ts';
import type { TensorType } from '../types/tensor.ts';
import { evaluateBody, sumAndCount } from './bodies.ts';
import { compactForward, forwardGraph, rebuilt, typeOf, type Forward } from './compact.ts';
import type { DataDescription } from './describe.ts';
import { createContext } from './evaluate.ts';
import { claims } from './selectors.ts';
import type { TrainBlock } from './train.ts';
import { pathOf, slotPath, type Slot } from './value.ts';

/** A line `quantize`, resolved. */
export interface PlannedQuantize {
  readonly weights: readonly Slot[];
  readonly scheme: Scheme;
  /** Batches that are looked at before the first step; 0: none are needed. */
  readonly calibrate: number;
  /** The line says how many. */
  readonly isAsked: boolean;
  readonly span: Span;
}

const defaultBatches = 16;
const defaultGroup = 64;

/** Resolves the lines; `whole` reads a number of at least 1. Throws a Problem with what is wrong. */
export function resolveQuantizes(
  entries: readonly TrainQuantize[],
  slots: readonly Slot[],
  whole: (name: string, expression: NonNullable<TrainQuantize['calibrate']>) => number,
): PlannedQuantize[] {
  const claim = claims(
    'quantizes-nothing',
    'quantized-twice',
    ({ declaration, type }) => declaration.role === 'param' && type.shape.length > 1,
    'Biases and scales stay as they are: select matrices, as `*.weight`.',
  );
  return entries.map((entry) => {
    const weights = claim(entry, slots);
    const bits = entry.dtype.name === 'int8' ? 8 : entry.dtype.name === 'int4' ? 4 : undefined;
    const alone = entry.weights !== undefined;
    if (bits === undefined || (bits === 4 && !alone))
      return refuse(
        'bad-setting',
        {
          name: 'quantize … to',
          wanted: '`int8`, `int8 weights` or `int4 weights`',
          found: `\`${entry.dtype.name}${alone ? ' weights' : ''}\``,
        },
        [entry.dtype.span],
        bits === 4
          ? { hint: 'Products of 4 bits are not computed; `int4 weights group 32` keeps the weights in 4 bits.' }
          : {},
      );
    if (alone && entry.calibrate !== undefined)
      return refuse('calibrates-nothing', {}, [entry.calibrate.span], {
        hint: 'Leave `calibrate` out, or quantize what is multiplied as well: `to int8 calibrate 20`.',
      });
    const group = entry.weights?.group;
    return {
      weights,
      scheme: {
        bits,
        group: group === undefined ? (alone ? defaultGroup : undefined) : whole('group', group),
        activations: !alone,
      },
      calibrate: alone ? 0 : entry.calibrate === undefined ? defaultBatches : whole('calibrate', entry.calibrate),
      isAsked: entry.calibrate !== undefined,
      span: entry.span,
    };
  });
}

/** Quantized weights, each with its scheme. */
export const quantizedWeights = ({ quantizes }: TrainBlock): { readonly slot: Slot; readonly scheme: Scheme }[] =>
  quantizes.flatMap(({ weights, scheme }) => weights.map((slot) => ({ slot, scheme })));

/** The states that quantization keeps, with their first values. */
export function quantizeStates(
  block: TrainBlock,
): { readonly name: string; readonly type: TensorType; readonly initial: number }[] {
  return quantizedWeights(block).flatMap(({ slot, scheme }) => {
    const names = stateNames(slotPath(slot));
    const type = typeOf(block, slot);
    return [
      { name: names.codes, type: codesType(type, scheme), initial: 0 },
      { name: names.scale, type: scaleType(type, scheme), initial: 1 },
      ...(scheme.activations ? [{ name: names.range, type: { dtype: 'f32', shape: [] } as const, initial: 0 }] : []),
    ];
  });
}

/** The forward pass with quantized weights. */
export function quantizeForward(block: TrainBlock, name: string, forward: Forward, mode: Mode): Forward {
  if (block.quantizes.length === 0) return forward;
  const schemes = new Map(quantizedWeights(block).map(({ slot, scheme }) => [slotPath(slot), scheme]));
  const build = createBuilder(name);
  try {
    return rebuilt(forward, build, quantizeInto(build, forwardGraph(forward), schemes, mode));
  } catch (error) {
    if (!(error instanceof CannotQuantize)) throw error;
    const slot = quantizedWeights(block).find((weight) => slotPath(weight.slot) === error.path)?.slot;
    const line = block.quantizes.find(({ weights }) => weights.some((weight) => weight === slot));
    const where = error.node?.origin.span;
    return refuse(
      'cannot-quantize',
      { path: error.path, why: error.message },
      [...(line === undefined ? [] : [line.span]), ...(where === undefined ? [] : [where])],
      {
        hint: `Keep the weight alone in few bits: \`quantize ${error.path} to int8 weights\`. Or leave it out of the selector.`,
      },
    );
  }
}

/** Looks at one batch: the ranges of what quantized weights are multiplied with grow to hold it. */
export function buildCalibration(
  block: TrainBlock,
  data: DataDescription,
  batch: number,
  diagnostics: Diagnostics,
): Graph {
  const name = `${block.name}.calibrate`;
  const context = createContext(createBuilder(name), diagnostics);
  const loss = evaluateBody(context, block, block.data, data, batch, block.loss.parameters, block.loss.body);
  const { sum } = sumAndCount(context, loss, block.loss.body.span);
  const small = compactForward(block, name, { context, values: [sum] });
  return quantizeForward(block, name, small, 'observe').context.root.finish();
}

/** Computes codes and scales of all quantized weights. */
export function buildQuantize(block: TrainBlock): Graph {
  const build = createBuilder(`${block.name}.quantize`);
  for (const { slot, scheme } of quantizedWeights(block)) {
    const path = slotPath(slot);
    build.origin = { path: pathOf(slot.owner) };
    const { codes, scale } = encode(build, build.input(path, 'param', typeOf(block, slot)), scheme);
    build.output(stateNames(path).codes, 'update', codes);
    build.output(stateNames(path).scale, 'update', scale);
  }
  return build.finish();
}
