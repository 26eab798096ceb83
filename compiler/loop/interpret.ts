/**
 * The meaning of Loop IR: every kernel point by point, in plain TypeScript, rounding each stored and each computed
 * scalar to its dtype. Slow; the oracle of everything below it.
 */
import { elementCount } from '../../common/elements.ts';
import type { BinaryOp, Monoid, UnaryOp } from '../graph/graph.ts';
import { unaryOps } from '../graph/graph.ts';
import { limits, roundTo } from '../ops/numeric.ts';
import { philoxWord } from '../../common/philox.ts';
import { identity } from '../ops/monoid.ts';
import { binaryScalar, castScalar, dot4, unaryScalar } from '../ops/scalar.ts';
import type { Dtype } from '../types/dtype.ts';
import { isFloat } from '../types/dtype.ts';
import { rowMajorStrides } from './build.ts';
import type {
  Access,
  Axis,
  Buffer,
  Chain,
  Contraction,
  Coordinate,
  Expression,
  Link,
  LoopProgram,
  Region,
  Result,
  Scatter,
  Segment,
  Stage,
  Step,
  Store,
  Sum,
} from './loop.ts';

/** A buffer was read or written outside its bounds without a guard: the program is wrong. */
export class LoopBoundsError extends Error {}

/**
 * Runs the program once. `buffers` gives the inputs by name and receives every other buffer; params and states are
 * updated in place. `outOfRange` tells whether an index computed from data was outside.
 */
export function interpretLoop(
  program: LoopProgram,
  buffers: Map<string, Float64Array>,
): { readonly outOfRange: boolean } {
  for (const buffer of program.buffers) {
    const given = buffers.get(buffer.name);
    const size = elementCount(buffer.shape);
    if (given !== undefined && given.length !== size)
      throw new Error(`buffer '${buffer.name}' has ${size} elements, was given ${given.length}`);
    if (given === undefined)
      buffers.set(
        buffer.name,
        buffer.data === undefined ? new Float64Array(size).fill(NaN) : Float64Array.from(buffer.data),
      );
  }
  const machine = new Machine(buffers);
  for (const step of program.steps) machine.step(step);
  return { outOfRange: machine.outOfRange };
}

type Evaluate = () => number;

class Machine {
  outOfRange = false;
  private readonly positions = new Map<Axis, { at: number }>();
  private readonly results = new Map<Result, { value: number }>();
  private epoch = 0;
  private compiled = new Map<Expression, Evaluate>();
  private readonly locals = new Map<Buffer, Float64Array>();
  private readonly buffers: Map<string, Float64Array>;

  constructor(buffers: Map<string, Float64Array>) {
    this.buffers = buffers;
  }

  step(step: Step): void {
    if (step.kind === 'kernel') {
      for (const segment of step.segments) {
        this.compiled = new Map();
        this.prepare(segment)();
      }
      return;
    }
    const position = this.position(step.axis);
    for (let count = 0; count < step.axis.size; count++) {
      position.at = step.reverse ? step.axis.size - 1 - count : count;
      for (const inner of step.body) this.step(inner);
    }
  }

  private prepare(segment: Segment): () => void {
    switch (segment.kind) {
      case 'region':
        return this.region(segment);
      case 'contraction':
        return this.contraction(segment);
      case 'scatter':
        return this.scatter(segment);
      case 'chain':
        return this.chain(segment);
    }
  }

  private chain({ axes, walk, locals, sums, totals, spans, last, end }: Chain): () => void {
    const memoryOf = (buffer: Buffer): Float64Array => {
      const memory = new Float64Array(elementCount(buffer.shape));
      this.locals.set(buffer, memory);
      return memory;
    };
    const memoriesOf = (of: readonly Sum[]): { memory: Float64Array; first: number }[] =>
      of.map(({ buffer, monoid }) => ({ memory: memoryOf(buffer), first: identity(monoid, buffer.dtype) }));
    const memories = [...locals.map((local) => ({ memory: memoryOf(local), first: NaN })), ...memoriesOf(sums)];
    const whole = memoriesOf(totals);
    const all = (links: readonly Link[]): (() => void) => {
      const runs = links.map((link) => this.prepare(link));
      return () => {
        for (const run of runs) run();
      };
    };
    const rows = spans.map((span) => ({ axes: span.axes, run: all(span.parts) }));
    const [after, atEnd] = [all(last), all(end)];
    return () => {
      for (const { memory, first } of whole) memory.fill(first);
      this.over(axes, () => {
        for (const { memory, first } of memories) memory.fill(first);
        this.over(walk, () => {
          for (const span of rows) this.over(span.axes, span.run);
        });
        after();
      });
      atEnd();
    };
  }

  private region(region: Region): () => void {
    const stages = region.stages.map((stage) => this.stage(stage));
    return () =>
      this.over(region.axes, () => {
        for (const run of stages) run();
      });
  }

