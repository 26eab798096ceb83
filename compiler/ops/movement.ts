/** Ops that move elements and compute nothing: reshape, view, concat. */
import { elementCount } from '../../common/elements.ts';
import type { AffineIndex } from '../graph/graph.ts';
import type { Op } from '../graph/op.ts';
import type { Dim } from '../types/dim.ts';
import { add, concrete, equal, product, showShape } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';
import { adjointOfRead } from './adjoint-of-read.ts';
import { at, fixed, whole } from './affine.ts';
import { runNest } from './nest.ts';
import { blank } from './numeric.ts';
import { fail, needAxis, needSameDtype, needSizes, one, showType } from './rules.ts';

const f32 = (...shape: number[]): TensorType => ({ dtype: 'f32', shape });

export const reshape: Op<'reshape'> = {
  name: 'reshape',
  doc: 'The same elements in the same row-major order, in another shape.',
  type(inputs, { shape }) {
    const x = one('reshape', inputs);
    needSizes(shape);
    if (!equal(product(x.shape), product(shape)))
      fail('size-mismatch', `${showType(x)} cannot be reshaped to ${showShape(shape)}: the number of elements differs`);
    return [{ dtype: x.dtype, shape }];
  },
  interpret: (inputs, _, [type]) => [{ type, data: one('reshape', inputs).data }],
  gradient: (node, [adjoint], build) => [adjoint && build.reshape(adjoint, one('reshape', node.inputs).type.shape)],
  samples: [
    { inputs: [f32()], attributes: { shape: [1, 1] } },
    { inputs: [f32(2, 3, 5)], attributes: { shape: [6, 5] } },
    { inputs: [f32(6, 5)], attributes: { shape: [2, 15] } },
    { inputs: [f32(0, 4)], attributes: { shape: [2, 0] } },
  ],
};

/** The index has one coordinate per axis of what is read, over `axes` iteration axes. */
export function needIndex(what: string, read: TensorType, index: readonly AffineIndex[], axes: number): void {
  if (index.length !== read.shape.length)
    fail(
      'rank-mismatch',
      `${what} reads ${showType(read)} with ${index.length} ${index.length === 1 ? 'coordinate' : 'coordinates'}`,
    );
  for (const { terms, divisor } of index) {
    if (divisor === 0) fail('bad-index', `${what} divides a coordinate by zero`);
    for (const { axis } of terms)
      if (!Number.isInteger(axis) || axis < 0 || axis >= axes)
        fail('axis-out-of-range', `${what} uses iteration axis ${axis} of ${axes}`);
  }
}

export const view: Op<'view'> = {
  name: 'view',
  doc:
    "Reads x at affine functions of the result's coordinates, 0 outside: transpose, broadcast, slice, pad, flip, " +
    'window, diagonal.',
  type(inputs, { shape, index }) {
    const x = one('view', inputs);
    needSizes(shape);
    needIndex('view', x, index, shape.length);
    return [{ dtype: x.dtype, shape }];
  },
  interpret(inputs, { index }, [type]) {
    const x = one('view', inputs);
    const result = blank(type);
    runNest(result.data, concrete(type.shape), [], [{ data: x.data, shape: concrete(x.type.shape), index }], 'assign');
    return [result];
  },
  gradient(node, [adjoint], build) {
    const { shape, index } = node.attributes;
    return [
      adjoint &&
        adjointOfRead(
          build,
          { value: one('view', node.inputs), index },
          [{ value: adjoint, index: whole(shape.length) }],
          shape,
        ),
    ];
  },
  samples: [
    { inputs: [f32(3, 4)], attributes: { shape: [4, 3], index: [at(1), at(0)] } },
    { inputs: [f32()], attributes: { shape: [2, 3], index: [] } },
    { inputs: [f32(1, 5)], attributes: { shape: [4, 5], index: [fixed(0), at(1)] } },
    { inputs: [f32(7)], attributes: { shape: [3], index: [at(0, 1, 2)] } },
    { inputs: [f32(7)], attributes: { shape: [4], index: [at(0, 2)] } },
    { inputs: [f32(5)], attributes: { shape: [9], index: [at(0, 1, -2)] } },
    { inputs: [f32(5)], attributes: { shape: [5], index: [at(0, -1, 4)] } },
    { inputs: [f32(4, 4)], attributes: { shape: [4], index: [at(0), at(0)] } },
    {
      inputs: [f32(9)],
      attributes: {
        shape: [4, 3],
        index: [
          {
            terms: [
              { axis: 0, scale: 2 },
              { axis: 1, scale: 1 },
            ],
            offset: -1,
            divisor: 1,
          },
        ],
      },
    },
    {
      inputs: [f32(3, 2)],
      attributes: { shape: [7, 2], index: [{ terms: [{ axis: 0, scale: 1 }], offset: -1, divisor: 2 }, at(1)] },
    },
    { inputs: [f32(3, 4)], attributes: { shape: [4], index: [fixed(1), at(0)] } },
    { inputs: [f32(0, 4)], attributes: { shape: [2, 4], index: [at(0), at(1)] } },
    { inputs: [f32(3)], attributes: { shape: [0], index: [at(0)] } },
  ],
};

export const concat: Op<'concat'> = {
  name: 'concat',
  doc: 'The operands one after the other along an axis.',
  type(inputs, { axis }) {
    const [first, ...rest] = inputs;
    if (first === undefined) return fail('operand-count', 'concat takes at least one tensor');
    let size: Dim = needAxis('concat', first.shape, axis);
    for (const x of rest) {
      needSameDtype('concat', first, x);
      if (
        x.shape.length !== first.shape.length ||
        x.shape.some((dim, place) => place !== axis && !equal(dim, first.shape[place]))
      )
        fail(
          'size-mismatch',
          `concat along axis ${axis} takes tensors that agree on every other axis, not ${showType(first)} and ${showType(x)}`,
        );
      size = add(size, x.shape[axis]);
    }
    return [{ dtype: first.dtype, shape: first.shape.map((dim, place) => (place === axis ? size : dim)) }];
  },
  interpret(inputs, { axis }, [type]) {
    const result = blank(type);
    const shape = concrete(type.shape);
    const inside = elementCount(shape.slice(axis + 1));
    const outside = elementCount(shape.slice(0, axis));
    let start = 0;
    for (const x of inputs) {
      const length = concrete(x.type.shape)[axis] * inside;
      for (let row = 0; row < outside; row++)
        result.data.set(x.data.subarray(row * length, (row + 1) * length), row * shape[axis] * inside + start);
      start += length;
    }
    return [result];
  },
  gradient(node, [adjoint], build) {
    const { axis } = node.attributes;
    let start: Dim = 0;
    return node.inputs.map(({ type }) => {
      const from = start;
      start = add(start, type.shape[axis]);
      return adjoint && build.slice(adjoint, axis, from, type.shape[axis]);
    });
  },
  samples: [
    { inputs: [f32(2, 3), f32(2, 1), f32(2, 4)], attributes: { axis: 1 } },
    { inputs: [f32(5)], attributes: { axis: 0 } },
    { inputs: [f32(2, 0, 3), f32(2, 2, 3)], attributes: { axis: 1 } },
    { inputs: [f32(1, 2), f32(3, 2)], attributes: { axis: 0 } },
  ],
};
