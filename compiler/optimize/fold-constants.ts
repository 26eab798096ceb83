/**
 * Computes what depends on constants only, where the result is small (at most 4096 numbers).
 *
 *   before   %1: f32[3] = constant([1, 2, 3])            after   %2: f32[3] = constant([1, 4, 9])
 *            %2: f32[3] = mul(%1, %1)
 *
 * Rounds as the interpreter does. Leaves the constants that were read behind for remove-dead.
 */
import type { Builder } from '../graph/build.ts';
import type { Attributes, OpName, Value } from '../graph/graph.ts';
import type { Arithmetic, Tensor } from '../graph/op.ts';
import { copyNode, rebuild } from '../graph/rewrite.ts';
import { createBuilder } from '../ops/builder.ts';
import { ops } from '../ops/index.ts';
import { concrete, product } from '../types/dim.ts';
import type { Pass } from './pass.ts';

const largest = 4096;
const arithmetic: Arithmetic = { precision: 'as-written' };

/** Ops that cost nothing where they are used, or have no operands to be constant. */
const kept: ReadonlySet<OpName> = new Set<OpName>(['constant', 'iota', 'random', 'loop']);

export const foldConstants: Pass = {
  name: 'fold-constants',
  doc: 'Computes what depends on constants only.',
  tolerance: 0,
  run: (graph) =>
    rebuild(graph, createBuilder(graph.name, fold), (node, values, build) => void copyNode(build, node, values)),
};

function fold<Name extends OpName>(
  op: Name,
  inputs: readonly Value[],
  attributes: Attributes[OpName],
  build: Builder,
): readonly Value[] | undefined {
  if (kept.has(op) || inputs.length === 0) return undefined;
  const tensors: Tensor[] = [];
  for (const value of inputs) {
    const tensor = constantTensor(value, build);
    if (tensor === undefined) return undefined;
    tensors.push(tensor);
  }
  const own = attributes as Attributes[Name];
  const types = ops[op].type(
    inputs.map(({ type }) => type),
    own,
  );
  if (types.some(({ shape }) => !isSmall(shape))) return undefined;
  const results = ops[op].interpret(tensors, own, types, { ...arithmetic, run: () => [] });
  return results.map(({ data, type }) => {
    const same = data.length > 0 && data.every((value) => Object.is(value, data[0]));
    return build.constant(same ? data[0] : [...data], type.dtype, type.shape);
  });
}

const isSmall = (shape: Value['type']['shape']): boolean => {
  const count = product(shape);
  return typeof count === 'number' && count <= largest;
};

function constantTensor(value: Value, build: Builder): Tensor | undefined {
  const node = build.producer(value);
  if (node?.op !== 'constant' || !isSmall(value.type.shape)) return undefined;
  const [tensor] = ops.constant.interpret([], node.attributes, [{ ...value.type, shape: concrete(value.type.shape) }], {
    ...arithmetic,
    run: () => [],
  });
  return tensor;
}