  private stage(stage: Stage): () => void {
    if (stage.kind === 'store') {
      const write = this.stores(stage.stores);
      return () => this.over(stage.axes, write);
    }
    if (stage.kind === 'reduce') {
      const parts = stage.results.map(({ result, monoid, value }) => ({
        cell: this.cell(result),
        evaluate: this.compile(value),
        accumulator: createAccumulator(monoid, value.dtype, result.dtype),
      }));
      return () => {
        for (const { accumulator } of parts) accumulator.start();
        let place = 0;
        this.over(stage.axes, () => {
          for (const { accumulator, evaluate } of parts) accumulator.take(evaluate(), place);
          place++;
        });
        for (const { cell, accumulator } of parts) cell.value = accumulator.finish();
      };
    }
    const cell = this.cell(stage.result);
    const evaluate = this.compile(stage.value);
    const write = this.stores(stage.stores);
    const accumulator = createAccumulator(stage.monoid, stage.value.dtype, stage.result.dtype);
    const position = this.position(stage.axis);
    return () => {
      accumulator.start();
      for (let count = 0; count < stage.axis.size; count++) {
        position.at = stage.reverse ? stage.axis.size - 1 - count : count;
        this.epoch++;
        accumulator.take(evaluate(), count);
        cell.value = accumulator.finish();
        this.epoch++;
        write();
      }
    };
  }

  private contraction(contraction: Contraction): () => void {
    const left = this.compile(contraction.left);
    const right = this.compile(contraction.right);
    const cell = this.cell(contraction.result);
    const accumulator = createAccumulator('sum', contraction.result.dtype, contraction.result.dtype);
    const numbers = isFloat(contraction.result.dtype) ? (a: number, b: number): number => a * b : Math.imul;
    const multiply = contraction.bytes === true ? dot4 : numbers;
    const write = this.stores(contraction.stores);
    return () =>
      this.over(contraction.axes, () => {
        accumulator.start();
        this.over(contraction.reduce, () => accumulator.take(multiply(left(), right()), 0));
        cell.value = accumulator.finish();
        this.epoch++;
        write();
      });
  }

  private scatter(scatter: Scatter): () => void {
    const target = this.memory(scatter.target);
    const id = this.compile(scatter.id);
    const value = this.compile(scatter.value);
    const strides = rowMajorStrides(scatter.shape);
    const size = scatter.shape[scatter.batch.length];
    const outer = [...scatter.batch, ...scatter.rest].map((axis) => this.position(axis));
    const outerStrides = strides.filter((_, axis) => axis !== scatter.batch.length);
    const update = (): void => {
      const at = id();
      if (at < 0 || at >= size) {
        this.outOfRange = true;
        return;
      }
      let offset = at * strides[scatter.batch.length];
      outer.forEach((position, axis) => (offset += position.at * outerStrides[axis]));
      target[offset] = roundTo(scatter.target.dtype, target[offset] + value());
    };
    return () => {
      target.fill(0);
      this.over([...scatter.batch, ...scatter.walk, ...scatter.rest], update);
    };
  }

  /** All values of a point are computed before any is written. */
  private stores(stores: readonly Store[]): () => void {
    const parts = stores.map(({ access, value }) => ({
      memory: this.memory(access.buffer),
      offset: this.offset(access),
      evaluate: this.compile(value),
      dtype: access.buffer.dtype,
      name: access.buffer.name,
    }));
    const values = new Float64Array(parts.length);
    const offsets = new Float64Array(parts.length);
    return () => {
      parts.forEach(({ evaluate, offset, name }, at) => {
        values[at] = evaluate();
        const found = offset();
        if (typeof found !== 'number') throw new LoopBoundsError(`a store to '${name}' is outside`);
        offsets[at] = found;
      });
      parts.forEach(({ memory, dtype }, at) => (memory[offsets[at]] = roundTo(dtype, values[at])));
    };
  }

  private over(axes: readonly Axis[], body: () => void, depth = 0): void {
    if (depth === axes.length) {
      this.epoch++;
      body();
      return;
    }
    const position = this.position(axes[depth]);
    for (position.at = 0; position.at < axes[depth].size; position.at++) this.over(axes, body, depth + 1);
    position.at = 0;
  }

  private compile(expression: Expression): Evaluate {
    const known = this.compiled.get(expression);
    if (known !== undefined) return known;
    const raw = this.compileRaw(expression);
    let stamp = -1;
    let value = 0;
    const evaluate =
      expression.kind !== 'apply' && expression.kind !== 'load'
        ? raw
        : () => {
            if (stamp !== this.epoch) {
              value = raw();
              stamp = this.epoch;
            }
            return value;
          };
    this.compiled.set(expression, evaluate);
    return evaluate;
  }

