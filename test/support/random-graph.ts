/**
 * A random well-typed graph from a seed: elementwise chains, views, contractions, reductions, gathers, a loop now and
 * then, reduced to a loss and differentiated. Numbers stay moderate so that two ways of rounding stay comparable.
 */
import { differentiate } from '../../compiler/differentiate/differentiate.ts';
import type { Builder } from '../../compiler/graph/build.ts';
import type { AffineIndex, Graph, Value } from '../../compiler/graph/graph.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { at, broadcastShapes, fixed } from '../../compiler/ops/affine.ts';
import { concrete, product } from '../../compiler/types/dim.ts';
import { numbers } from './numbers.ts';

export interface RandomGraphOptions {
  /** How many ops before the loss. */
  readonly size?: number;
  readonly backward?: boolean;
}

export function randomGraph(seed: number, { size = 12, backward = true }: RandomGraphOptions = {}): Graph {
  const next = numbers(seed);
  const below = (count: number): number => Math.floor(next() * count);
  const pick = <Item>(items: readonly Item[]): Item => items[below(items.length)];
  const build = createBuilder(`random${seed}`);
  const someShape = (): number[] => Array.from({ length: below(4) }, () => pick([1, 2, 3, 4, 5]));
  const params = Array.from({ length: 2 + below(2) }, (_, place) =>
    build.input(`p${place}`, 'param', { dtype: 'f32', shape: someShape() }),
  );
  const values: Value[] = [...params, build.input('x', 'batch', { dtype: 'f32', shape: someShape() })];
  const ids = build.input('ids', 'batch', { dtype: 'i32', shape: [3] });
  const float = (): Value => pick(values.slice(-6));
  const shapeOf = (value: Value): number[] => concrete(value.type.shape);
  const tame = (value: Value): Value => build.unary('tanh', value);
  const few = (value: Value): Value =>
    Number(product(value.type.shape)) > 400 ? build.reduce('max', value, [0]) : value;

  const steps: (() => Value | undefined)[] = [
    () => build.unary(pick(['neg', 'abs', 'exp', 'sin', 'cos', 'tanh', 'erf', 'floor'] as const), tame(float())),
    () => {
      const a = build.unary('abs', float());
      return build.unary(pick(['sqrt', 'rsqrt', 'log'] as const), build.binary('add', a, filled(build, 1, a)));
    },
    () => elementwise(),
    () => elementwise(),
    () => elementwise(),
    () => {
      const a = float();
      return build.where(
        build.binary(pick(['lt', 'le', 'eq'] as const), a, build.constant(pick([0, 0.5]), 'f32', a.type.shape)),
        build.unary('neg', a),
        a,
      );
    },
    () => {
      const a = float();
      const order = [...a.type.shape.keys()].sort(() => next() - 0.5);
      return build.transpose(a, order);
    },
    () => {
      const a = float();
      return build.reshape(
        a,
        pick([[Number(product(a.type.shape))], [1, ...a.type.shape], [...a.type.shape, 1], split(shapeOf(a))]),
      );
    },
    () => {
      // A slice, a pad, a flip or a window along one axis; now and then a diagonal or a fixed place.
      const a = float();
      const shape = shapeOf(a);
      if (shape.length === 0) return build.broadcast(a, someShape());
      const axis = below(shape.length);
      const n = shape[axis];
      const rest = (coordinate: AffineIndex): AffineIndex[] =>
        shape.map((_, place) => (place === axis ? coordinate : at(place)));
      const sized = (length: number): number[] => shape.map((dim, place) => (place === axis ? length : dim));
      return pick([
        () => build.view(a, sized(n + 3), rest(at(axis, 1, -1 - below(2)))),
        () => build.view(a, sized(n), rest(at(axis, -1, n - 1))),
        () => build.view(a, sized(Math.ceil(n / 2)), rest(at(axis, 2))),
        () => build.view(a, sized(2 * n), rest({ terms: [{ axis, scale: 1 }], offset: 0, divisor: 2 })),
        () =>
          build.view(
            a,
            [...sized(n), 2],
            rest({
              terms: [
                { axis, scale: 1 },
                { axis: shape.length, scale: 1 },
              ],
              offset: 0,
              divisor: 1,
            }),
          ),
        () => build.view(a, sized(2), rest(fixed(below(n)))),
      ])();
    },
    () => {
      const a = float();
      const axes = [...a.type.shape.keys()].filter(() => next() < 0.6);
      return tame(build.reduce(pick(['sum', 'sum', 'max', 'min', 'prod'] as const), a, axes));
    },
    () => {
      const a = float();
      return a.type.shape.length === 0
        ? undefined
        : tame(
            build.cumulative(
              pick(['sum', 'max', 'min', 'prod'] as const),
              tame(a),
              below(a.type.shape.length),
              next() < 0.5,
            ),
          );
    },
    () => contraction(),
    () => contraction(),
    () => {
      const a = float();
      if (a.type.shape.length === 0) return undefined;
      const axis = below(a.type.shape.length);
      return build.concat([a, build.unary('sin', a)], axis);
    },
    () => {
      const a = float();
      const [rows] = shapeOf(a);
      return rows === undefined || rows < 3 ? undefined : build.gather(a, ids, 0);
    },
    () => {
      const a = float();
      return shapeOf(a)[0] === 3 ? build.scatter(ids, a, 0, 4) : undefined;
    },
    () => recurrence(),
    () => build.cast(build.cast(float(), pick(['i32', 'f64', 'u8', 'f32'] as const)), 'f32'),
    () => build.detach(float()),
    () => {
      const a = float();
      const b = build.unary('neg', a);
      return build.where(
        build.unary('not', build.binary('lt', a, b)),
        build.binary(pick(['sub', 'add', 'mul'] as const), b, a),
        a,
      );
    },
    () => {
      // One row chosen per leading coordinate, as a loss chooses the logit of the target.
      const a = float();
      const [rows, columns] = shapeOf(a);
      return rows !== 3 || columns === undefined || columns < 3 ? undefined : build.gather(a, ids, 1);
    },
  ];

  function elementwise(): Value {
    const [a, b] = [float(), float()];
    const shape = broadcastShapes(a.type.shape, b.type.shape);
    const [left, right] =
      shape === undefined
        ? [a, filled(build, pick([0, 1, 2, -1, 0.5]), a)]
        : [build.broadcast(a, shape), build.broadcast(b, shape)];
    const op = pick(['add', 'sub', 'mul', 'max', 'min', 'div', 'pow'] as const);
    if (op === 'div') return build.binary('div', left, build.constant(pick([1, 2, 3]), 'f32', left.type.shape));
    if (op === 'pow')
      return build.binary('pow', tame(left), build.constant(pick([0, 1, 2, 3]), 'f32', left.type.shape));
    return build.binary(op, left, right);
  }

  /** One summed axis, read plainly or as a window, and the axes of both operands kept or shared. */
  function contraction(): Value {
    const [a, b] = [float(), float()];
    const shape: number[] = [];
    const reduce: number[] = [];
    const plan: { operand: number; size: number; reduced: boolean; place: number }[] = [];
    const read = (operand: number, value: Value): void => {
      for (const size of shapeOf(value)) {
        const shared = plan.find((one) => one.operand !== operand && one.size === size && next() < 0.5);
        if (shared !== undefined) plan.push({ ...shared, operand });
        else if (next() < 0.5) plan.push({ operand, size, reduced: true, place: reduce.push(size) - 1 });
        else plan.push({ operand, size, reduced: false, place: shape.push(size) - 1 });
      }
    };
    read(0, a);
    read(1, b);
    const axis = ({ reduced, place }: (typeof plan)[number]): number => (reduced ? shape.length + place : place);
    const indices = [0, 1].map((operand) =>
      plan
        .filter((one) => one.operand === operand)
        .map((one) =>
          next() < 0.15 && shape.length > 0
            ? {
                terms: [
                  { axis: axis(one), scale: 1 },
                  { axis: below(shape.length), scale: 1 },
                ],
                offset: -1,
                divisor: 1,
              }
            : at(axis(one)),
        ),
    );
    return tame(
      build.contract(
        [a, b].map((value) => (isMoved(value) ? value : tame(value))),
        indices,
        shape,
        reduce,
      ),
    );
  }

  /** Contractions should sometimes read views and constants directly: the laws are about those. */
  const isMoved = (value: Value): boolean =>
    ['view', 'reshape', 'concat', undefined].includes(build.producer(value)?.op);

  /** h ← tanh(h·w + x_t), yields h² for each row of a value. */
  function recurrence(): Value | undefined {
    const a = float();
    if (a.type.shape.length === 0) return undefined;
    const [trips, ...shape] = shapeOf(a);
    const body = build.nested('recurrence');
    const [h, x, w] = ['h', 'x', 'w'].map((name) => body.input(name, 'batch', { dtype: 'f32', shape }));
    const state = body.unary('tanh', body.binary('add', body.binary('mul', h, w), x));
    body.output('h', 'result', state);
    body.output('y', 'result', body.binary('mul', state, state));
    const weight = build.view(a, shape, [fixed(0), ...shape.map((_, axis) => at(axis))]);
    const results = build.loop([build.constant(0.5, 'f32', shape), a, weight], {
      trips,
      carried: 1,
      scanned: 1,
      reverse: next() < 0.5,
      body: body.finish(),
    });
    return pick(results);
  }

  /** Softmax of scores, times values: some with a mask, a bias, a temperature, dropout, or shared keys. */
  function attention(): Value {
    const batch = pick([[2], [3, 2], [2, 4]]);
    const few = batch.length > 1 && next() < 0.3 ? batch.slice(0, -1) : batch;
    const [rows, columns, width] = [pick([3, 5, 8, 97]), pick([2, 5, 7]), pick([2, 3])];
    const param = (...sizes: number[]): Value => {
      const made = build.input(`p${params.length}`, 'param', { dtype: 'f32', shape: sizes });
      params.push(made);
      return made;
    };
    const own = batch.map((_, axis) => at(axis));
    const shared = own.slice(0, few.length);
    const [row, column, inner] = [0, 1, 2].map((after) => at(batch.length + after));
    const [q, k, v] = [param(...batch, rows, width), param(...few, columns, width), param(...few, columns, width)];
    const scores = build.contract(
      [q, k],
      [
        [...own, row, inner],
        [...shared, column, inner],
      ],
      [...batch, rows, columns],
      [width],
    );
    const { shape } = scores.type;
    const spread = (value: Value): Value => build.broadcast(value, shape);
    const last = batch.length + 1;
    let logits = scores;
    if (next() < 0.3) logits = build.binary('add', logits, spread(param(rows, columns)));
    if (next() < 0.3) {
      const whole = float();
      logits = build.binary('mul', logits, spread(tame(build.reduce('sum', whole, [...whole.type.shape.keys()]))));
    }
    if (next() < 0.4)
      logits = build.where(
        build.binary('le', build.iota(shape, last), build.iota(shape, last - 1)),
        logits,
        build.constant(-Infinity, 'f32', shape),
      );
    const kept = [...batch, rows, 1];
    const most = spread(build.reshape(build.detach(build.reduce('max', logits, [last])), kept));
    const powers = build.unary('exp', build.binary('sub', logits, most));
    let softmax = build.binary('div', powers, spread(build.reshape(build.reduce('sum', powers, [last]), kept)));
    if (next() < 0.3) {
      const seed = build.input('seed', 'scalar', { dtype: 'u32', shape: [2] });
      const step = build.input('step', 'scalar', { dtype: 'u32', shape: [] });
      const bits = build.random(seed, step, 7, shape);
      const isKept = build.binary('lt', bits, build.constant(2 ** 31, 'u32', shape));
      softmax = build.where(isKept, softmax, build.constant(0, 'f32', shape));
    }
    if (next() < 0.2) values.push(tame(build.reduce('sum', build.binary('mul', softmax, softmax), [0, 1, last])));
    return build.contract(
      [softmax, v],
      [
        [...own, row, inner],
        [...shared, inner, column],
      ],
      [...batch, rows, width],
      [columns],
    );
  }

  /** A product of whole numbers of eight bits, as quantized weights make it. */
  function productOfBytes(): Value {
    const [rows, sum, columns] = [pick([1, 4, 9]), pick([3, 8, 13]), pick([1, 5, 16])];
    const bytes = (name: string, ...shape: number[]): Value => {
      const real = build.input(name, 'param', { dtype: 'f32', shape });
      params.push(real);
      const scaled = build.binary('mul', tame(real), filled(build, 100, real));
      return build.cast(build.cast(scaled, 'i8'), 'i32');
    };
    const product = build.contract(
      [bytes('codes', rows, sum), bytes('weights', sum, columns)],
      [
        [at(0), at(2)],
        [at(2), at(1)],
      ],
      [rows, columns],
      [sum],
    );
    const real = build.cast(product, 'f32');
    return build.binary('mul', real, filled(build, 1e-4, real));
  }

  while (build.nodes.length < size) {
    // Layers take turns, so that passes that work by layer find some.
    build.origin = { path: `model.${['a', 'b', 'c'][Math.floor((3 * build.nodes.length) / size)]}` };
    const value = pick(steps)();
    if (value !== undefined) values.push(few(value));
  }
  // What passes look for that chance hardly makes.
  if (seed % 4 === 1) values.push(attention());
  if (seed % 4 === 3) values.push(productOfBytes());

  let loss = build.constant(0, 'f32');
  for (const value of values.slice(-3))
    loss = build.binary('add', loss, build.reduce('sum', tame(value), [...value.type.shape.keys()]));
  build.output('loss.sum', 'result', loss);
  if (backward)
    differentiate(build, loss, params).forEach((gradient, place) => build.output(`d${place}`, 'result', gradient));
  return build.finish();
}

const filled = (build: Builder, value: number, like: Value): Value => build.constant(value, 'f32', like.type.shape);

/** The first even axis split in two. */
function split(shape: readonly number[]): number[] {
  const axis = shape.findIndex((size) => size % 2 === 0 && size > 0);
  return axis < 0 ? [...shape] : [...shape.slice(0, axis), 2, shape[axis] / 2, ...shape.slice(axis + 1)];
}
