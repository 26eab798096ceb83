/** Elementwise functions of two tensors of one type. */
import type { Builder } from '../graph/build.ts';
import type { BinaryOp, Value } from '../graph/graph.ts';
import type { Op, Sample } from '../graph/op.ts';
import { isFloat } from '../types/dtype.ts';
import type { Dtype } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';
import { arithmetic } from './arithmetic.ts';
import { blank, roundAll } from './numeric.ts';
import { fail, needFloat, needInteger, needNumber, needSameDtype, needSameShape, two } from './rules.ts';
import { binaryScalar } from './scalar.ts';

/** The adjoints of both operands from that of the result y. */
type Gradient = (a: Value, b: Value, y: Value, adjoint: Value, build: Builder) => [Value, Value];

interface Facts {
  readonly doc: string;
  readonly takes: 'float' | 'number' | 'integer' | 'logical' | 'ordered' | 'any';
  readonly range?: readonly [number, number];
  readonly gradient?: Gradient;
}

/** The whole adjoint goes to the operand that was chosen; where both are equal each gets half. */
function chosen(wins: (a: Value, b: Value, build: Builder) => Value): Gradient {
  return (a, b, _y, g, build) => {
    const { same, scaled, filled } = arithmetic(build);
    const shared = build.where(same(a, b), scaled(g, 0.5), g);
    const none = filled(g, 0);
    return [build.where(wins(b, a, build), none, shared), build.where(wins(a, b, build), none, shared)];
  };
}

const facts: Record<BinaryOp, Facts> = {
  add: { doc: 'a + b.', takes: 'number', gradient: (_a, _b, _y, g) => [g, g] },
  sub: { doc: 'a - b.', takes: 'number', gradient: (_a, _b, _y, g, build) => [g, build.unary('neg', g)] },
  mul: {
    doc: 'a · b.',
    takes: 'number',
    gradient: (a, b, _y, g, build) => [build.binary('mul', g, b), build.binary('mul', g, a)],
  },
  div: {
    doc: 'a / b. Integers: truncated towards 0, and 0 where b is 0.',
    takes: 'number',
    range: [0.5, 2],
    gradient(_a, b, y, g, build) {
      const { divide, multiply, negate } = arithmetic(build);
      const da = divide(g, b);
      return [da, negate(multiply(da, y))];
    },
  },
  rem: {
    doc: 'What division truncated towards 0 leaves: it has the sign of a. Integers: 0 where b is 0.',
    takes: 'number',
    range: [0.5, 2],
    gradient(a, b, _y, g, build) {
      const { divide, multiply, negate, less, filled } = arithmetic(build);
      const quotient = divide(a, b);
      const whole = build.where(
        less(quotient, filled(a, 0)),
        build.unary('ceil', quotient),
        build.unary('floor', quotient),
      );
      return [g, negate(multiply(g, whole))];
    },
  },
  pow: {
    doc:
      'a to the power of b; 0^0 = 1. Gradients: 0 in a where b is 0; 0 in b where a is 0 and b is not negative; NaN ' +
      'in b where a is negative.',
    takes: 'float',
    range: [0.5, 2],
    gradient(a, b, y, g, build) {
      const { multiply, subtract, same, filled } = arithmetic(build);
      const zero = filled(a, 0);
      const da = multiply(g, multiply(b, build.binary('pow', a, subtract(b, filled(b, 1)))));
      const db = multiply(g, multiply(y, build.unary('log', a)));
      const flat = build.binary('and', same(a, zero), build.binary('le', zero, b));
      return [build.where(same(b, zero), zero, da), build.where(flat, zero, db)];
    },
  },
  max: {
    doc: 'The larger; NaN where an operand is. Equal operands share the gradient.',
    takes: 'number',
    gradient: chosen((a, b, build) => build.binary('lt', b, a)),
  },
  min: {
    doc: 'The smaller; NaN where an operand is. Equal operands share the gradient.',
    takes: 'number',
    gradient: chosen((a, b, build) => build.binary('lt', a, b)),
  },
  eq: { doc: 'Are they equal? NaN equals nothing.', takes: 'any' },
  ne: { doc: 'Are they different?', takes: 'any' },
  lt: { doc: 'Is a below b?', takes: 'ordered' },
  le: { doc: 'Is a not above b? False where an operand is NaN.', takes: 'ordered' },
  and: { doc: 'Both; of integers, bit by bit.', takes: 'logical' },
  or: { doc: 'Either or both; of integers, bit by bit.', takes: 'logical' },
  xor: { doc: 'Exactly one; of integers, bit by bit.', takes: 'logical' },
  shl: { doc: 'Bits moved up by b modulo the width.', takes: 'integer' },
  shr: { doc: 'Bits moved down by b modulo the width; i32 keeps its sign.', takes: 'integer' },
};

