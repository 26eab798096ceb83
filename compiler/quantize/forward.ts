/**
 * A forward graph that computes with quantized weights.
 *
 *   before      %3[i, j]: f32[8, 32] = sum[k: 16] %1[i, k] * %w[k, j]
 *   integers    %q: i8[8, 16] = cast(round(clamp(%1 / s, −127, 127)))              s = range.w / 127, a state
 *               %3[i, j]: i32[8, 32] = sum[k: 16] i32(%q[i, k]) * i32(%codes[k, j])
 *               %5: f32[8, 32] = f32(%3) · (s · scale.w[j])
 *   simulate    the same numbers in f32, with gradients that pass straight through the rounding
 *   observe     as before; `range.w` grows to the largest |%1|
 *
 * Weights quantized alone are decoded from their codes wherever they are read. Sums of integers are exact, so they are the same on
 * every machine. Needs to run before gradients are taken.
 */
import { elementCount } from '../../common/elements.ts';
import { rangeName } from '../../common/state-names.ts';
import type { Builder } from '../graph/build.ts';
import type { Graph, Node, NodeOf, Value } from '../graph/graph.ts';
import { copyNode, mapped, type ValueMap } from '../graph/rewrite.ts';
import { plainAxis } from '../ops/affine.ts';
import { concrete } from '../types/dim.ts';
import { codesType, decode, most, roundThrough, scaleOf, scaleType, simulate, type Scheme } from './weights.ts';

export type Mode = 'observe' | 'simulate' | 'integers';

/** States of a quantized weight: its codes, their scales, and the largest size of what it is multiplied with. */
export const stateNames = (
  path: string,
): { readonly codes: string; readonly scale: string; readonly range: string } => ({
  codes: `quantized.${path}`,
  scale: `scale.${path}`,
  range: rangeName(path),
});

/** A weight that cannot be, and where that shows. */
export class CannotQuantize extends Error {
  readonly path: string;
  readonly node: Node | undefined;
  constructor(path: string, node: Node | undefined, why: string) {
    super(why);
    this.path = path;
    this.node = node;
  }
}

/** So many products of two codes fit a sum of 32 bits. */
const longestSum = Math.floor((2 ** 31 - 1) / most(8) ** 2);
/** How much of a range the newest batch decides while training. */
const newest = 0.01;

/**
 * Appends the graph; gives what became of its values (weights: the f32 ones). Where ranges are learned, their next values are
 * appended as updates. Throws CannotQuantize.
 */
export function quantizeInto(build: Builder, graph: Graph, schemes: ReadonlyMap<string, Scheme>, mode: Mode): ValueMap {
  const values: ValueMap = new Map();
  const raw: ValueMap = new Map();
  const weights = new Map<Value, Weight>();
  for (const { name, role, value } of graph.inputs) {
    const scheme = schemes.get(name);
    if (scheme === undefined) values.set(value, build.input(name, role, value.type));
    else {
      const weight = openWeight(build, name, value, scheme, mode);
      weights.set(value, weight);
      values.set(value, weight.value);
      if (weight.param !== undefined) raw.set(value, weight.param);
    }
  }
  const producers = new Map(graph.nodes.flatMap((node) => node.outputs.map((value) => [value, node] as const)));
  for (const node of graph.nodes) {
    const read = [...new Set(node.inputs)].flatMap((value) => weights.get(value) ?? []);
    const whole = read.find(({ scheme }) => scheme.activations);
    if (whole === undefined) copyNode(build, node, values);
    else {
      build.origin = node.origin;
      const product = productOf(node, whole, weights);
      values.set(node.outputs[0], multiply(build, product, whole, mode, values, producers));
    }
  }
  for (const { path, scheme, range, sizes } of weights.values()) {
    if (!scheme.activations) continue;
    if (range === undefined || sizes.length === 0)
      throw new CannotQuantize(path, undefined, 'nothing is multiplied with it');
    if (mode !== 'integers') build.output(stateNames(path).range, 'update', nextRange(build, mode, range, sizes));
  }
  for (const [value, param] of raw) values.set(value, param);
  return values;
}

interface Weight {
  readonly path: string;
  readonly scheme: Scheme;
  /** What its readers read. */
  readonly value: Value;
  readonly param: Value | undefined;
  readonly codes: Value | undefined;
  readonly scale: Value | undefined;
  readonly range: Value | undefined;
  /** The largest |x| of each tensor it is multiplied with. */
  readonly sizes: Value[];
}

function openWeight(build: Builder, path: string, { type }: Value, scheme: Scheme, mode: Mode): Weight {
  // The layer's.
  build.origin = { path: path.slice(0, path.lastIndexOf('.')) };
  const names = stateNames(path);
  const range = scheme.activations ? build.input(names.range, 'state', { dtype: 'f32', shape: [] }) : undefined;
  if (mode !== 'integers') {
    const param = build.input(path, 'param', type);
    const value = mode === 'simulate' ? simulate(build, param, scheme) : param;
    return { path, scheme, value, param, codes: undefined, scale: undefined, range, sizes: [] };
  }
  const codes = build.input(names.codes, 'state', codesType(type, scheme));
  const scale = build.input(names.scale, 'state', scaleType(type, scheme));
  // A weight of a product of integers is read as it is.
  const value = scheme.activations ? codes : decode(build, codes, scale, type, scheme);
  return { path, scheme, value, param: undefined, codes, scale, range, sizes: [] };
}

