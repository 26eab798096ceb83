/** One element of a tensor value as a scalar expression: virtual values are computed in place, roots are read. */
import type { AffineIndex, Node, Value } from '../graph/graph.ts';
import { binaryOps, unaryOps } from '../graph/graph.ts';
import {
  affine,
  apply,
  both,
  cast,
  combine,
  coordinateValue,
  insideCondition,
  isInside,
  load,
  number,
  sameIndex,
} from '../loop/build.ts';
import type { Coordinate, Expression, Scalar } from '../loop/loop.ts';
import { concrete } from '../types/dim.ts';
import { accessAt, canSee, createBuffer, NeedsCut, NeedsRoot, placeOf, producerOf, shapeOf } from './frame.ts';
import type { Frame } from './frame.ts';
import { linearize, reshapeIndex } from './reshape-index.ts';

/** What is being built: expressions made once per (value, index), and what the group around says about its own roots. */
export interface Scope {
  readonly memo: Map<Value, { readonly index: readonly Coordinate[]; readonly expression: Expression }[]>;
  readonly conditions: Map<string, Expression>;
  /** The value as the group has it at hand; undefined: read it from its buffer. `shape` is how the reader sees it. */
  own(frame: Frame, value: Value, index: readonly Coordinate[], shape: readonly number[]): Expression | undefined;
}

const elementwise: ReadonlySet<string> = new Set([...unaryOps, ...binaryOps, 'where']);

/** A function of elements at one place. */
export const isElementwise = (node: Node): boolean => elementwise.has(node.op);

/** Is the node computed element by element, without reducing anything? */
export function isPointwise(node: Node): boolean {
  if (elementwise.has(node.op)) return true;
  if (node.op === 'contract')
    return node.attributes.bytes !== true && node.attributes.reduce.every((size) => size === 1);
  if (node.op === 'cumulative') return shapeOf(node.inputs[0])[node.attributes.axis] === 1;
  if (node.op === 'scatter') return node.inputs[0].type.shape.length === node.attributes.batch;
  return pointwise.has(node.op);
}
const pointwise: ReadonlySet<string> = new Set([
  'constant',
  'iota',
  'random',
  'cast',
  'detach',
  'after',
  'reshape',
  'view',
  'concat',
  'gather',
]);

/** value[index]. */
export function lower(scope: Scope, frame: Frame, value: Value, index: readonly Coordinate[]): Expression {
  const made = scope.memo.get(value);
  const known = made?.find((entry) => sameIndex(entry.index, index));
  if (known !== undefined) return known.expression;
  const expression = lowerValue(scope, frame, value, index);
  if (made === undefined) scope.memo.set(value, [{ index, expression }]);
  else made.push({ index, expression });
  return expression;
}

/** Is the value in memory (rather than computed at its uses)? */
export const isRead = (frame: Frame, value: Value): boolean =>
  frame.roots.has(value) || frame.aliases.has(value) || !frame.producers.has(value);

function lowerValue(scope: Scope, frame: Frame, value: Value, index: readonly Coordinate[]): Expression {
  const alias = frame.aliases.get(value);
  if (alias !== undefined) return lower(scope, alias.frame, alias.value, [...alias.prefix, ...index]);
  if (isRead(frame, value)) return read(scope, frame, value, index, shapeOf(value));
  return lowerNode(scope, frame, value, producerOf(frame, value), index);
}

function read(
  scope: Scope,
  frame: Frame,
  value: Value,
  index: readonly Coordinate[],
  shape: readonly number[],
): Expression {
  const own = scope.own(frame, value, index, shape);
  if (own !== undefined) return own;
  const place = placeOf(frame, value);
  const element = load(accessAt(place, shape, index));
  // Outside the window there are other elements, where the value has zeros.
  const axis = place.window?.axis;
  const condition = axis === undefined ? undefined : isInsideAll(scope, [index[axis]], [shape[axis]]);
  return condition === undefined ? element : apply('where', condition, element, number(0, element.dtype));
}