export const isComparison = (op: BinaryOp): boolean => facts[op].takes === 'any' || facts[op].takes === 'ordered';

function record<Name extends BinaryOp>(name: Name): Op<Name> {
  const { doc, takes, range, gradient } = facts[name];
  return {
    name,
    doc,
    type(inputs) {
      const [a, b] = two(name, inputs);
      needSameDtype(name, a, b);
      needSameShape(name, a, b);
      if (takes === 'float') needFloat(name, a);
      else if (takes === 'number' || takes === 'ordered') needNumber(name, a);
      else if (takes === 'integer') needInteger(name, a);
      else if (takes === 'logical' && isFloat(a.dtype))
        fail('dtype-mismatch', `${name} takes bool or integers, not ${a.dtype}`);
      return [isComparison(name) ? { dtype: 'bool', shape: a.shape } : a];
    },
    interpret(inputs, _, [type], context) {
      const [a, b] = two(name, inputs);
      const apply = binaryScalar(name, a.type.dtype);
      const result = blank(type);
      for (let i = 0; i < result.data.length; i++) result.data[i] = apply(a.data[i], b.data[i]);
      roundAll(result.data, type.dtype, context);
      return [result];
    },
    ...(gradient === undefined
      ? {}
      : {
          gradient(node, [adjoint], build) {
            const [a, b] = two(name, node.inputs);
            return adjoint === undefined ? [] : gradient(a, b, node.outputs[0], adjoint, build);
          },
        }),
    samples: samplesOf<Name>(takes, range),
  };
}

function samplesOf<Name extends BinaryOp>(
  takes: Facts['takes'],
  range: readonly [number, number] | undefined,
): Sample<Name>[] {
  const shapes: TensorType['shape'][] = [[], [1], [7], [0, 3], [3, 5], [2, 1, 9]];
  const main: Dtype = takes === 'integer' ? 'i32' : takes === 'logical' ? 'bool' : 'f32';
  const more: Dtype[] =
    takes === 'float'
      ? ['f16', 'bf16']
      : takes === 'number' || takes === 'ordered'
        ? ['i32', 'i8', 'u8', 'f16']
        : ['i32', 'u32'];
  const types: TensorType[] = [
    ...shapes.map((shape): TensorType => ({ dtype: main, shape })),
    ...more.map((dtype): TensorType => ({ dtype, shape: [3, 5] })),
  ];
  return types.map((type) => ({
    inputs: [type, type],
    attributes: {},
    ...(range === undefined ? {} : { range }),
    integers:
      type.dtype === 'i32' ? [-9, 9] : type.dtype === 'bool' ? [0, 1] : type.dtype === 'i8' ? [-100, 100] : [0, 200],
  }));
}

export const binary: { readonly [Name in BinaryOp]: Op<Name> } = {
  add: record('add'),
  sub: record('sub'),
  mul: record('mul'),
  div: record('div'),
  rem: record('rem'),
  pow: record('pow'),
  max: record('max'),
  min: record('min'),
  eq: record('eq'),
  ne: record('ne'),
  lt: record('lt'),
  le: record('le'),
  and: record('and'),
  or: record('or'),
  xor: record('xor'),
  shl: record('shl'),
  shr: record('shr'),
};
