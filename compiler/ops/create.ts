/** Tensors made from nothing but their attributes and the random key: constant, iota, random. */
import type { Op } from '../graph/op.ts';
import { concrete, equal, product, showShape } from '../types/dim.ts';
import { blank, roundAll, stridesOf } from './numeric.ts';
import { philoxWord } from '../../common/philox.ts';
import { fail, needAxis, needDtype, needSizes, showType, two } from './rules.ts';

export const constant: Op<'constant'> = {
  name: 'constant',
  doc: 'One number everywhere, or the elements in row-major order.',
  type(_, { dtype, shape, value }) {
    needSizes(shape);
    if (typeof value !== 'number' && !equal(product(shape), value.length))
      fail('size-mismatch', `${value.length} numbers do not fill ${showShape(shape)}`);
    return [{ dtype, shape }];
  },
  interpret(_, { dtype, value }, [type], context) {
    const result = blank(type);
    if (typeof value === 'number') result.data.fill(value);
    else result.data.set(value);
    roundAll(result.data, dtype, context);
    return [result];
  },
  samples: [
    { inputs: [], attributes: { dtype: 'f32', shape: [], value: 1.5 } },
    { inputs: [], attributes: { dtype: 'f32', shape: [0, 2], value: 1 } },
    { inputs: [], attributes: { dtype: 'i32', shape: [3], value: [1, 2, 3] } },
    { inputs: [], attributes: { dtype: 'bf16', shape: [2, 2], value: [0.1, -0.2, Infinity, 4] } },
  ],
};

export const iota: Op<'iota'> = {
  name: 'iota',
  doc: 'The coordinate along one axis, as i32.',
  type(_, { shape, axis }) {
    needSizes(shape);
    needAxis('iota', shape, axis);
    return [{ dtype: 'i32', shape }];
  },
  interpret(_, { axis }, [type]) {
    const result = blank(type);
    const shape = concrete(type.shape);
    const [stride, size] = [stridesOf(shape)[axis], shape[axis]];
    for (let i = 0; i < result.data.length; i++) result.data[i] = Math.floor(i / stride) % size;
    return [result];
  },
  samples: [
    { inputs: [], attributes: { shape: [5], axis: 0 } },
    { inputs: [], attributes: { shape: [2, 3, 4], axis: 1 } },
    { inputs: [], attributes: { shape: [3, 0], axis: 0 } },
  ],
};

export const random: Op<'random'> = {
  name: 'random',
  doc:
    'Random bits (Philox4x32-10): element i is word 0 of the counter (i, stream, step, 0) under the seed. The same ' +
    'on every target.',
  type(inputs, { shape }) {
    const [seed, step] = two('random', inputs);
    needDtype('the seed of random numbers', seed, 'u32');
    needDtype('the step of random numbers', step, 'u32');
    if (seed.shape.length !== 1 || seed.shape[0] !== 2)
      fail('size-mismatch', `the seed of random numbers has to be u32[2], not ${showType(seed)}`);
    if (step.shape.length !== 0)
      fail('size-mismatch', `the step of random numbers has to be a scalar u32, not ${showType(step)}`);
    needSizes(shape);
    return [{ dtype: 'u32', shape }];
  },
  interpret(inputs, { stream }, [type]) {
    const [{ data: key }, { data: step }] = two('random', inputs);
    const result = blank(type);
    for (let i = 0; i < result.data.length; i++)
      result.data[i] = philoxWord(i, stream >>> 0, step[0], 0, key[0], key[1]);
    return [result];
  },
  samples: [[], [1], [0], [3, 5]].map((shape) => ({
    inputs: [
      { dtype: 'u32', shape: [2] },
      { dtype: 'u32', shape: [] },
    ],
    attributes: { stream: 7, shape },
    integers: [0, 1000],
  })),
};