/** The element as its node says, even where the value is a root: what a root's own store computes. */
export function lowerNode(
  scope: Scope,
  frame: Frame,
  value: Value,
  node: Node,
  index: readonly Coordinate[],
): Expression {
  const operand = (at: number): Expression => lower(scope, frame, node.inputs[at], index);
  switch (node.op) {
    case 'constant': {
      const { dtype, value: data } = node.attributes;
      if (typeof data === 'number') return number(data, dtype);
      return load({ buffer: constantBuffer(frame, node), shape: shapeOf(value), index });
    }
    case 'iota':
      return coordinateValue(index[node.attributes.axis]);
    case 'random': {
      const linear = linearize(index, shapeOf(value));
      if (linear === undefined) throw new NeedsRoot(frame, value);
      const [seed, step] = node.inputs;
      const key = [0, 1].map((word) => lower(scope, frame, seed, [affine([], word)]));
      return apply(
        'philox',
        cast(coordinateValue(linear), 'u32'),
        number(node.attributes.stream, 'u32'),
        lower(scope, frame, step, []),
        ...key,
      );
    }
    case 'cast':
      return cast(operand(0), node.attributes.dtype);
    case 'detach':
    case 'after':
    case 'cumulative':
      return operand(0);
    case 'scatter': {
      // Nothing is walked: one update for each row, at one place in it.
      const { batch } = node.attributes;
      const id = lower(scope, frame, node.inputs[0], index.slice(0, batch));
      const update = lower(scope, frame, node.inputs[1], [...index.slice(0, batch), ...index.slice(batch + 1)]);
      return apply('where', apply('eq', id, coordinateValue(index[batch])), update, number(0, update.dtype));
    }
    case 'reshape':
      return reshaped(scope, frame, value, node.inputs[0], index);
    case 'view':
      return viewed(scope, frame, value, node.inputs[0], node.attributes.index, index);
    case 'contract':
      return node.inputs
        .map((input, at) =>
          viewed(scope, frame, value, input, node.attributes.indices[at], [
            ...index,
            ...node.attributes.reduce.map(() => affine([], 0)),
          ]),
        )
        .reduce((a, b) => apply('mul', a, b));
    case 'concat':
      return concatenated(scope, frame, value, node, index);
    case 'gather': {
      const [x, ids] = node.inputs;
      const { batch } = node.attributes;
      const rank = ids.type.shape.length;
      const id = lower(scope, frame, ids, index.slice(0, rank));
      return lower(scope, frame, x, [...index.slice(0, batch), { kind: 'computed', value: id }, ...index.slice(rank)]);
    }
    default:
      if (!elementwise.has(node.op)) throw new Error(`${node.op} is not computed element by element`);
      return apply(node.op as Exclude<Scalar, 'cast'>, ...node.inputs.map((_, at) => operand(at)));
  }
}

/** The memory a reshape chain looks at: reshapes of it cost nothing. */
function behind(frame: Frame, value: Value): { readonly frame: Frame; readonly value: Value } | undefined {
  if (frame.aliases.has(value)) return undefined;
  if (isRead(frame, value)) return { frame, value };
  const node = producerOf(frame, value);
  return node.op === 'reshape' || node.op === 'detach' || node.op === 'after'
    ? behind(frame, node.inputs[0])
    : undefined;
}

function reshaped(scope: Scope, frame: Frame, value: Value, x: Value, index: readonly Coordinate[]): Expression {
  const inner = reshapeIndex(index, shapeOf(value), shapeOf(x));
  if (inner !== undefined && !('axis' in inner)) return lower(scope, frame, x, inner);
  const base = behind(frame, x);
  if (base !== undefined && canSee(placeOf(base.frame, base.value), shapeOf(base.value), shapeOf(value)))
    return read(scope, base.frame, base.value, index, shapeOf(value));
  if (inner !== undefined) throw new NeedsCut(inner.axis, inner.inner);
  throw new NeedsRoot(frame, base === undefined ? x : value);
}

