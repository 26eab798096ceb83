/**
 * Which values are computed once and kept (roots), and which are computed where they are used.
 *
 * Reductions, contractions, scans, scatters and loops are roots by nature. An elementwise value is one when it is an
 * output, when something needs it in memory, or when computing it at each use would cost more than a round trip.
 */
import { elementCount } from '../../common/elements.ts';
import type { AffineIndex, Node, Value } from '../graph/graph.ts';
import { isProduct } from '../graph/products.ts';
import { concrete } from '../types/dim.ts';
import { dtypeBytes } from '../types/dtype.ts';
import { assembleParts } from './assemble.ts';
import { elements, producerOf, shapeOf } from './frame.ts';
import type { Frame } from './frame.ts';
import { isElementwise, isPointwise, isRead } from './lower.ts';

/** Rough cost of one scalar function in adds: what recomputing is weighed by. */
const expensive: Readonly<Record<string, number>> = {
  exp: 12,
  log: 12,
  sin: 15,
  cos: 15,
  tanh: 15,
  erf: 15,
  pow: 25,
  rsqrt: 4,
  sqrt: 4,
  div: 3,
  rem: 5,
  random: 70,
};

/** Operations that take as long as a trip of one element to memory: 4 bytes at about 10 GB/s, and 16 lanes at once. */
const operationsPerTrip = 15;

/** More uses than this need not be told apart. */
const manyUses = 16;

interface Cost {
  readonly flops: number;
  /** Large values read; what is much smaller than the value itself comes from cache. */
  readonly reads: ReadonlySet<Value>;
}

/** Fills `frame.roots`. */
export function chooseRoots(frame: Frame): void {
  // The first round overestimates: it does not know yet which operands will be read instead of computed.
  let before: ReadonlySet<Value> = new Set();
  for (let round = 0; round < 3; round++) {
    decide(frame, measure(frame, before), before);
    before = new Set(frame.roots);
  }
  assembleParts(frame, countReaders(frame));
}

function measure(frame: Frame, roots: ReadonlySet<Value>): Map<Value, Cost> {
  const costs = new Map<Value, Cost>();
  const costOf = (value: Value): Cost => {
    const known = costs.get(value);
    return known !== undefined && !roots.has(value) ? known : { flops: 0, reads: new Set([value]) };
  };
  for (const node of frame.nodes) {
    if (!isPointwise(node)) continue;
    const [value] = node.outputs;
    const size = elements(value);
    let flops = moves.has(node.op) ? 0 : (expensive[node.op] ?? 1);
    const reads = new Set<Value>();
    for (const input of operandsOf(node)) {
      const cost = costOf(input);
      flops += cost.flops;
      for (const read of cost.reads) if (elements(read) * 8 > size) reads.add(read);
    }
    costs.set(value, { flops, reads });
  }
  return costs;
}

const moves: ReadonlySet<string> = new Set(['constant', 'reshape', 'view', 'detach', 'after', 'cast', 'iota']);
const aliases: ReadonlySet<string> = new Set(['reshape', 'view', 'detach', 'after']);

function decide(frame: Frame, costs: ReadonlyMap<Value, Cost>, before: ReadonlySet<Value>): void {
  const { roots } = frame;
  const readers = countReaders(frame);
  roots.clear();
  frame.kept.clear();
  for (const value of frame.forced) roots.add(value);
  for (const { value } of frame.updates) if (frame.producers.has(value)) roots.add(value);
  for (const node of frame.nodes)
    if (!isPointwise(node) || (frame.session.apart && !moves.has(node.op)))
      for (const value of node.outputs) roots.add(value);

  /** The roots that would compute a value, and the largest number of times one of them would. */
  const demands = new Map<Value, Demand>();
  const demand = (value: Value, by: Iterable<Value>, size: number): void => {
    const known = demands.get(value);
    if (known === undefined) demands.set(value, { by: new Set(by), size });
    else {
      if (known.by.size < manyUses) for (const root of by) known.by.add(root);
      known.size = Math.max(known.size, size);
    }
  };
  for (let at = frame.nodes.length - 1; at >= 0; at--) {
    const node = frame.nodes[at];
    const [value] = node.outputs;
    if (isPointwise(node) && !roots.has(value)) {
      const wanted = demands.get(value);
      if (wanted === undefined) continue;
      const isOnTheWay = (input: Value): boolean =>
        readers.get(input) === 1 && (!before.has(input) || isContraction(producerOf(frame, input)));
      const reason = whyKeep(frame, node, wanted, costs.get(value), isOnTheWay);
      if (reason !== undefined) {
        roots.add(value);
        frame.kept.set(value, reason);
      }
    }
    if (isPointwise(node) && !roots.has(value)) {
      const wanted = demands.get(value);
      if (wanted !== undefined) for (const input of operandsOf(node)) demand(input, wanted.by, wanted.size);
    } else for (const input of operandsOf(node)) demand(input, [value], domainSize(node));
    needInMemory(frame, node);
  }
}

