/** Elementwise functions of one tensor. */
import type { UnaryOp } from '../graph/graph.ts';
import type { TensorType } from '../types/tensor.ts';
import { isFloat } from '../types/dtype.ts';
import { fail, needFloat, needNumber, one } from './rules.ts';

type Takes = 'float' | 'number' | 'logical';

const takes: Record<UnaryOp, Takes> = {
  neg: 'number', abs: 'number', sign: 'number',
  exp: 'float', log: 'float', sin: 'float', cos: 'float', tanh: 'float', erf: 'float', sqrt: 'float', rsqrt: 'float',
  floor: 'float', ceil: 'float', round: 'float',
  not: 'logical',
};

export function unaryType(op: UnaryOp, inputs: readonly TensorType[]): TensorType[] {
  const x = one(op, inputs);
  if (takes[op] === 'float') needFloat(op, x);
  else if (takes[op] === 'number') needNumber(op, x);
  else if (isFloat(x.dtype)) fail('dtype-mismatch', `${op} takes bool or integers, not ${x.dtype}`);
  return [x];
}
