/**
 * Mixed precision as a table: what the pass insert-casts does with each kind of op. `docs/precision.md` prints it.
 *
 * Everything is computed in f32. What differs is what is rounded to the low type on the way: the operands of products,
 * and what is kept in memory between them. TF32 is only rounded to: nothing follows it.
 */
import { binaryOps, type Node, type OpName, unaryOps } from '../graph/graph.ts';
import { isProduct } from '../graph/products.ts';

/**
 * low: its operands are rounded, its sum is kept in f32.
 * follows: its result is kept low where what it reads was, and neither `full` nor weights alone.
 * full: its result is kept in f32.
 * moves: its result is kept as what it reads.
 */
export type Treatment = 'low' | 'follows' | 'full' | 'moves';

export interface PolicyRow {
  readonly what: string;
  readonly ops: readonly OpName[];
  readonly treatment: Treatment;
  readonly why: string;
}

const growing = ['exp', 'log', 'pow', 'sqrt', 'rsqrt'] as const satisfies readonly OpName[];
const sums = ['contract', 'reduce', 'argreduce', 'cumulative', 'scatter'] as const satisfies readonly OpName[];
const moves = ['view', 'reshape', 'detach', 'after'] as const satisfies readonly OpName[];
const isGrowing = (op: OpName): boolean => growing.some((name) => name === op);

export const policy: readonly PolicyRow[] = [
  {
    what: 'products: a contraction of two tensors with rows and columns of their own (matrix products, convolutions)',
    ops: ['contract'],
    treatment: 'low',
    why: 'nearly all of the arithmetic and of the traffic',
  },
  {
    what: 'sums, means, softmax, norms, losses: other contractions, reductions, running combinations, scatters',
    ops: sums,
    treatment: 'full',
    why: 'small terms are lost in large low sums',
  },
  {
    what: 'functions that leave the range of their argument',
    ops: growing,
    treatment: 'full',
    why: 'f16 ends at 65,504',
  },
  {
    what: 'recurrences: what a scan carries and stacks (products inside run low)',
    ops: ['loop'],
    treatment: 'full',
    why: 'rounding would add up over the steps',
  },
  {
    what: 'other elementwise functions, concatenation, lookup',
    ops: [
      ...unaryOps.filter((op) => !isGrowing(op)),
      ...binaryOps.filter((op) => !isGrowing(op)),
      'where',
      'cast',
      'concat',
      'gather',
    ],
    treatment: 'follows',
    why: 'activations between products; inside a chain nothing is rounded',
  },
  {
    what: 'reading in another order or shape',
    ops: moves,
    treatment: 'moves',
    why: 'nothing is computed',
  },
  {
    what: 'constants, coordinates, random numbers',
    ops: ['constant', 'iota', 'random'],
    treatment: 'follows',
    why: 'they take the precision of what they meet',
  },
];

const [products] = policy;
const rules = new Map(policy.slice(1).flatMap((rule) => rule.ops.map((op) => [op, rule] as const)));

/** The row of the table that says what becomes of a node. */
export function ruleOf(node: Node): PolicyRow {
  // Where nothing is summed a contraction is elementwise.
  const isElementwise = node.op === 'contract' && node.attributes.reduce.length === 0;
  if (!isElementwise && isProduct(node)) return products;
  const op = isElementwise ? 'mul' : node.op;
  const rule = rules.get(op);
  if (rule === undefined) throw new Error(`the precision policy does not say what becomes of ${op}`);
  return rule;
}

/** What becomes of a node, by the table. */
export const treatmentOf = (node: Node): Treatment => ruleOf(node).treatment;