/** What a node computes with; what it only waits for is not read. */
const operandsOf = (node: Node): readonly Value[] => (node.op === 'after' ? node.inputs.slice(0, 1) : node.inputs);

/** Points at which a root's operands are read. */
function domainSize(node: Node): number {
  if (node.op === 'contract') return elementCount(concrete([...node.attributes.shape, ...node.attributes.reduce]));
  return Math.max(...node.outputs.map(elements), ...node.inputs.map(elements));
}

/** Operands that have to be, or had better be, in memory. */
function needInMemory(frame: Frame, node: Node): void {
  if (
    node.op === 'gather' &&
    (isRead(frame, node.inputs[0]) ||
      !isPickable(frame, node.inputs[0], shapeOf(node.inputs[0]).length - node.attributes.batch))
  )
    keepUnlessMoved(frame, node.inputs[0], false);
  if (node.op === 'loop') for (const input of node.inputs) keepUnlessMoved(frame, input, true);
  if (isContraction(node))
    node.inputs.forEach((input, at) => {
      keepUnlessRounded(frame, input, isStraight(node.attributes.indices[at]));
    });
}

/**
 * Can single elements of the value be computed where an index picks them, along the axis that `tail` axes end with? At
 * least one operand has to be memory of its shape, so that an index out of range is noticed.
 */
function isPickable(frame: Frame, value: Value, tail: number): boolean {
  const node = producerOf(frame, value);
  if (frame.forced.has(value) || !isElementwise(node) || (expensive[node.op] ?? 1) > 4) return false;
  const whole = (input: Value): boolean =>
    isKept(frame, input) || isPickable(frame, input, tail) || isReshaped(frame, input, tail);
  return node.inputs.some(whole) && node.inputs.every((input) => whole(input) || isSpread(frame, input));
}

/** In memory, or computed before anything reads it. */
const isKept = (frame: Frame, value: Value): boolean => isRead(frame, value) || !isPointwise(producerOf(frame, value));

function isReshaped(frame: Frame, value: Value, tail: number): boolean {
  const node = producerOf(frame, value);
  if (node.op !== 'reshape') return false;
  const [input] = node.inputs;
  const [from, to] = [shapeOf(input), shapeOf(value)].map((shape) => shape.slice(shape.length - tail).join());
  return from === to && (isKept(frame, input) || isPickable(frame, input, tail));
}

/** A number, or memory stretched along some axes. */
function isSpread(frame: Frame, value: Value): boolean {
  const node = producerOf(frame, value);
  if (node.op === 'constant') return typeof node.attributes.value === 'number';
  return (
    node.op === 'view' &&
    isKept(frame, node.inputs[0]) &&
    node.attributes.index.every(
      ({ terms, offset, divisor }) =>
        terms.length <= 1 && terms.every(({ scale }) => scale === 1) && offset === 0 && divisor === 1,
    )
  );
}

/** One cheap operation on what is in memory. */
export function isOneStep(frame: Frame, node: Node): boolean {
  const near = (input: Value): boolean => isRead(frame, input) || isSpread(frame, input);
  return isElementwise(node) && (expensive[node.op] ?? 1) === 1 && node.inputs.every(near);
}

/** A product of two tensors with rows and columns of its own: anything else is a sum like others. */
export const isContraction = (node: Node): node is Extract<Node, { op: 'contract' }> =>
  node.op === 'contract' && (node.attributes.bytes === true || isProduct(node)) && !isPointwise(node);

/** Does it read each element at one point of each axis, not in windows? */
const isStraight = (index: readonly AffineIndex[]): boolean => index.every(({ terms }) => terms.length <= 1);

/** From a type of two bytes to f32: costs nothing where it is read. */
const isWidening = (node: Node): boolean =>
  node.op === 'cast' && node.outputs[0].type.dtype === 'f32' && dtypeBytes[node.inputs[0].type.dtype] === 2;

/** From f32 to a type of two bytes. */
const isNarrowing = (node: Node): boolean =>
  node.op === 'cast' && node.inputs[0].type.dtype === 'f32' && dtypeBytes[node.outputs[0].type.dtype] === 2;

/**
 * A product's operand: what is stored in two bytes is read as it is, and what the program is given (weights, data) is
 * rounded where it is read, unless windows overlap, or matrix instructions read it as it lies. What is rounded to TF32 takes no
 * fewer bytes: it is read as it was before.
 */
function keepUnlessRounded(frame: Frame, value: Value, straight: boolean): void {
  const source = frame.producers.get(unmoved(frame, value));
  if (source === undefined || isRead(frame, value) || isRead(frame, source.outputs[0]))
    return keepUnlessMoved(frame, value, true);
  if (source.op !== 'tf32' && !isWidening(source)) return keepUnlessMoved(frame, value, true);
  const rounding = frame.producers.get(unmoved(frame, source.inputs[0]));
  if (
    straight &&
    !frame.session.asItLies &&
    rounding?.op === 'cast' &&
    !frame.producers.has(unmoved(frame, rounding.inputs[0]))
  )
    return;
  keepUnlessMoved(frame, source.inputs[0], true);
}