  private compileRaw(expression: Expression): Evaluate {
    switch (expression.kind) {
      case 'number':
        return () => expression.value;
      case 'coordinate': {
        const at = this.coordinate(expression.value);
        return () => Math.trunc(at());
      }
      case 'result': {
        const cell = this.cell(expression.of);
        return () => cell.value;
      }
      case 'load': {
        const memory = this.memory(expression.access.buffer);
        const offset = this.offset(expression.access);
        const { guard } = expression;
        return () => {
          const found = offset();
          if (typeof found === 'number') return memory[found];
          if (guard === 'none') throw new LoopBoundsError(`a load from '${expression.access.buffer.name}' is outside`);
          if (guard === 'check' && found === 'computed outside') this.outOfRange = true;
          return 0;
        };
      }
      case 'apply':
        return this.compileApply(expression);
    }
  }

  private compileApply({ op, dtype, operands }: Extract<Expression, { kind: 'apply' }>): Evaluate {
    const [a, b, c, d, e] = operands.map((operand) => this.compile(operand));
    const from = operands[0].dtype;
    if (op === 'where') return () => (a() !== 0 ? b() : c());
    if (op === 'philox') return () => philoxWord(a(), b(), c(), 0, d(), e());
    if (op === 'cast') {
      const scalar = castScalar(from, dtype);
      return () => roundTo(dtype, scalar(a()));
    }
    if (isUnary(op)) {
      const scalar = unaryScalar(op, from);
      return () => roundTo(dtype, scalar(a()));
    }
    const scalar = binaryScalar(op, from);
    return () => roundTo(dtype, scalar(a(), b()));
  }

  /** The flat position, or what is outside. */
  private offset({ shape, index }: Access): () => number | 'outside' | 'computed outside' {
    const strides = rowMajorStrides(shape);
    const parts = index.map((at, axis) => ({
      at: this.coordinate(at),
      size: shape[axis],
      stride: strides[axis],
      computed: at.kind === 'computed',
    }));
    return () => {
      let offset = 0;
      let outside: 'outside' | 'computed outside' | undefined;
      for (const { at, size, stride, computed } of parts) {
        const value = at();
        if (value < 0 || value >= size || !Number.isInteger(value))
          outside = computed && outside === undefined ? 'computed outside' : 'outside';
        offset += value * stride;
      }
      return outside ?? offset;
    };
  }

  private coordinate(at: Coordinate): Evaluate {
    if (at.kind === 'computed') return this.compile(at.value);
    const terms = at.terms.map(({ axis, scale }) => ({ position: this.position(axis), scale }));
    return () => {
      let sum = at.offset;
      for (const { position, scale } of terms) sum += position.at * scale;
      return sum / at.divisor;
    };
  }

  private memory(buffer: Buffer): Float64Array {
    const memory = this.locals.get(buffer) ?? this.buffers.get(buffer.name);
    if (memory === undefined) throw new Error(`buffer '${buffer.name}' is not one of the program's`);
    return memory;
  }

  private position(axis: Axis): { at: number } {
    const known = this.positions.get(axis);
    if (known !== undefined) return known;
    const position = { at: 0 };
    this.positions.set(axis, position);
    return position;
  }

  private cell(result: Result): { value: number } {
    const known = this.results.get(result);
    if (known !== undefined) return known;
    const cell = { value: 0 };
    this.results.set(result, cell);
    return cell;
  }
}

const isUnary = (op: UnaryOp | BinaryOp): op is UnaryOp => (unaryOps as readonly string[]).includes(op);

interface Accumulator {
  start(): void;
  take(value: number, place: number): void;
  finish(): number;
}

/** Floats accumulate in double precision and are rounded once; integers wrap at every step. */
function createAccumulator(monoid: Monoid | 'argmax' | 'argmin', dtype: Dtype, result: Dtype): Accumulator {
  let value = 0;
  let best = -1;
  if (monoid === 'argmax' || monoid === 'argmin') {
    const better =
      monoid === 'argmax' ? (a: number, b: number): boolean => a > b : (a: number, b: number): boolean => a < b;
    return {
      start: () => void (best = -1),
      take(next, place) {
        if (best >= 0 && !better(next, value)) return;
        best = place;
        value = next;
      },
      finish: () => Math.max(best, 0),
    };
  }
  const { least, greatest } = limits(dtype);
  const identity = { sum: 0, prod: 1, max: least, min: greatest }[monoid];
  const scalar = binaryScalar(({ sum: 'add', prod: 'mul', max: 'max', min: 'min' } as const)[monoid], dtype);
  const float = isFloat(dtype);
  return {
    start: () => void (value = identity),
    take: (next) => void (value = float ? scalar(value, next) : roundTo(dtype, scalar(value, next))),
    finish: () => roundTo(result, value),
  };
}