/** x at affine functions of `index`; 0 outside. */
export function viewed(
  scope: Scope,
  frame: Frame,
  value: Value,
  x: Value,
  affineIndex: readonly AffineIndex[],
  index: readonly Coordinate[],
): Expression {
  const inner = composeIndex(affineIndex, index);
  if (inner === undefined) throw new NeedsRoot(frame, frame.roots.has(value) ? x : value);
  if (isRead(frame, x)) return lower(scope, frame, x, inner);
  const element = lower(scope, frame, x, inner);
  const condition = isInsideAll(scope, inner, shapeOf(x));
  if (
    condition === undefined ||
    (element.kind === 'apply' && element.op === 'where' && element.operands[0] === condition)
  )
    return element;
  return apply('where', condition, element, number(0, element.dtype));
}

/** The condition that all coordinates are inside, one expression for one question; undefined where they always are. */
function isInsideAll(scope: Scope, index: readonly Coordinate[], shape: readonly number[]): Expression | undefined {
  let key = '';
  index.forEach((at, axis) => {
    if (at.kind === 'affine' && !isInside(at, shape[axis]))
      key += `${at.terms.map((term) => `${term.axis.name}*${term.scale}`).join('+')}+${at.offset}/${at.divisor}<${shape[axis]};`;
  });
  if (key === '') return undefined;
  const known = scope.conditions.get(key);
  if (known !== undefined) return known;
  let condition: Expression | undefined;
  index.forEach((at, axis) => {
    if (at.kind === 'affine') condition = both(condition, insideCondition(at, shape[axis]));
  });
  if (condition !== undefined) scope.conditions.set(key, condition);
  return condition;
}

/**
 * Affine functions of coordinates; undefined where the result would not be a coordinate. A divided coordinate that leaves
 * a rest is masked where the division was written, so that here it may be taken as exact.
 */
function composeIndex(affineIndex: readonly AffineIndex[], index: readonly Coordinate[]): Coordinate[] | undefined {
  const result: Coordinate[] = [];
  for (const { terms, offset, divisor } of affineIndex) {
    const [shift, by, ...scales] = concrete([offset, divisor, ...terms.map(({ scale }) => scale)]);
    const inner = terms.map(({ axis }) => index[axis]);
    const [only] = inner;
    if (inner.length === 1 && only.kind === 'computed' && scales[0] === 1 && by === 1 && shift === 0) {
      result.push(only);
      continue;
    }
    if (!inner.every((at) => at.kind === 'affine')) return undefined;
    const divided = inner.reduce(
      (common, at) => (at.divisor === 1 ? common : leastCommonMultiple(common, at.divisor)),
      1,
    );
    result.push(
      combine(
        inner.map((at, place) => ({ at, scale: (scales[place] * divided) / at.divisor })),
        shift * divided,
        divided * by,
      ),
    );
  }
  return result;
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return (a / x) * b;
}

function concatenated(
  scope: Scope,
  frame: Frame,
  value: Value,
  node: Extract<Node, { op: 'concat' }>,
  index: readonly Coordinate[],
): Expression {
  const { axis } = node.attributes;
  const at = index[axis];
  if (at.kind !== 'affine' || at.divisor !== 1) throw new NeedsRoot(frame, value);
  const pieces: { readonly end: number; readonly element: Expression }[] = [];
  let start = 0;
  for (const x of node.inputs) {
    const size = shapeOf(x)[axis];
    if (size === 0) continue;
    const inner = index.map((other, place) => (place === axis ? affine(at.terms, at.offset - start) : other));
    start += size;
    pieces.push({ end: start, element: lower(scope, frame, x, inner) });
  }
  const last = pieces.pop();
  if (last === undefined) return number(0, value.type.dtype);
  return pieces.reduceRight(
    (rest, { end, element }) => apply('where', apply('lt', coordinateValue(at), number(end, 'i32')), element, rest),
    last.element,
  );
}

function constantBuffer(
  frame: Frame,
  node: Extract<Node, { op: 'constant' }>,
): NonNullable<ReturnType<typeof createBuffer>> {
  const { dtype, value } = node.attributes;
  const data = typeof value === 'number' ? [value] : value;
  const key = `${dtype}:${data.join(',')}`;
  const known = frame.session.constants.get(key);
  if (known !== undefined) return known;
  const buffer = createBuffer(
    frame.session,
    `constant${frame.session.constants.size}`,
    'constant',
    dtype,
    [data.length],
    data,
  );
  frame.session.constants.set(key, buffer);
  return buffer;
}
