/**
 * What a step of Loop IR costs: the bytes it has to move, the arithmetic it has to do. Read off the program, nothing is run.
 *
 *   bytes   every element a step touches, counted once per buffer: what a machine with a perfect cache would move. An access
 *           touches at most one element per point of the axes in its index, and at most its whole buffer.
 *   flops   floating-point operations, each counted at the points of the axes it depends on: what does not change along an
 *           axis is computed once for it. A multiply-add is two, a reduction one per point, a function such as exp one.
 */
import type { Access, Axis, Buffer, Coordinate, Expression, Kernel, Segment, Step, Store } from '../loop/loop.ts';
import { children, ownBuffers } from '../loop/build.ts';
import { bytesOf } from '../tile/plan-memory.ts';
import { dtypeBytes, isFloat } from '../types/dtype.ts';

export interface Cost {
  /** Bytes per buffer, in one run of the step. */
  readonly reads: ReadonlyMap<Buffer, number>;
  readonly writes: ReadonlyMap<Buffer, number>;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** All of them, the products of contractions included. */
  readonly flops: number;
}

/** What segments cost in one run of them; `fixed`: axes of repeats around them, which stand still. */
export function costOf(segments: readonly Segment[], fixed: readonly Axis[] = []): Cost {
  const tally = new Tally(new Set(fixed));
  for (const segment of segments) tally.segment(segment);
  return tally.finish();
}

/** Kernels of a step in the order in which they run, with the repeats around them. */
export function kernelsOf(
  steps: readonly Step[],
  around: readonly Axis[] = [],
): { readonly kernel: Kernel; readonly repeats: readonly Axis[] }[] {
  return steps.flatMap((step) =>
    step.kind === 'kernel' ? [{ kernel: step, repeats: around }] : kernelsOf(step.body, [...around, step.axis]),
  );
}

class Tally {
  private readonly fixed: ReadonlySet<Axis>;
  private readonly reads = new Map<Buffer, number>();
  private readonly writes = new Map<Buffer, number>();
  private flops = 0;
  /** Of a chain: never written to memory that others see. */
  private readonly locals = new Set<Buffer>();

  constructor(fixed: ReadonlySet<Axis>) {
    this.fixed = fixed;
  }

  /** `around`: the axes of the chain that it is a link of. */
  segment(segment: Segment, around: readonly Axis[] = []): void {
    const outer = segment.kind === 'scatter' ? [] : [...around, ...segment.axes];
    const axesOf = dependencies(this.fixed, outer);
    switch (segment.kind) {
      case 'chain':
        ownBuffers(segment).forEach((own) => this.locals.add(own));
        for (const { axes, parts } of segment.spans)
          for (const link of parts) this.segment(link, [...segment.axes, ...segment.walk, ...axes]);
        for (const link of segment.last) this.segment(link, segment.axes);
        for (const link of segment.end) this.segment(link);
        return;
      case 'contraction': {
        const points = pointsOf([...outer, ...segment.reduce]);
        this.flops += (segment.bytes === true ? 8 : 2) * points;
        this.expressions([segment.left, segment.right], axesOf);
        this.stores(segment.stores, outer, axesOf);
        return;
      }
      case 'scatter': {
        const points = pointsOf([...segment.batch, ...segment.walk, ...segment.rest]);
        this.flops += points;
        this.expressions([segment.id, segment.value], axesOf);
        this.add(this.writes, segment.target, bytesOf(segment.target));
        return;
      }
      case 'region':
        for (const stage of segment.stages) {
          const inner = stage.kind === 'cumulate' ? [stage.axis] : stage.axes;
          const points = pointsOf([...outer, ...inner]);
          if (stage.kind === 'reduce') {
            this.expressions(
              stage.results.map(({ value }) => value),
              axesOf,
            );
            this.flops += points * stage.results.length;
            continue;
          }
          if (stage.kind === 'cumulate') {
            this.expressions([stage.value], axesOf);
            this.flops += points;
          }
          this.stores(stage.stores, [...outer, ...inner], axesOf);
        }
    }
  }

  finish(): Cost {
    const { reads, writes, flops } = this;
    return { reads, writes, bytesRead: total(reads), bytesWritten: total(writes), flops };
  }

  private stores(stores: readonly Store[], axes: readonly Axis[], axesOf: Dependencies): void {
    this.expressions(
      stores.map(({ value }) => value),
      axesOf,
    );
    for (const { access } of stores) {
      this.expressions(
        access.index.flatMap((at) => (at.kind === 'computed' ? [at.value] : [])),
        axesOf,
      );
      this.add(
        this.writes,
        access.buffer,
        footprint(
          access,
          axes.filter((axis) => moves(access, axis, axesOf)),
        ),
      );
    }
  }

  /** Several accesses of one buffer overlap or lie side by side: together they touch it once at most. */
  private add(uses: Map<Buffer, number>, buffer: Buffer, bytes: number): void {
    if (!this.locals.has(buffer)) uses.set(buffer, Math.min((uses.get(buffer) ?? 0) + bytes, bytesOf(buffer)));
  }

  /** What is shared is computed and read once. */
  private readonly seen = new Set<Expression>();
  private expressions(roots: readonly Expression[], axesOf: Dependencies): void {
    for (const root of roots) {
      if (this.seen.has(root)) continue;
      this.seen.add(root);
      this.expressions(children(root), axesOf);
      if (root.kind === 'load') this.add(this.reads, root.access.buffer, footprint(root.access, axesOf(root)));
      if (root.kind !== 'apply') continue;
      const points = pointsOf(axesOf(root));
      if (
        root.op !== 'cast' &&
        root.op !== 'tf32' &&
        root.op !== 'where' &&
        root.operands.some(({ dtype }) => isFloat(dtype))
      )
        this.flops += points;
    }
  }
}

type Dependencies = (of: Expression) => ReadonlySet<Axis>;

/** The axes along which an expression changes, those that stand still left out; what was reduced changes along `outer`. */
function dependencies(fixed: ReadonlySet<Axis>, outer: readonly Axis[]): Dependencies {
  const known = new Map<Expression, ReadonlySet<Axis>>();
  const of: Dependencies = (expression) => {
    const before = known.get(expression);
    if (before !== undefined) return before;
    const axes = new Set<Axis>(expression.kind === 'result' ? outer : []);
    const note = (at: Coordinate): void => {
      if (at.kind === 'affine') for (const { axis } of at.terms) if (!fixed.has(axis)) axes.add(axis);
    };
    if (expression.kind === 'coordinate') note(expression.value);
    if (expression.kind === 'load') expression.access.index.forEach(note);
    for (const child of children(expression)) for (const axis of of(child)) axes.add(axis);
    known.set(expression, axes);
    return axes;
  };
  return of;
}

const moves = ({ index }: Access, axis: Axis, axesOf: Dependencies): boolean =>
  index.some((at) => (at.kind === 'affine' ? at.terms.some((term) => term.axis === axis) : axesOf(at.value).has(axis)));

/** Bytes an access touches over all points of the axes along which it moves. */
const footprint = ({ buffer }: Access, axes: Iterable<Axis>): number =>
  Math.min(pointsOf(axes) * dtypeBytes[buffer.dtype], bytesOf(buffer));

const pointsOf = (axes: Iterable<Axis>): number => [...axes].reduce((points, { size }) => points * size, 1);

const total = (uses: ReadonlyMap<Buffer, number>): number => [...uses.values()].reduce((sum, bytes) => sum + bytes, 0);
