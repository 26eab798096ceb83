/** The table of ops: everything the compiler knows about each, by name. A missing op does not compile. */
import type { OpName } from '../graph/graph.ts';
import type { Op } from '../graph/op.ts';
import { binary } from './binary.ts';
import { contract } from './contract.ts';
import { constant, iota, random } from './create.ts';
import { cumulative } from './cumulative.ts';
import { gather, scatter } from './gather.ts';
import { loop } from './loop.ts';
import { concat, reshape, view } from './movement.ts';
import { argreduce, reduce } from './reduce.ts';
import { after, cast, detach, where } from './select.ts';
import { unary } from './unary.ts';

export const ops: { readonly [Name in OpName]: Op<Name> } = {
  ...unary,
  ...binary,
  constant,
  iota,
  random,
  where,
  cast,
  detach,
  after,
  reshape,
  view,
  concat,
  contract,
  reduce,
  argreduce,
  cumulative,
  gather,
  scatter,
  loop,
};
