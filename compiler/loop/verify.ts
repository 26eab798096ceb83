/** What every Loop program obeys. A violation is a bug of the pass that made it, never of a user. */
import { elementCount } from '../../common/elements.ts';
import { mayMeet, readsOf, writesOf } from './accesses.ts';
import { comparisons, isInside, linksOf, ownBuffers } from './build.ts';
import type {
  Access,
  Axis,
  Buffer,
  Chain,
  Coordinate,
  Expression,
  Kernel,
  LoopProgram,
  Result,
  Segment,
  Stage,
  Step,
  Store,
} from './loop.ts';

/** Sentences, one per violation; empty for a program that is well formed. */
export function verifyLoop(program: LoopProgram): string[] {
  const checker = new Checker(program);
  for (const step of program.steps) checker.step(step, []);
  return checker.violations;
}

class Checker {
  readonly violations: string[] = [];
  private where = '';
  /** Those of the program, and those of the chain at hand. */
  private readonly buffers: Set<Buffer>;

  constructor(program: LoopProgram) {
    this.buffers = new Set(program.buffers);
    const names = new Set<string>();
    for (const { name, data, shape, role } of program.buffers) {
      if (names.has(name)) this.say(`two buffers are called '${name}'`);
      names.add(name);
      if ((data !== undefined) !== (role === 'constant'))
        this.say(`buffer '${name}': constants, and only they, have data`);
      if (data !== undefined && data.length !== elementCount(shape))
        this.say(`buffer '${name}' has ${data.length} elements of data`);
    }
  }

  private say(message: string): void {
    this.violations.push(this.where === '' ? message : `${this.where}: ${message}`);
  }

  step(step: Step, around: readonly Axis[]): void {
    if (step.kind === 'repeat') for (const inner of step.body) this.step(inner, [...around, step.axis]);
    else this.kernel(step, around);
  }

  private kernel(kernel: Kernel, around: readonly Axis[]): void {
    this.where = `kernel ${kernel.name}`;
    const written = kernel.segments.map((segment) => linksOf(segment).flatMap(writesOf));
    kernel.segments.forEach((segment, at) => {
      this.segment(segment, around);
      const read = linksOf(segment).flatMap(readsOf);
      written.forEach((others, other) => {
        if (other === at) return;
        for (const access of read)
          if (others.some((store) => mayMeet(store, access)))
            this.say(`segment ${at} reads '${access.buffer.name}', which segment ${other} writes`);
      });
    });
    this.where = '';
  }

  private segment(segment: Segment, around: readonly Axis[]): void {
    if (segment.kind === 'chain') return this.chain(segment, around);
    if (segment.kind === 'scatter') {
      const axes = new Set([...around, ...segment.batch, ...segment.walk]);
      if (segment.id.dtype !== 'i32') this.say('ids are i32');
      this.expression(segment.id, axes, new Set());
      this.expression(segment.value, new Set([...axes, ...segment.rest]), new Set());
      return;
    }
    if (segment.kind === 'contraction') {
      const axes = new Set([...around, ...segment.axes]);
      const inner = new Set([...axes, ...segment.reduce]);
      this.expression(segment.left, inner, new Set());
      this.expression(segment.right, inner, new Set());
      segment.stores.forEach((store) => this.store(store, axes, new Set([segment.result])));
      return;
    }
    const results = new Set<Result>();
    for (const stage of segment.stages) this.stage(stage, new Set([...around, ...segment.axes]), results);
  }

  private chain(chain: Chain, around: readonly Axis[]): void {
    const { axes, walk, spans, last, end } = chain;
    const own = ownBuffers(chain);
    for (const { name, role } of own)
      if (role !== 'temporary') this.say(`'${name}' of a chain is ${role}, not temporary`);
    own.forEach((buffer) => this.buffers.add(buffer));
    for (const span of spans)
      for (const part of span.parts) this.segment(part, [...around, ...axes, ...walk, ...span.axes]);
    for (const part of last) this.segment(part, [...around, ...axes]);
    for (const part of end) this.segment(part, around);
    own.forEach((buffer) => this.buffers.delete(buffer));
  }

