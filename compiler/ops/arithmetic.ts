/** Short names for the arithmetic that gradients and laws build, over any Builder. */
import type { Builder } from '../graph/build.ts';
import type { Value } from '../graph/graph.ts';

export function arithmetic(build: Builder) {
  return {
    add: (a: Value, b: Value): Value => build.binary('add', a, b),
    subtract: (a: Value, b: Value): Value => build.binary('sub', a, b),
    multiply: (a: Value, b: Value): Value => build.binary('mul', a, b),
    divide: (a: Value, b: Value): Value => build.binary('div', a, b),
    negate: (x: Value): Value => build.unary('neg', x),
    less: (a: Value, b: Value): Value => build.binary('lt', a, b),
    same: (a: Value, b: Value): Value => build.binary('eq', a, b),
    /** A number everywhere, in the type of `x`. */
    filled: (x: Value, value: number): Value => build.constant(value, x.type.dtype, x.type.shape),
    scaled: (x: Value, factor: number): Value =>
      build.binary('mul', x, build.constant(factor, x.type.dtype, x.type.shape)),
  };
}
