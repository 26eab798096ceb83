/** Elementwise functions of one tensor. */
import type { Builder } from '../graph/build.ts';
import type { UnaryOp, Value } from '../graph/graph.ts';
import type { Op, Sample } from '../graph/op.ts';
import { isFloat } from '../types/dtype.ts';
import type { Dtype } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';
import { arithmetic } from './arithmetic.ts';
import { blank, roundAll } from './numeric.ts';
import { fail, needFloat, needNumber, one } from './rules.ts';
import { unaryScalar } from './scalar.ts';

/** The adjoint of the operand x from that of the result y. */
type Gradient = (x: Value, y: Value, adjoint: Value, build: Builder) => Value;

interface Facts {
  readonly doc: string;
  readonly takes: 'float' | 'number' | 'logical';
  /** Where the function is smooth: what its samples are drawn from. */
  readonly range?: readonly [number, number];
  readonly gradient?: Gradient;
}

const facts: Record<UnaryOp, Facts> = {
  neg: { doc: '-x. Unsigned integers wrap.', takes: 'number', gradient: (_x, _y, g, build) => build.unary('neg', g) },
  abs: {
    doc: 'The size of x. Its gradient at 0 is 0.',
    takes: 'number',
    gradient: (x, _y, g, build) => build.binary('mul', g, build.unary('sign', x)),
  },
  sign: { doc: '-1, 0 or 1. Constant almost everywhere: no gradient.', takes: 'number' },
  exp: { doc: 'e to the power of x.', takes: 'float', gradient: (_x, y, g, build) => build.binary('mul', g, y) },
  log: {
    doc: 'The natural logarithm: -inf at 0, NaN below.',
    takes: 'float',
    range: [0.3, 3],
    gradient: (x, _y, g, build) => build.binary('div', g, x),
  },
  sin: {
    doc: 'The sine of x in radians.',
    takes: 'float',
    gradient: (x, _y, g, build) => build.binary('mul', g, build.unary('cos', x)),
  },
  cos: {
    doc: 'The cosine of x in radians.',
    takes: 'float',
    gradient: (x, _y, g, build) => build.unary('neg', build.binary('mul', g, build.unary('sin', x))),
  },
  tanh: {
    doc: 'The hyperbolic tangent.',
    takes: 'float',
    gradient(_x, y, g, build) {
      const { multiply, subtract, filled } = arithmetic(build);
      return multiply(g, subtract(filled(y, 1), multiply(y, y)));
    },
  },
  erf: {
    doc: 'The error function, 2/√π ∫₀ˣ exp(-t²) dt.',
    takes: 'float',
    gradient(x, _y, g, build) {
      const { multiply, negate, scaled } = arithmetic(build);
      return multiply(g, scaled(build.unary('exp', negate(multiply(x, x))), 2 / Math.sqrt(Math.PI)));
    },
  },
  sqrt: {
    doc: 'The square root; its gradient at 0 is infinite.',
    takes: 'float',
    range: [0.3, 3],
    gradient(_x, y, g, build) {
      const { divide, scaled } = arithmetic(build);
      return divide(scaled(g, 0.5), y);
    },
  },
  rsqrt: {
    doc: '1/√x: infinite at 0, and so is its gradient.',
    takes: 'float',
    range: [0.3, 3],
    gradient(_x, y, g, build) {
      const { multiply, scaled } = arithmetic(build);
      return multiply(scaled(g, -0.5), multiply(y, multiply(y, y)));
    },
  },
  floor: { doc: 'The greatest whole number not above x. No gradient.', takes: 'float' },
  ceil: { doc: 'The least whole number not below x. No gradient.', takes: 'float' },
  round: { doc: 'The nearest whole number, ties to the even one. No gradient.', takes: 'float' },
  tf32: {
    doc: 'The nearest number of 11 binary digits, ties away from 0: what tensor cores take of f32. Gradients pass as they are.',
    takes: 'float',
    gradient: (_x, _y, g) => g,
  },
  not: { doc: 'The opposite of a bool; every bit of an integer flipped.', takes: 'logical' },
};

function record<Name extends UnaryOp>(name: Name): Op<Name> {
  const { doc, takes, range, gradient } = facts[name];
  return {
    name,
    doc,
    type(inputs) {
      const x = one(name, inputs);
      if (takes === 'float') needFloat(name, x);
      else if (takes === 'number') needNumber(name, x);
      else if (isFloat(x.dtype)) fail('dtype-mismatch', `${name} takes bool or integers, not ${x.dtype}`);
      return [x];
    },
    interpret(inputs, _, [type], context) {
      const { data } = one(name, inputs);
      const apply = unaryScalar(name, context.precision === 'f64' && isFloat(type.dtype) ? 'f64' : type.dtype);
      const result = blank(type);
      for (let i = 0; i < data.length; i++) result.data[i] = apply(data[i]);
      roundAll(result.data, type.dtype, context);
      return [result];
    },
    ...(gradient === undefined
      ? {}
      : {
          gradient: (node, [adjoint], build) => [
            adjoint === undefined ? undefined : gradient(one(name, node.inputs), node.outputs[0], adjoint, build),
          ],
        }),
    samples: samplesOf<Name>(takes, range),
  };
}

function samplesOf<Name extends UnaryOp>(
  takes: Facts['takes'],
  range: readonly [number, number] | undefined,
): Sample<Name>[] {
  const shapes: TensorType['shape'][] = [[], [1], [7], [0, 3], [3, 5], [2, 1, 9]];
  const more: Dtype[] = takes === 'float' ? ['f16', 'bf16'] : takes === 'number' ? ['i32', 'i8', 'u8'] : ['i32', 'u32'];
  const types: TensorType[] = [
    ...shapes.map((shape): TensorType => ({ dtype: takes === 'logical' ? 'bool' : 'f32', shape })),
    ...more.map((dtype): TensorType => ({ dtype, shape: [3, 5] })),
  ];
  return types.map((type) => ({
    inputs: [type],
    attributes: {},
    ...(range === undefined ? {} : { range }),
    integers:
      type.dtype === 'i32' ? [-9, 9] : type.dtype === 'bool' ? [0, 1] : type.dtype === 'i8' ? [-100, 100] : [0, 200],
  }));
}

export const unary: { readonly [Name in UnaryOp]: Op<Name> } = {
  neg: record('neg'),
  abs: record('abs'),
  sign: record('sign'),
  exp: record('exp'),
  log: record('log'),
  sin: record('sin'),
  cos: record('cos'),
  tanh: record('tanh'),
  erf: record('erf'),
  sqrt: record('sqrt'),
  rsqrt: record('rsqrt'),
  floor: record('floor'),
  ceil: record('ceil'),
  round: record('round'),
  tf32: record('tf32'),
  not: record('not'),
};
