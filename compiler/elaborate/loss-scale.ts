/**
 * Dynamic loss scaling, for gradients that are stored in f16: the loss is multiplied by a scale before it is
 * differentiated and the gradients are divided by it, so that small ones are not rounded to 0.
 *
 * As PyTorch's GradScaler: the scale starts at 65,536; 2,000 good steps in a row double it; a step whose gradients are not
 * all finite is skipped — nothing is updated, and the optimizer does not count it — and halves it, down to 1.
 */
import type { Builder } from '../graph/build.ts';
import type { Value } from '../graph/graph.ts';

/** The states of a scaled run, with their first values. `updates` counts the steps that were not skipped. */
export const lossScaleStates = [
  { name: 'loss_scale.scale', initial: 65_536 },
  { name: 'loss_scale.good_steps', initial: 0 },
  { name: 'loss_scale.skips', initial: 0 },
  { name: 'loss_scale.updates', initial: 0 },
] as const;

const growEvery = 2_000;
const largest = 2 ** 127;
const largestFinite = (2 - 2 ** -23) * largest;

/** The scaling of one (micro-)step. */
export interface LossScale {
  /** What is differentiated instead of the loss. */
  scaled(loss: Value): Value;
  /** The gradients as they would be, from those of the scaled loss. Decides whether the step is good. */
  unscaled(gradients: readonly Value[]): readonly Value[];
  /** The number of this update, as f32: 1 at the first. */
  readonly update: Value;
  /** The next value of something that a skipped step leaves as it was. */
  settled(next: Value, before: Value): Value;
  /** The same for a buffer, in a step whose gradients may not be known yet: skipped where it is not finite. */
  settledBuffer(next: Value, before: Value): Value;
  /** Writes the states' next values and what the driver wants to know. */
  finish(): void;
}

export function scaleLoss(build: Builder): LossScale {
  const scalar = (value: number): Value => build.constant(value, 'f32');
  const [scale, goodSteps, skips, updates] = lossScaleStates.map(({ name }) =>
    build.input(name, 'state', { dtype: 'f32', shape: [] }),
  );
  let good: Value | undefined;
  const decided = (): Value => {
    if (good === undefined) throw new Error('whether a step is good is known after its gradients');
    return good;
  };
  const chosen = (condition: Value, next: Value, before: Value): Value =>
    build.where(build.broadcast(condition, next.type.shape), next, before);
  return {
    scaled: (loss) => build.binary('mul', loss, scale),
    unscaled(gradients) {
      const inverse = build.binary('div', scalar(1), scale);
      const results = gradients.map((gradient) =>
        build.binary('mul', gradient, build.broadcast(inverse, gradient.type.shape)),
      );
      good = areFinite(build, results);
      return results;
    },
    update: build.binary('add', updates, scalar(1)),
    settled: (next, before) => chosen(decided(), next, before),
    settledBuffer: (next, before) => chosen(areFinite(build, [next]), next, before),
    finish() {
      const counted = build.binary('add', goodSteps, scalar(1));
      const grows = build.binary('le', scalar(growEvery), counted);
      const grown = build.where(
        grows,
        build.binary('min', build.binary('mul', scale, scalar(2)), scalar(largest)),
        scale,
      );
      const shrunk = build.binary('max', build.binary('mul', scale, scalar(0.5)), scalar(1));
      const skipped = build.where(decided(), scalar(0), build.binary('add', skips, scalar(1)));
      build.output('loss_scale.scale', 'update', build.where(decided(), grown, shrunk));
      build.output(
        'loss_scale.good_steps',
        'update',
        build.where(build.binary('and', decided(), build.unary('not', grows)), counted, scalar(0)),
      );
      build.output('loss_scale.skips', 'update', skipped);
      build.output(
        'loss_scale.updates',
        'update',
        build.where(decided(), build.binary('add', updates, scalar(1)), updates),
      );
      build.output('loss_scale', 'result', scale);
      build.output('skipped_in_a_row', 'result', skipped);
    },
  };
}

/** Is none of the elements infinite or no number? */
function areFinite(build: Builder, values: readonly Value[]): Value {
  const counts = values.map((value) => {
    const filled = (number: number): Value => build.constant(number, 'f32', value.type.shape);
    const isFine = build.binary('le', build.unary('abs', value), filled(largestFinite));
    return build.reduce(
      'max',
      build.where(isFine, filled(0), filled(1)),
      value.type.shape.map((_, axis) => axis),
    );
  });
  const worst = counts.reduce((a, b) => build.binary('max', a, b));
  return build.binary('lt', worst, build.constant(0.5, 'f32'));
}
