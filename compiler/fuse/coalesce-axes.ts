/**
 * Two neighbouring axes that every access walks as one become one: rows of a batch of sequences are just rows, an
 * elementwise kernel over contiguous tensors counts 0 … n-1. Schedules see the largest matrices there are.
 */
import { affine } from '../loop/build.ts';
import type { Access, Axis, Coordinate, Expression, Link, Region, Scatter, Stage, Store } from '../loop/loop.ts';
import { createRewriter, type Rewriter, visitExpression } from './rewrite-expression.ts';

/** The segment with as few axes as its accesses allow. */
export function coalesceAxes(segment: Link | Scatter): Link | Scatter {
  switch (segment.kind) {
    case 'contraction': {
      let current = segment;
      const accesses = (): Uses => usesOf([current.left, current.right], current.stores);
      mergeAll(
        () => current.axes,
        accesses,
        (pair) => {
          const change = changer(pair);
          current = {
            ...current,
            axes: pair.replace(current.axes),
            left: change.expression(current.left),
            right: change.expression(current.right),
            stores: change.stores(current.stores),
          };
        },
      );
      mergeAll(
        () => current.reduce,
        accesses,
        (pair) => {
          const change = changer(pair);
          current = {
            ...current,
            reduce: pair.replace(current.reduce),
            left: change.expression(current.left),
            right: change.expression(current.right),
          };
        },
      );
      return current;
    }
    case 'scatter': {
      let current = segment;
      for (const list of ['batch', 'walk', 'rest'] as const)
        mergeAll(
          () => current[list],
          () => usesOf([current.id, current.value], []),
          (pair) => {
            const change = changer(pair);
            const next = {
              ...current,
              [list]: pair.replace(current[list]),
              id: change.expression(current.id),
              value: change.expression(current.value),
            };
            const size = current.shape[current.batch.length];
            current = {
              ...next,
              shape: [...next.batch.map((axis) => axis.size), size, ...next.rest.map((axis) => axis.size)],
            };
          },
        );
      return current;
    }
    case 'region':
      return coalesceRegion(segment);
  }
}

function coalesceRegion(region: Region): Region {
  let current = region;
  mergeAll(
    () => current.axes,
    () => joinUses(current.stages.map(usesOfStage)),
    (pair) => {
      const change = changer(pair);
      current = {
        ...current,
        axes: pair.replace(current.axes),
        stages: current.stages.map(change.stage),
      };
    },
  );
  const stages = current.stages.map((stage) => {
    let changed: Stage = stage;
    mergeAll(
      () => (changed.kind === 'cumulate' ? [] : changed.axes),
      () => usesOfStage(changed),
      (pair) => {
        const next = changer(pair).stage(changed);
        changed = next.kind === 'cumulate' ? next : { ...next, axes: pair.replace(next.axes) };
      },
    );
    return changed;
  });
  return { ...current, stages };
}

/** Everything in which axes are used: accesses that may be seen flat, and coordinates that stand alone. */
interface Uses {
  readonly accesses: readonly Access[];
  readonly coordinates: readonly Coordinate[];
}

const joinUses = (all: readonly Uses[]): Uses => ({
  accesses: all.flatMap(({ accesses }) => accesses),
  coordinates: all.flatMap(({ coordinates }) => coordinates),
});

function usesOf(expressions: readonly Expression[], stores: readonly Store[]): Uses {
  const accesses: Access[] = [];
  const coordinates: Coordinate[] = [];
  const add = (access: Access, guarded: boolean): void => {
    if (guarded) coordinates.push(...access.index);
    else accesses.push(access);
  };
  visitExpression([...expressions, ...stores.map(({ value }) => value)], (expression) => {
    if (expression.kind === 'coordinate') coordinates.push(expression.value);
    else if (expression.kind === 'load') add(expression.access, expression.guard !== 'none');
  });
  for (const { access } of stores) add(access, false);
  return { accesses, coordinates };
}

const usesOfStage = (stage: Stage): Uses =>
  stage.kind === 'reduce'
    ? usesOf(
        stage.results.map(({ value }) => value),
        [],
      )
    : usesOf(stage.kind === 'cumulate' ? [stage.value] : [], stage.stores);

interface Pair {
  readonly high: Axis;
  readonly low: Axis;
  readonly merged: Axis;
  replace(axes: readonly Axis[]): Axis[];
}

function mergeAll(list: () => readonly Axis[], uses: () => Uses, apply: (pair: Pair) => void): void {
  for (let at = 0; at + 1 < list().length;) {
    const [high, low] = [list()[at], list()[at + 1]];
    const { accesses, coordinates } = uses();
    if (
      !coordinates.every((coordinate) => runsAsOne(coordinate, high, low)) ||
      !accesses.every(
        (access) =>
          access.index.every((coordinate) => runsAsOne(coordinate, high, low)) ||
          joinDims(access, high, low) !== undefined,
      )
    ) {
      at++;
      continue;
    }
    const merged: Axis = { name: high.name, size: high.size * low.size };
    apply({
      high,
      low,
      merged,
      replace: (axes) => axes.flatMap((axis) => (axis === high ? [merged] : axis === low ? [] : [axis])),
    });
  }
}

const scaleOf = (at: Coordinate, axis: Axis): number =>
  at.kind === 'affine' ? (at.terms.find((term) => term.axis === axis)?.scale ?? 0) : 0;

/** A computed coordinate is looked at through the accesses inside it. */
const runsAsOne = (at: Coordinate, high: Axis, low: Axis): boolean => scaleOf(at, high) === scaleOf(at, low) * low.size;

/** The access with neighbouring dimensions joined until the two axes run as one in each; undefined if they never do. */
function joinDims(access: Access, high: Axis, low: Axis): Access | undefined {
  let { shape, index } = access;
  for (;;) {
    const broken = index.findIndex((at) => !runsAsOne(at, high, low));
    if (broken < 0) return { buffer: access.buffer, shape, index };
    const [a, b] = [index[broken], index[broken + 1]];
    if (b === undefined || a.kind !== 'affine' || b.kind !== 'affine' || a.divisor !== 1 || b.divisor !== 1)
      return undefined;
    const inner = shape[broken + 1];
    const joined = affine(
      [...a.terms.map(({ axis, scale }) => ({ axis, scale: scale * inner })), ...b.terms],
      a.offset * inner + b.offset,
    );
    index = [...index.slice(0, broken), joined, ...index.slice(broken + 2)];
    shape = [...shape.slice(0, broken), shape[broken] * inner, ...shape.slice(broken + 2)];
  }
}

function changer({ high, low, merged }: Pair): Rewriter {
  const coordinate = (at: Coordinate): Coordinate =>
    at.kind === 'computed'
      ? at
      : affine(
          [...at.terms.filter(({ axis }) => axis !== high && axis !== low), { axis: merged, scale: scaleOf(at, low) }],
          at.offset,
          at.divisor,
        );
  const access = (given: Access): Access => {
    const joined = given.index.every((at) => runsAsOne(at, high, low)) ? given : joinDims(given, high, low);
    if (joined === undefined) throw new Error('an access does not walk the axes as one');
    return { ...joined, index: joined.index.map(coordinate) };
  };
  return createRewriter({ coordinate, access });
}
