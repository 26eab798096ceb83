/** Choosing and converting elements: where, cast, detach. */
import type { Op } from '../graph/op.ts';
import { isFloat } from '../types/dtype.ts';
import type { Dtype } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';
import { blank, roundAll } from './numeric.ts';
import { needDtype, needSameDtype, needSameShape, one, three, two } from './rules.ts';
import { castScalar } from './scalar.ts';

const shapes: TensorType['shape'][] = [[], [1], [7], [0, 3], [3, 5]];

export const where: Op<'where'> = {
  name: 'where',
  doc: '(condition, a, b): a where the condition holds, else b. The gradient goes to the chosen one only.',
  type(inputs) {
    const [condition, a, b] = three('where', inputs);
    needDtype('the condition of where', condition, 'bool');
    needSameDtype('where', a, b);
    needSameShape('where', a, b);
    needSameShape('where', condition, a);
    return [a];
  },
  interpret(inputs, _, [type]) {
    const [condition, a, b] = three('where', inputs);
    const result = blank(type);
    for (let i = 0; i < result.data.length; i++) result.data[i] = condition.data[i] === 0 ? b.data[i] : a.data[i];
    return [result];
  },
  gradient(node, [adjoint], build) {
    const [condition, a] = three('where', node.inputs);
    if (adjoint === undefined) return [];
    const none = build.constant(0, a.type.dtype, a.type.shape);
    return [undefined, build.where(condition, adjoint, none), build.where(condition, none, adjoint)];
  },
  samples: shapes.map((shape) => ({
    inputs: [
      { dtype: 'bool', shape },
      { dtype: 'f32', shape },
      { dtype: 'f32', shape },
    ],
    attributes: {},
    integers: [0, 1],
  })),
};

const conversions: readonly (readonly [Dtype, Dtype])[] = [
  ['f32', 'f16'],
  ['f32', 'bf16'],
  ['f32', 'i32'],
  ['f32', 'u8'],
  ['i32', 'f32'],
  ['i32', 'u8'],
  ['f32', 'i8'],
  ['i32', 'i8'],
  ['i8', 'i32'],
  ['i8', 'f32'],
  ['bool', 'f32'],
  ['i32', 'bool'],
  ['u32', 'f32'],
];

export const cast: Op<'cast'> = {
  name: 'cast',
  doc:
    'The same numbers in another element type. Floats round to nearest even; floats to integers truncate and ' +
    'saturate (NaN is 0); integers wrap; to bool is "not 0".',
  type: (inputs, { dtype }) => [{ dtype, shape: one('cast', inputs).shape }],
  interpret(inputs, { dtype }, [type], context) {
    const x = one('cast', inputs);
    const convert = castScalar(x.type.dtype, dtype);
    const result = blank(type);
    for (let i = 0; i < result.data.length; i++) result.data[i] = convert(x.data[i]);
    roundAll(result.data, dtype, context);
    return [result];
  },
  gradient(node, [adjoint], build) {
    const { dtype } = one('cast', node.inputs).type;
    return [adjoint === undefined || !isFloat(dtype) ? undefined : build.cast(adjoint, dtype)];
  },
  samples: [
    ...shapes.map((shape) => ({ inputs: [{ dtype: 'f32', shape }] as const, attributes: { dtype: 'f64' } as const })),
    ...conversions.map(([from, to]) => ({
      inputs: [{ dtype: from, shape: [3, 5] }],
      attributes: { dtype: to },
      integers: [0, from === 'bool' ? 1 : 300] as const,
    })),
  ],
};

export const after: Op<'after'> = {
  name: 'after',
  doc: 'The first operand itself, not before the second is known. It orders the work, and has no gradient: it is made when gradients are taken.',
  type: (inputs) => [two('after', inputs)[0]],
  interpret: (inputs) => [two('after', inputs)[0]],
  samples: shapes.map((shape) => ({
    inputs: [
      { dtype: 'f32', shape },
      { dtype: 'f32', shape: [2] },
    ],
    attributes: {},
  })),
};

export const detach: Op<'detach'> = {
  name: 'detach',
  doc: 'The value itself; gradients stop here.',
  type: (inputs) => [one('detach', inputs)],
  interpret: (inputs) => [one('detach', inputs)],
  samples: shapes.map((shape) => ({ inputs: [{ dtype: 'f32', shape }], attributes: {} })),
};
