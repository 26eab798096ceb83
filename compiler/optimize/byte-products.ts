/**
 * A sum of few products of bytes is computed in f32, which holds it exactly and multiplies and adds in one instruction.
 *
 *   before   %3[i, j]: i32[8, 32] = sum[k: 16] i32(%x[i, k]) * i32(%w[k, j])                         %x, %w: i8
 *   after    %4[i, j]: f32[8, 32] = sum[k: 16] f32(%x[i, k]) * f32(%w[k, j])
 *            %3: i32[8, 32] = cast(%4)
 *
 * Exact: whole numbers up to 2²⁴ are numbers of f32, and so is every partial sum of at most 1,024 products of 128 · 128.
 */
import { elementCount } from '../../common/elements.ts';
import type { Node, Value } from '../graph/graph.ts';
import { copyNode, mapped, rebuild } from '../graph/rewrite.ts';
import { createBuilder } from '../ops/builder.ts';
import { concrete } from '../types/dim.ts';
import type { Pass } from './pass.ts';

const mostProducts = 2 ** 24 / (128 * 128);

export const byteProducts: Pass = {
  name: 'byte-products',
  doc: 'Sums few products of bytes in f32, which is exact.',
  tolerance: 0,
  run(graph) {
    const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((value) => [value, node] as const)));
    return rebuild(graph, createBuilder(graph.name), (node, values, build) => {
      const bytes = node.op === 'contract' ? node.inputs.map((value) => bytesOf(value, producers)) : [];
      if (node.op !== 'contract' || bytes.length !== 2 || bytes.includes(undefined) || !isShort(node)) {
        copyNode(build, node, values);
        return;
      }
      build.origin = node.origin;
      const operands = bytes.flatMap((value) =>
        value === undefined ? [] : [build.cast(mapped(values, value), 'f32')],
      );
      const { indices, shape, reduce } = node.attributes;
      values.set(node.outputs[0], build.cast(build.contract(operands, indices, shape, reduce), 'i32'));
    });
  },
};

const isShort = ({ attributes }: Extract<Node, { op: 'contract' }>): boolean =>
  attributes.bytes !== true && elementCount(concrete(attributes.reduce)) <= mostProducts;

/** What was widened from a signed byte to i32. */
export function bytesOf(value: Value, producers: ReadonlyMap<Value, Node>): Value | undefined {
  const node = producers.get(value);
  return node?.op === 'cast' && value.type.dtype === 'i32' && node.inputs[0].type.dtype === 'i8'
    ? node.inputs[0]
    : undefined;
}