/** What a value is another view of. */
function unmoved(frame: Frame, value: Value): Value {
  const node = frame.producers.get(value);
  return node !== undefined && aliases.has(node.op) ? unmoved(frame, node.inputs[0]) : value;
}

/** Makes the value a root unless it is memory seen another way; `views`: affine views of memory count too. */
function keepUnlessMoved(frame: Frame, value: Value, views: boolean): void {
  if (isRead(frame, value)) return;
  const node = producerOf(frame, value);
  if (node.op === 'detach' || node.op === 'after' || node.op === 'reshape' || (views && node.op === 'view'))
    keepUnlessMoved(frame, node.inputs[0], views);
  else if (!views || node.op !== 'constant') frame.roots.add(value);
}

/** How often a value is wanted: by which roots, and at how many points of the largest. */
interface Demand {
  readonly by: Set<Value>;
  size: number;
}

/** Why a value is better computed once; undefined when its uses may compute it. */
function whyKeep(
  frame: Frame,
  node: Node,
  wanted: Demand,
  cost: Cost | undefined,
  isOnTheWay: (value: Value) => boolean,
): string | undefined {
  if (aliases.has(node.op))
    return isPermutedSum(frame, node, isOnTheWay) ? 'a sum that is read in this order of axes' : undefined;
  const behind = frame.producers.get(node.inputs[0]);
  if (behind !== undefined && isNarrowing(node) && isContraction(behind) && isOnTheWay(node.inputs[0]))
    return 'half the bytes of the sum';
  if (cost === undefined || cost.flops === 0 || isWidening(node) || node.op === 'tf32') return undefined;
  const uses = wanted.by.size;
  const times = wanted.size / elements(node.outputs[0]);
  if (times >= 2 && cost.flops > 2 && !isMask(node, cost))
    return `each element is needed ${Math.round(times)} times, at ${cost.flops} operations`;
  if (uses < 2) return undefined;
  if (isEpilogue(frame, node, isOnTheWay)) return `${uses} uses, and it is there when the contraction ends`;
  const size = elements(node.outputs[0]);
  let once = cost.flops / operationsPerTrip;
  for (const read of cost.reads) once += Math.min(1, elements(read) / size);
  // Kept: computed once, written once, read by each. Otherwise each computes it.
  if (uses * once <= once + 1 + uses) return undefined;
  return `${uses} uses, ${cost.flops} operations on ${cost.reads.size} tensors each`;
}

/** A few comparisons of coordinates: as fast as reading what they gave, and seen by who looks for masks (masked-columns.ts). */
const isMask = ({ outputs: [{ type }] }: Node, { flops, reads }: Cost): boolean =>
  type.dtype === 'bool' && reads.size === 0 && flops <= mostOfMask;
const mostOfMask = 8;

/** How many nodes read each value; an output is read once more. */
function countReaders(frame: Frame): Map<Value, number> {
  const readers = new Map<Value, number>();
  const count = (value: Value): void => void readers.set(value, (readers.get(value) ?? 0) + 1);
  for (const node of frame.nodes) new Set(operandsOf(node)).forEach(count);
  for (const { value } of frame.updates) count(value);
  return readers;
}

/** Would the value be computed on the way out of a contraction, whose own sum then never reaches memory? */
function isEpilogue(frame: Frame, node: Node, isOnTheWay: (value: Value) => boolean): boolean {
  const size = elements(node.outputs[0]);
  return node.inputs.some((input) => {
    const producer = frame.producers.get(input);
    if (producer === undefined || elements(input) !== size || !isOnTheWay(input)) return false;
    return isContraction(producer) || (isPointwise(producer) && isEpilogue(frame, producer, isOnTheWay));
  });
}

/** A contraction's sum with its axes in another order, and nobody wants it in its own: the sum can be written that way. */
function isPermutedSum(frame: Frame, node: Node, isOnTheWay: (value: Value) => boolean): boolean {
  const [input] = node.inputs;
  if (node.op !== 'view' || elements(input) !== elements(node.outputs[0])) return false;
  const axes = node.attributes.index.map(({ terms, offset, divisor }) =>
    terms.length === 1 && terms[0].scale === 1 && offset === 0 && divisor === 1 ? terms[0].axis : -1,
  );
  const sizes = node.attributes.shape;
  if (axes.includes(-1) || new Set(axes).size < axes.length || axes.length < sizes.filter((size) => size !== 1).length)
    return false;
  const producer = frame.producers.get(input);
  return (
    producer !== undefined &&
    isOnTheWay(input) &&
    (isContraction(producer) || (isPointwise(producer) && isEpilogue(frame, producer, isOnTheWay)))
  );
}
