/** The monoids of reduce and cumulative: how two elements combine and what an empty reduction gives. */
import type { Monoid } from '../graph/graph.ts';
import type { Dtype } from '../types/dtype.ts';
import { limits } from './numeric.ts';
import { binaryScalar } from './scalar.ts';

export const identity = (monoid: Monoid, dtype: Dtype): number =>
  monoid === 'sum' ? 0 : monoid === 'prod' ? 1 : monoid === 'max' ? limits(dtype).least : limits(dtype).greatest;

const combiners = { sum: 'add', prod: 'mul', max: 'max', min: 'min' } as const;

export const combine = (monoid: Monoid, dtype: Dtype): ((a: number, b: number) => number) =>
  binaryScalar(combiners[monoid], dtype);