/** A product with a weight whose last axis is one of the result's. */
interface Product {
  readonly node: NodeOf<'contract'>;
  /** Which operand is the weight. */
  readonly at: 0 | 1;
  /** The axis of the result that counts the weight's columns. */
  readonly column: number;
}

function productOf(node: Node, { path }: Weight, weights: ReadonlyMap<Value, Weight>): Product {
  const refuse = (why: string): never => {
    throw new CannotQuantize(path, node, why);
  };
  if (node.op !== 'contract' || node.inputs.length !== 2)
    return refuse(
      node.op === 'loop' ? 'it is read inside a scan' : `it is read by \`${node.op}\`, not by a product of two tensors`,
    );
  const at = weights.get(node.inputs[0])?.path === path ? 0 : 1;
  if (weights.has(node.inputs[1 - at])) return refuse('it is multiplied with another weight');
  const { indices, shape, reduce } = node.attributes;
  const column = plainAxis(indices[at][indices[at].length - 1]);
  if (column === undefined || column >= shape.length)
    return refuse('the sum runs over its last axis, along which each column has a scale');
  const terms = elementCount(concrete(reduce));
  if (terms > longestSum) return refuse(`sums of ${terms} products of bytes do not fit in 32 bits`);
  return { node, at, column };
}

function multiply(
  build: Builder,
  { node, at, column }: Product,
  weight: Weight,
  mode: Mode,
  values: ValueMap,
  producers: ReadonlyMap<Value, Node>,
): Value {
  const { path, range, codes, scale, sizes } = weight;
  if (range === undefined) throw new Error(`${path} has no range`);
  const x = node.inputs[1 - at];
  // What only moves elements moves them as well once they are quantized; 0 outside stays 0.
  const source = sourceOf(x, producers);
  const given = mapped(values, source);
  const axes = given.type.shape.map((_, axis) => axis);
  if (mode !== 'integers') sizes.push(build.reduce('max', build.unary('abs', build.detach(given)), axes));
  else sizes.push(range);
  const { indices, shape, reduce } = node.attributes;
  const contract = (other: Value, own: Value): Value =>
    build.contract(at === 0 ? [own, other] : [other, own], indices, shape, reduce);
  if (mode === 'observe') return contract(mapped(values, x), weight.value);
  const step = scaleOf(build, build.detach(range), 8);
  const perStep = build.binary('div', build.constant(1, 'f32'), step);
  const scaled = build.binary('mul', given, build.broadcast(perStep, given.type.shape));
  const bound = (value: number): Value => build.constant(value, 'f32', given.type.shape);
  const clamped = build.binary('min', build.binary('max', scaled, bound(-most(8))), bound(most(8)));
  if (mode === 'simulate') {
    const simulated = build.binary('mul', roundThrough(build, clamped), build.broadcast(step, given.type.shape));
    return contract(moved(build, x, source, simulated, producers), weight.value);
  }
  if (codes === undefined || scale === undefined) throw new Error(`${path} has no codes`);
  const bytes = build.cast(build.unary('round', clamped), 'i8');
  // Widened before the views that the product reads through.
  const seen = beneathViews(x, producers);
  const wide = build.cast(moved(build, seen, source, bytes, producers), 'i32');
  const sum = contract(moved(build, x, seen, wide, producers), build.cast(codes, 'i32'));
  const columns = build.binary('mul', scale, build.broadcast(step, scale.type.shape));
  const factor = build.view(columns, shape, [
    { terms: [], offset: 0, divisor: 1 },
    { terms: [{ axis: column, scale: 1 }], offset: 0, divisor: 1 },
  ]);
  return build.binary('mul', build.cast(sum, 'f32'), factor);
}

/** What a chain of views and reshapes begins with. */
function sourceOf(value: Value, producers: ReadonlyMap<Value, Node>): Value {
  const node = producers.get(value);
  return node?.op === 'view' || node?.op === 'reshape' ? sourceOf(node.inputs[0], producers) : value;
}

/** What the views nearest to the value begin with. */
function beneathViews(value: Value, producers: ReadonlyMap<Value, Node>): Value {
  const node = producers.get(value);
  return node?.op === 'view' ? beneathViews(node.inputs[0], producers) : value;
}

/** The same chain from another beginning. */
function moved(build: Builder, value: Value, source: Value, now: Value, producers: ReadonlyMap<Value, Node>): Value {
  if (value === source) return now;
  const node = producers.get(value);
  if (node?.op !== 'view' && node?.op !== 'reshape') throw new Error(`%${value.id} is no view of %${source.id}`);
  const inner = moved(build, node.inputs[0], source, now, producers);
  return node.op === 'view'
    ? build.view(inner, node.attributes.shape, node.attributes.index)
    : build.reshape(inner, node.attributes.shape);
}

/** While looking on: the largest so far; while training: a moving average, which keeps out what is not finite. */
function nextRange(build: Builder, mode: Mode, range: Value, sizes: readonly Value[]): Value {
  const largest = sizes.reduce((a, b) => build.binary('max', a, b));
  if (mode === 'observe') return build.binary('max', range, largest);
  const part = (value: Value, factor: number): Value => build.binary('mul', value, build.constant(factor, 'f32'));
  const next = build.binary('add', part(range, 1 - newest), part(largest, newest));
  return build.where(build.binary('lt', largest, build.constant(Infinity, 'f32')), next, range);
}