  private stage(stage: Stage, axes: ReadonlySet<Axis>, results: Set<Result>): void {
    if (stage.kind === 'cumulate') {
      const inner = new Set([...axes, stage.axis]);
      this.expression(stage.value, inner, results);
      stage.stores.forEach((store) => this.store(store, inner, new Set([...results, stage.result])));
      return;
    }
    const inner = new Set([...axes, ...stage.axes]);
    if (stage.kind === 'store') stage.stores.forEach((store) => this.store(store, inner, results));
    else {
      for (const { value } of stage.results) this.expression(value, inner, results);
      for (const { result } of stage.results) results.add(result);
    }
  }

  private store({ access, value }: Store, axes: ReadonlySet<Axis>, results: ReadonlySet<Result>): void {
    this.expression(value, axes, results);
    this.access(access, 'none', axes, results);
    if (access.buffer.dtype !== value.dtype)
      this.say(`a ${value.dtype} is stored to '${access.buffer.name}', which holds ${access.buffer.dtype}`);
    if (access.buffer.role === 'batch' || access.buffer.role === 'scalar' || access.buffer.role === 'constant')
      this.say(`'${access.buffer.name}' is only read`);
  }

  private access(
    { buffer, shape, index }: Access,
    guard: 'none' | 'zero' | 'check',
    axes: ReadonlySet<Axis>,
    results: ReadonlySet<Result>,
  ): void {
    if (!this.buffers.has(buffer)) this.say(`'${buffer.name}' is not a buffer of the program`);
    if (elementCount(shape) !== elementCount(buffer.shape))
      this.say(`'${buffer.name}' has ${elementCount(buffer.shape)} elements, seen as ${elementCount(shape)}`);
    if (index.length !== shape.length)
      this.say(`'${buffer.name}' is read with ${index.length} coordinates of ${shape.length}`);
    index.forEach((at, dim) => {
      this.coordinate(at, axes, results);
      const empty = at.kind === 'affine' && at.terms.some(({ axis }) => axis.size === 0);
      if (
        guard === 'none' &&
        !empty &&
        (at.kind === 'computed' || !isInside(at, shape[dim])) &&
        ![...axes].some((axis) => axis.size === 0)
      )
        this.say(`coordinate ${dim} of '${buffer.name}' may be outside, and nothing guards it`);
    });
  }

  private coordinate(at: Coordinate, axes: ReadonlySet<Axis>, results: ReadonlySet<Result>): void {
    if (at.kind === 'computed') {
      if (at.value.dtype !== 'i32') this.say('a computed coordinate is i32');
      this.expression(at.value, axes, results);
      return;
    }
    for (const { axis } of at.terms) if (!axes.has(axis)) this.say(`axis '${axis.name}' is used outside its loop`);
  }

  private expression(root: Expression, axes: ReadonlySet<Axis>, results: ReadonlySet<Result>): void {
    const seen = new Set<Expression>();
    const visit = (expression: Expression): void => {
      if (seen.has(expression)) return;
      seen.add(expression);
      if (expression.kind === 'coordinate') this.coordinate(expression.value, axes, results);
      else if (expression.kind === 'result') {
        if (!results.has(expression.of)) this.say(`result '${expression.of.name}' is used before it is there`);
      } else if (expression.kind === 'load') {
        if (expression.dtype !== expression.access.buffer.dtype)
          this.say(
            `'${expression.access.buffer.name}' holds ${expression.access.buffer.dtype}, read as ${expression.dtype}`,
          );
        this.access(expression.access, expression.guard, axes, results);
      } else if (expression.kind === 'apply') {
        this.operands(expression);
        expression.operands.forEach(visit);
      }
    };
    visit(root);
  }

  private operands({ op, operands, dtype }: Extract<Expression, { kind: 'apply' }>): void {
    if (op === 'cast' || op === 'philox') return;
    const [a, b] = op === 'where' ? operands.slice(1) : operands;
    if (op === 'where' && operands[0].dtype !== 'bool') this.say('a condition is bool');
    if (b !== undefined && a.dtype !== b.dtype) this.say(`${op} of ${a.dtype} and ${b.dtype}`);
    if (dtype !== (comparisons.has(op) ? 'bool' : a.dtype)) this.say(`${op} of ${a.dtype} does not give ${dtype}`);
  }
}
