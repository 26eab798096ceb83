/** The table of ops: everything the compiler knows about each, by name. */
import { binaryOps, unaryOps } from '../graph/graph.ts';
import type { Attributes, BinaryOp, OpName, UnaryOp } from '../graph/graph.ts';
import type { TensorType } from '../types/tensor.ts';
import { binaryType } from './binary.ts';
import { contractType } from './contract.ts';
import { constantType, iotaType, randomType } from './create.ts';
import { cumulativeType } from './cumulative.ts';
import { gatherType, scatterType } from './gather.ts';
import { loopType } from './loop.ts';
import { concatType, reshapeType, viewType } from './movement.ts';
import { argreduceType, reduceType } from './reduce.ts';
import { castType, detachType, whereType } from './select.ts';
import { unaryType } from './unary.ts';

export type OpTable = { readonly [Name in OpName]: { readonly type: (inputs: readonly TensorType[], attributes: Attributes[Name]) => TensorType[] } };

const unary = Object.fromEntries(unaryOps.map((op) => [op, { type: (i: readonly TensorType[]) => unaryType(op, i) }])) as unknown as Pick<OpTable, UnaryOp>;
const binary = Object.fromEntries(binaryOps.map((op) => [op, { type: (i: readonly TensorType[]) => binaryType(op, i) }])) as unknown as Pick<OpTable, BinaryOp>;

export const ops: OpTable = {
  ...unary, ...binary,
  constant: { type: constantType }, iota: { type: iotaType }, random: { type: randomType },
  where: { type: whereType }, cast: { type: castType }, detach: { type: detachType },
  reshape: { type: reshapeType }, view: { type: viewType }, concat: { type: concatType },
  contract: { type: contractType }, reduce: { type: reduceType }, argreduce: { type: argreduceType },
  cumulative: { type: cumulativeType }, gather: { type: gatherType }, scatter: { type: scatterType }, loop: { type: loopType },
};
