/** Elementwise functions of two tensors of one type. */
import type { BinaryOp } from '../graph/graph.ts';
import type { TensorType } from '../types/tensor.ts';
import { isFloat } from '../types/dtype.ts';
import { fail, needFloat, needInteger, needNumber, needSameDtype, needSameShape, two } from './rules.ts';

type Takes = 'float' | 'number' | 'integer' | 'logical' | 'any' | 'ordered';

const takes: Record<BinaryOp, Takes> = {
  add: 'number', sub: 'number', mul: 'number', div: 'number', rem: 'number', pow: 'float', max: 'number', min: 'number',
  eq: 'any', ne: 'any', lt: 'ordered', le: 'ordered',
  and: 'logical', or: 'logical', xor: 'logical', shl: 'integer', shr: 'integer',
};

export const isComparison = (op: BinaryOp): boolean => takes[op] === 'any' || takes[op] === 'ordered';

export function binaryType(op: BinaryOp, inputs: readonly TensorType[]): TensorType[] {
  const [a, b] = two(op, inputs);
  needSameDtype(op, a, b);
  needSameShape(op, a, b);
  const kind = takes[op];
  if (kind === 'float') needFloat(op, a);
  else if (kind === 'number' || kind === 'ordered') needNumber(op, a);
  else if (kind === 'integer') needInteger(op, a);
  else if (kind === 'logical' && isFloat(a.dtype)) fail('dtype-mismatch', `${op} takes bool or integers, not ${a.dtype}`);
  return [isComparison(op) ? { dtype: 'bool', shape: a.shape } : a];
}
