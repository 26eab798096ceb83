/**
 * contract: a sum of products of tensors read at affine indices. Matmul, convolution and their adjoints are all this.
 */
import type { AffineIndex } from '../graph/graph.ts';
import type { Op } from '../graph/op.ts';
import { concrete } from '../types/dim.ts';
import { isFloat } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';
import { adjointOfRead } from './adjoint-of-read.ts';
import { at, fixed, pair, whole } from './affine.ts';
import { needIndex } from './movement.ts';
import { runNest } from './nest.ts';
import { blank, roundAll } from './numeric.ts';
import { fail, needNumber, needSameDtype, needSizes } from './rules.ts';

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

/** y[b, i, j, o] = Σ_(u, v, c) x[b, i·stride + u·dilation - pad, …] · w[u, v, c, o]: the axes in that order. */
const convolution = (stride: number, dilation: number, pad: number): AffineIndex[][] => [
  [at(0), pair(1, stride, 4, dilation, 0 - pad), pair(2, stride, 5, dilation, 0 - pad), at(6)],
  [at(4), at(5), at(6), at(3)],
];

export const contract: Op<'contract'> = {
  name: 'contract',
  doc:
    "The sum, over the reduced axes, of the product of the operands, each read at affine functions of the result's " +
    'axes and the reduced ones (0 outside). Accumulated in f64 by the interpreter and rounded once. Of words of bytes ' +
    'a product is the sum of four.',
  type(inputs, { shape, reduce, indices, bytes }) {
    const [first] = inputs;
    if (first === undefined) return fail('operand-count', 'contract takes at least one tensor');
    if (indices.length !== inputs.length)
      fail('operand-count', `contract reads ${indices.length} tensors, but was given ${inputs.length}`);
    if (bytes === true && (inputs.length !== 2 || inputs.some(({ dtype }) => dtype !== 'i32')))
      fail('dtype-mismatch', 'a contraction of bytes takes two tensors of i32');
    needSizes(shape);
    needSizes(reduce);
    inputs.forEach((x, place) => {
      needNumber('a sum of products', x);
      needSameDtype('a sum of products', first, x);
      needIndex('a sum of products', x, indices[place], shape.length + reduce.length);
    });
    return [{ dtype: first.dtype, shape }];
  },
  interpret(inputs, { reduce, indices, bytes }, [type], context) {
    const result = blank(type);
    if (bytes === true) {
      // Four contractions, each of one byte of every word.
      for (let at = 0; at < 32; at += 8) {
        const part = blank(type);
        const reads = inputs.map((x, place) => ({
          data: x.data.map(place === 0 ? (word) => (word >>> at) & 255 : (word) => (word << (24 - at)) >> 24),
          shape: concrete(x.type.shape),
          index: indices[place],
        }));
        runNest(part.data, concrete(type.shape), concrete(reduce), reads, 'wrap');
        for (let i = 0; i < part.data.length; i++) result.data[i] = (result.data[i] + part.data[i]) | 0;
      }
      return [result];
    }
    const reads = inputs.map((x, place) => ({ data: x.data, shape: concrete(x.type.shape), index: indices[place] }));
    runNest(result.data, concrete(type.shape), concrete(reduce), reads, isFloat(type.dtype) ? 'sum' : 'wrap');
    roundAll(result.data, type.dtype, context);
    return [result];
  },
  gradient(node, [adjoint], build) {
    const { shape, reduce, indices, bytes } = node.attributes;
    if (adjoint === undefined || bytes === true) return [];
    return node.inputs.map((value, place) => {
      const others = node.inputs
        .map((other, which) => ({ value: other, index: indices[which] }))
        .filter((_, which) => which !== place);
      return adjointOfRead(
        build,
        { value, index: indices[place] },
        [{ value: adjoint, index: whole(shape.length) }, ...others],
        [...shape, ...reduce],
      );
    });
  },
  samples: [
    {
      inputs: [f32(3, 4), f32(4, 5)],
      attributes: {
        shape: [3, 5],
        reduce: [4],
        indices: [
          [at(0), at(2)],
          [at(2), at(1)],
        ],
      },
    },
    {
      inputs: [f32(2, 3, 4), f32(2, 5, 4)],
      attributes: {
        shape: [2, 3, 5],
        reduce: [4],
        indices: [
          [at(0), at(1), at(3)],
          [at(0), at(2), at(3)],
        ],
      },
    },
    { inputs: [f32(4), f32(4)], attributes: { shape: [], reduce: [4], indices: [[at(0)], [at(0)]] } },
    { inputs: [f32(3), f32(2)], attributes: { shape: [3, 2], reduce: [], indices: [[at(0)], [at(1)]] } },
    {
      inputs: [f32(1, 4), f32(4, 1)],
      attributes: {
        shape: [3, 1],
        reduce: [4],
        indices: [
          [fixed(0), at(2)],
          [at(2), fixed(0)],
        ],
      },
    },
    {
      inputs: [f32(3, 0), f32(0, 2)],
      attributes: {
        shape: [3, 2],
        reduce: [0],
        indices: [
          [at(0), at(2)],
          [at(2), at(1)],
        ],
      },
    },
    {
      inputs: [f32(2, 5, 6, 2), f32(3, 3, 2, 3)],
      attributes: { shape: [2, 3, 4, 3], reduce: [3, 3, 2], indices: convolution(1, 1, 0) },
    },
    {
      inputs: [f32(1, 6, 7, 2), f32(3, 3, 2, 2)],
      attributes: { shape: [1, 3, 4, 2], reduce: [3, 3, 2], indices: convolution(2, 1, 1) },
    },
    {
      inputs: [f32(1, 7, 8, 1), f32(3, 2, 1, 2)],
      attributes: { shape: [1, 3, 4, 2], reduce: [3, 2, 1], indices: convolution(1, 2, 0) },
    },
    {
      inputs: [f32(1, 8, 9, 1), f32(3, 3, 1, 1)],
      attributes: { shape: [1, 3, 3, 1], reduce: [3, 3, 1], indices: convolution(2, 2, 1) },
    },
    { inputs: [f32(9)], attributes: { shape: [4], reduce: [2], indices: [[pair(0, 2, 1, 1)]] } },
    { inputs: [f32(6)], attributes: { shape: [2], reduce: [3], indices: [[at(1)]] } },
    { inputs: [f32(4, 4)], attributes: { shape: [], reduce: [4], indices: [[at(0), at(0)]] } },
    {
      inputs: [f32(3, 2), f32(2, 4), f32(3)],
      attributes: { shape: [4], reduce: [3, 2], indices: [[at(1), at(2)], [at(2), at(0)], [at(1)]] },
    },
    {
      inputs: [
        { dtype: 'i32', shape: [3, 4] },
        { dtype: 'i32', shape: [4, 5] },
      ],
      attributes: {
        shape: [3, 5],
        reduce: [4],
        indices: [
          [at(0), at(2)],
          [at(2), at(1)],
        ],
      },
      integers: [-100000, 100000],
    },
    {
      inputs: [
        { dtype: 'i32', shape: [9, 7] },
        { dtype: 'i32', shape: [7, 20] },
      ],
      attributes: {
        shape: [9, 20],
        reduce: [7],
        indices: [
          [at(0), at(2)],
          [at(2), at(1)],
        ],
        bytes: true,
      },
      integers: [-2147483648, 2147483647],
    },
    {
      inputs: [
        { dtype: 'f16', shape: [3, 4] },
        { dtype: 'f16', shape: [4, 5] },
      ],
      attributes: {
        shape: [3, 5],
        reduce: [4],
        indices: [
          [at(0), at(2)],
          [at(2), at(1)],
        ],
      },
    },
  ],
};
