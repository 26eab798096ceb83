/**
 * Products of bytes are summed four at a time where the machine has an instruction for it (AVX-512 VNNI): words of four
 * neighbours along the sum take the place of their bytes.
 *
 *   before   %3[i, j]: i32[8, 32] = sum[k: 16] i32(%x[i, k]) * i32(%w[k, j])                         %x, %w: i8
 *   after    %5: i32[8, 4] = the bytes of %x plus 128, so unsigned, four to a word
 *            %6: i32[4, 32] = the bytes of %w, four to a word
 *            %7[i, j]: i32[8, 32] = dot4[k: 4] %5[i, k] * %6[k, j]
 *            %3: i32[8, 32] = %7 - 128 * (sum[k: 16] %w[k, j])
 *
 * Exact: sums of 32 bits wrap the same way in any order. The signed operand is the one that is read axis by axis, the smaller where
 * both are. Only products with rows and columns, along an axis of at least three that both read straight; zeros fill its last word.
 */
import type { Builder } from '../graph/build.ts';
import type { AffineIndex, Node, NodeOf, Value } from '../graph/graph.ts';
import { isProduct } from '../graph/products.ts';
import { copyNode, mapped, rebuild, type ValueMap } from '../graph/rewrite.ts';
import { at, bounds, plainAxis, whole } from '../ops/affine.ts';
import { createBuilder } from '../ops/builder.ts';
import { elements } from '../ops/numeric.ts';
import { concrete, type Dim } from '../types/dim.ts';
import { bytesOf } from './byte-products.ts';
import type { Pass } from './pass.ts';

export const packBytes: Pass = {
  name: 'pack-bytes',
  doc: 'Sums products of bytes four at a time, where the machine can.',
  tolerance: 0,
  run(graph) {
    const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((value) => [value, node] as const)));
    return rebuild(graph, createBuilder(graph.name), (node, values, build) => {
      const found = plan(node, producers);
      if (found === undefined) copyNode(build, node, values);
      else {
        build.origin = node.origin;
        values.set(node.outputs[0], pack(build, found, values));
      }
    });
  },
};

interface Operand {
  readonly bytes: Value;
  readonly index: readonly AffineIndex[];
  /** Which of its axes the words lie along. */
  readonly along: number;
}

interface Packing {
  readonly attributes: NodeOf<'contract'>['attributes'];
  readonly unsigned: Operand;
  readonly signed: Operand;
  /** The axis of the sum, and its size. */
  readonly axis: number;
  readonly size: number;
  /** Axes of the result that the signed operand depends on. */
  readonly columns: readonly number[];
}

/** Fewer neighbours are not worth a word of four, and fewer words no instruction. */
const fewest = { neighbours: 3, words: 4 } as const;

function plan(node: Node, producers: ReadonlyMap<Value, Node>): Packing | undefined {
  if (!isProduct(node) || node.attributes.bytes === true) return undefined;
  const [first, second] = node.inputs.map((value) => bytesOf(value, producers));
  if (first === undefined || second === undefined) return undefined;
  if (node.attributes.indices.flat().some(({ divisor }) => divisor !== 1)) return undefined;
  const bytes = [first, second] as const;
  const bySize = elements(first.type) < elements(second.type) ? ([0, 1] as const) : ([1, 0] as const);
  return packing(node, bytes, bySize[0]) ?? packing(node, bytes, bySize[1]);
}

