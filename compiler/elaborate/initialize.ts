/** First values of parameters and buffers, as a graph of its own. */
import type { Value as GraphValue } from '../graph/graph.ts';
import { initialTensor } from './calls.ts';
import { attempt, emit, standing, type Context } from './context.ts';
import { slotsOf } from './instances.ts';
import type { TensorType } from '../types/tensor.ts';
import { slotPath, unknown, type InstanceValue, type Slot, type Value } from './value.ts';

/**
 * Adds an `update` output for every parameter and buffer of an instance. What is drawn depends on the parameter's path
 * alone, so a model keeps its first values when something else in it changes.
 */
export function initialize(
  context: Context,
  root: InstanceValue,
  isLeftOut: (slot: Slot) => boolean = () => false,
  /** What is smaller than it is written gets its values from elsewhere: it begins with zeros. */
  smaller: (slot: Slot) => TensorType | undefined = () => undefined,
): void {
  for (const slot of slotsOf(root)) {
    if (isLeftOut(slot)) continue;
    attempt(context, () => {
      const type = smaller(slot);
      const value = type === undefined ? initialValue(context, slot) : context.root.constant(0, type.dtype, type.shape);
      if (value !== undefined) context.root.output(slotPath(slot), 'update', value);
      return unknown;
    });
  }
}

/** The first value of one slot; undefined where something wrong was reported. */
export function initialValue(context: Context, slot: Slot): GraphValue | undefined {
  const { init } = slot.declaration;
  return standing(context, { path: slotPath(slot), shape: slot.type.shape }, () => {
    const value: Value = initialTensor(
      context,
      context.evaluator.evaluate(context, slot.owner.scope, init),
      slot.type.shape,
      init.span,
    );
    return value.kind === 'tensor'
      ? emit(context, init.span, (builder) => builder.cast(value.value, slot.type.dtype))
      : undefined;
  });
}
