/**
 * Values put together from parts that lie side by side: a concatenation, or a sum of padded tensors none of which
 * overlap (the gradient of slices). Each part is written straight to its place; nothing runs to put them together.
 */
import type { AffineIndex, Node, Value } from '../graph/graph.ts';
import { nameOfNode } from './decision.ts';
import { elements, placeOf, producerOf, shapeOf } from './frame.ts';
import type { Frame } from './frame.ts';
import { isPointwise, isRead } from './lower.ts';

interface Part {
  readonly value: Value;
  readonly start: number;
}

/** Finds such roots, makes their parts roots in their place and notes them in `frame.assembled`. */
export function assembleParts(frame: Frame, readers: ReadonlyMap<Value, number>): void {
  for (const parts of frame.assembled.values()) for (const part of parts) frame.places.delete(part);
  frame.assembled.clear();
  const isParted = (value: Value): boolean => readers.get(value) === 1 && canBePart(frame, value);
  for (const node of frame.nodes) {
    const [whole] = node.outputs;
    if (!frame.roots.has(whole) || frame.updates.some(({ value, old }) => value === whole && old !== undefined))
      continue;
    const found =
      node.op === 'concat' ? concatenated(node) : node.op === 'add' ? padded(frame, node, readers) : undefined;
    if (found === undefined || found.parts.length < 2 || !found.parts.every(({ value }) => isParted(value))) continue;
    const { axis, parts } = found;
    const place = placeOf(frame, whole);
    if (place.window !== undefined) continue;
    for (const { value, start } of parts) {
      frame.roots.add(value);
      frame.places.set(value, { ...place, window: { axis, start, size: shapeOf(whole)[axis] } });
      frame.kept.set(value, `written to its place in ${nameOfNode(node)}`);
    }
    frame.assembled.set(
      whole,
      parts.map(({ value }) => value),
    );
  }
}

function canBePart(frame: Frame, value: Value): boolean {
  if (elements(value) === 0 || frame.assembled.has(value)) return false;
  if (isRead(frame, value) && !frame.roots.has(value)) return false;
  const node = producerOf(frame, value);
  if (node.op === 'loop' || (node.op === 'scatter' && !isPointwise(node))) return false;
  const known = frame.places.get(value);
  return known === undefined || known.buffer.role === 'temporary';
}

interface Parts {
  readonly axis: number;
  readonly parts: readonly Part[];
}

function concatenated(node: Extract<Node, { op: 'concat' }>): Parts {
  const { axis } = node.attributes;
  let start = 0;
  const parts = node.inputs.map((value) => {
    const part = { value, start };
    start += shapeOf(value)[axis];
    return part;
  });
  return { axis, parts };
}

function padded(frame: Frame, node: Node, readers: ReadonlyMap<Value, number>): Parts | undefined {
  const whole = shapeOf(node.outputs[0]);
  const leaves: Extract<Node, { op: 'view' }>[] = [];
  const collect = (value: Value): boolean => {
    const producer = frame.producers.get(value);
    if (producer === undefined || frame.roots.has(value) || readers.get(value) !== 1) return false;
    if (producer.op === 'add') return producer.inputs.every(collect);
    if (producer.op !== 'view') return false;
    leaves.push(producer);
    return true;
  };
  if (!node.inputs.every(collect)) return undefined;
  const placed = leaves.map(({ inputs, attributes }) => ({
    value: inputs[0],
    box: boxOf(attributes.index, shapeOf(inputs[0]), whole),
  }));
  const axis = placed[0].box?.axis;
  const parts: Part[] = [];
  for (const { value, box } of placed) {
    if (box === undefined || box.axis !== axis) return undefined;
    parts.push({ value, start: box.start });
  }
  if (axis === undefined) return undefined;
  parts.sort((a, b) => a.start - b.start);
  let end = 0;
  for (const { value, start } of parts) {
    if (start !== end) return undefined;
    end += shapeOf(value)[axis];
  }
  return end === whole[axis] ? { axis, parts } : undefined;
}

/** Where a tensor lies in a larger one that differs along a single axis. */
function boxOf(
  index: readonly AffineIndex[],
  shape: readonly number[],
  whole: readonly number[],
): { readonly axis: number; readonly start: number } | undefined {
  if (shape.length !== whole.length) return undefined;
  const axis = shape.findIndex((size, at) => size !== whole[at]);
  if (axis < 0) return undefined;
  for (const [at, { terms, offset, divisor }] of index.entries()) {
    const straight =
      divisor === 1 &&
      (terms.length === 1 ? terms[0].axis === at && terms[0].scale === 1 : terms.length === 0 && whole[at] === 1);
    if (!straight || (at !== axis && (offset !== 0 || shape[at] !== whole[at]))) return undefined;
  }
  return { axis, start: -Number(index[axis].offset) };
}