function packing(
  { attributes }: NodeOf<'contract'>,
  bytes: readonly [Value, Value],
  signed: 0 | 1,
): Packing | undefined {
  const { shape, reduce, indices } = attributes;
  const unsigned = signed === 0 ? 1 : 0;
  // The signed operand is read axis by axis: its sum over the sum's axes is what the offsets add.
  const axes = indices[signed].map(plainAxis).filter((axis) => axis !== undefined);
  if (axes.length < indices[signed].length || new Set(axes).size < axes.length) return undefined;
  const sizes = concrete(reduce);
  const words = sizes.map((size, place) => {
    const axis = shape.length + place;
    const reads = indices[unsigned].filter(({ terms }) => terms.some((term) => term.axis === axis));
    const isStraight = axes.includes(axis) && reads.length === 1 && plainAxis(reads[0]) === axis;
    return isStraight && size >= fewest.neighbours ? Math.ceil(size / 4) : 0;
  });
  const place = words.indexOf(Math.max(...words));
  const total = sizes.reduce((product, size, other) => product * (other === place ? words[other] : size), 1);
  if (sizes.length === 0 || words[place] === 0 || total < fewest.words) return undefined;
  const axis = shape.length + place;
  const operand = (which: 0 | 1): Operand => ({
    bytes: bytes[which],
    index: indices[which],
    along: indices[which].findIndex((index) => plainAxis(index) === axis),
  });
  return {
    attributes,
    unsigned: operand(unsigned),
    signed: operand(signed),
    axis,
    size: sizes[place],
    columns: axes.filter((of) => of < shape.length),
  };
}

function pack(build: Builder, { attributes, unsigned, signed, axis, size, columns }: Packing, values: ValueMap): Value {
  const { shape, reduce } = attributes;
  const sizes = [...shape, ...reduce];
  const words = Math.ceil(size / 4);
  const few = reduce.map((of, place) => (shape.length + place === axis ? words : of));
  const left = within(build, { ...unsigned, bytes: mapped(values, unsigned.bytes) }, sizes);
  const right = { ...signed, bytes: mapped(values, signed.bytes) };
  const [sum] = build.node('contract', [wordsOf(build, left, words, 128), wordsOf(build, right, words, 0)], {
    shape,
    reduce: few,
    indices: [left.index, right.index],
    bytes: true,
  });
  // Each unsigned byte is 128 more than it stands for.
  const place = (of: number): number => (of < shape.length ? columns.indexOf(of) : columns.length + of - shape.length);
  const moved = right.index.map(({ terms: [{ axis: of }] }) => at(place(of)));
  const offsets = build.contract(
    [build.cast(right.bytes, 'i32')],
    [moved],
    columns.map((of) => shape[of]),
    reduce,
  );
  const scaled = build.binary('mul', offsets, build.constant(128, 'i32', offsets.type.shape));
  return build.binary(
    'sub',
    sum,
    build.view(
      scaled,
      shape,
      columns.map((of) => at(of)),
    ),
  );
}

/** The operand with a border of zeros, so that nothing is read outside. */
function within(build: Builder, operand: Operand, sizes: readonly Dim[]): Operand {
  const shape = concrete(operand.bytes.type.shape);
  const ends = operand.index.map((index, place) => {
    const found = bounds(index, sizes) ?? { least: 0, greatest: shape[place] - 1 };
    return { before: Math.max(0, -found.least), after: Math.max(0, found.greatest + 1 - shape[place]) };
  });
  if (ends.every(({ before, after }) => before === 0 && after === 0)) return operand;
  const framed = shape.map((size, place) => ends[place].before + size + ends[place].after);
  return {
    ...operand,
    bytes: build.view(
      operand.bytes,
      framed,
      shape.map((_, place) => at(place, 1, -ends[place].before)),
    ),
    index: operand.index.map((index, place) => ({ ...index, offset: Number(index.offset) + ends[place].before })),
  };
}

/** Four bytes along the axis in each element, the first lowest; `offset` is added to each. */
function wordsOf(build: Builder, { bytes, along }: Operand, words: number, offset: number): Value {
  const shape = concrete(bytes.type.shape).map((size, axis) => (axis === along ? words : size));
  const count = (value: number): Value => build.constant(value, 'i32', shape);
  return [0, 1, 2, 3]
    .map((byte) => {
      const index = whole(shape.length).map((of, axis) => (axis === along ? at(along, 4, byte) : of));
      const signed = build.cast(build.view(bytes, shape, index), 'i32');
      const plain = offset === 0 ? build.binary('and', signed, count(255)) : build.binary('add', signed, count(offset));
      return byte === 0 ? plain : build.binary('shl', plain, count(8 * byte));
    })
    .reduce((word, byte) => build.binary('or', word, byte));
}
