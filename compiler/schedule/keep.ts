/**
 * Values worth keeping: an expensive expression that a later stage of a region computes again (the exponentials of a
 * softmax) is stored to scratch by the first stage that computes it and read back by the others.
 */
import { axisAt } from '../loop/build.ts';
import type { Access, Axis, Buffer, Expression, Region, Stage } from '../loop/loop.ts';
import type { Dtype } from '../types/dtype.ts';
import { isExpensive, partsOf, pointsOf } from './cost.ts';
import { dependsOn } from './expression.ts';
import { fingerprint, type Fingerprint, type Numbers } from './fingerprint.ts';
import { walk } from './rewrite.ts';

export interface Keeping {
  /** What each stage stores to scratch after computing it. */
  readonly stores: ReadonlyMap<Stage, readonly { readonly value: Expression; readonly access: Access }[]>;
  /** What is read from scratch instead of being computed. */
  readonly loads: ReadonlyMap<Expression, Access>;
}

/** Elements of scratch per item at most: it should stay in the second-level cache. */
const limit = 32_768;

export function findKept(region: Region, scratch: (dtype: Dtype, shape: readonly number[]) => Buffer): Keeping {
  const keys = keyMaker();
  const firsts = new Map<string, { stage: Stage; value: Expression; buffer?: Buffer }>();
  const stores = new Map<Stage, { value: Expression; access: Access }[]>();
  const loads = new Map<Expression, Access>();
  for (const stage of region.stages) {
    if (stage.kind === 'cumulate' || stage.axes.length === 0 || pointsOf(stage.axes) > limit) continue;
    const costly = costlyOf(stage);
    const find = (of: Expression): void => {
      if (!costly.has(of)) return;
      const key = keys(stage, of);
      const first = dependsOn(of, stage.axes) ? firsts.get(key) : undefined;
      if (first !== undefined && first.stage !== stage) {
        if (first.buffer === undefined) {
          first.buffer = scratch(
            of.dtype,
            stage.axes.map((axis) => axis.size),
          );
          const kept = stores.get(first.stage) ?? [];
          kept.push({ value: first.value, access: accessOf(first.buffer, axesOf(first.stage)) });
          stores.set(first.stage, kept);
        }
        loads.set(of, accessOf(first.buffer, stage.axes));
      } else if (of.kind === 'apply') of.operands.forEach(find);
    };
    partsOf(stage).values.forEach(find);
    if (stage.kind === 'reduce')
      for (const of of costly) {
        const key = keys(stage, of);
        if (dependsOn(of, stage.axes) && !firsts.has(key) && !loads.has(of)) firsts.set(key, { stage, value: of });
      }
  }
  return { stores, loads };
}

const axesOf = (stage: Stage): readonly Axis[] => (stage.kind === 'cumulate' ? [stage.axis] : stage.axes);

const accessOf = (buffer: Buffer, axes: readonly Axis[]): Access => ({
  buffer,
  shape: buffer.shape,
  index: axes.map(axisAt),
});

/** The expressions of a stage with something expensive in them. */
function costlyOf(stage: Stage): ReadonlySet<Expression> {
  const costly = new Set<Expression>();
  walk(partsOf(stage).values, (of) => {
    if (of.kind === 'apply' && (isExpensive(of) || of.operands.some((operand) => costly.has(operand)))) costly.add(of);
  });
  return costly;
}

/** Equal keys: the same function of the region's axes and of the position along the stage's. */
function keyMaker(): (stage: Stage, of: Expression) => string {
  const numbers: Numbers = new Map();
  const seen = new Map<object, number>();
  const identity = (of: object): string => {
    const known = seen.get(of) ?? seen.size;
    seen.set(of, known);
    return String(known);
  };
  const prints = new Map<Stage, Fingerprint>();
  return (stage, root) => {
    const inner = axesOf(stage);
    const axis = (of: Axis): string => (inner.includes(of) ? `i${inner.indexOf(of)}` : identity(of));
    const print = prints.get(stage) ?? fingerprint(numbers, { axis, other: identity });
    prints.set(stage, print);
    return `${inner.map(({ size }) => size).join()}:${print.expression(root)}`;
  };
}
