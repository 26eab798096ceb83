/** Small networks with loss and gradient, written straight on the Builder: what the laws have to keep small. */
import { differentiate } from '../../compiler/differentiate/differentiate.ts';
import type { Builder } from '../../compiler/graph/build.ts';
import type { Graph, Value } from '../../compiler/graph/graph.ts';
import { at, pair } from '../../compiler/ops/affine.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import type { Dtype } from '../../compiler/types/dtype.ts';

const all = (x: Value): number[] => [...x.type.shape.keys()];

/** What the networks are written in: broadcasting arithmetic, as the language has it. */
function write(build: Builder) {
  const params: Value[] = [];
  const number = (x: Value, value: number): Value => build.constant(value, x.type.dtype, x.type.shape);
  const binary = (op: 'add' | 'sub' | 'mul' | 'div' | 'max', a: Value, b: Value): Value => {
    const shape = a.type.shape.length >= b.type.shape.length ? a.type.shape : b.type.shape;
    return build.binary(op, build.broadcast(a, shape), build.broadcast(b, shape));
  };
  /** Reduces the last axis and keeps it with size 1. */
  const last = (monoid: 'sum' | 'max', x: Value): Value =>
    build.reshape(build.reduce(monoid, x, [x.type.shape.length - 1]), [...x.type.shape.slice(0, -1), 1]);
  const write = {
    params,
    number,
    binary,
    last,
    input: (name: string, shape: number[], dtype: Dtype = 'f32'): Value => build.input(name, 'batch', { dtype, shape }),
    param(name: string, ...shape: number[]): Value {
      const value = build.input(name, 'param', { dtype: 'f32', shape });
      params.push(value);
      return value;
    },
    linear: (x: Value, name: string, from: number, to: number): Value =>
      binary('add', build.matmul(x, write.param(`${name}.weight`, from, to)), write.param(`${name}.bias`, to)),
    relu: (x: Value): Value => build.binary('max', x, number(x, 0)),
    sigmoid: (x: Value): Value =>
      build.binary('div', number(x, 1), build.binary('add', number(x, 1), build.unary('exp', build.unary('neg', x)))),
    softmax(x: Value): Value {
      const e = build.unary('exp', binary('sub', x, last('max', x)));
      return binary('div', e, last('sum', e));
    },
    crossEntropy(logits: Value, target: Value): Value {
      const top = build.detach(last('max', logits));
      const log = binary('add', build.unary('log', last('sum', build.unary('exp', binary('sub', logits, top)))), top);
      const rows = target.type.shape.length;
      const chosen = build.gather(logits, target, rows);
      const each = build.binary('sub', build.reshape(log, chosen.type.shape), chosen);
      return build.binary(
        'div',
        build.reduce('sum', each, all(each)),
        build.constant(Number(each.type.shape[0]), 'f32'),
      );
    },
    finish(loss: Value): Graph {
      build.output('loss', 'result', loss);
      const names = new Map(build.inputs.map(({ name, value }) => [value, name]));
      differentiate(build, loss, params).forEach((gradient, place) =>
        build.output(`d ${names.get(params[place])}`, 'result', gradient),
      );
      return build.finish();
    },
  };
  return write;
}

/** flatten, 784 → 32 → 10. */
export function mlp(): Graph {
  const build = createBuilder('mlp');
  const { input, linear, relu, crossEntropy, finish } = write(build);
  const x = build.reshape(input('x', [8, 28, 28]), [8, 784]);
  return finish(crossEntropy(linear(relu(linear(x, 'fc1', 784, 32)), 'fc2', 32, 10), input('y', [8], 'i32')));
}

/** convolution 3×3 (padding 1, stride as given), maximum over 2×2, linear. */
export function convnet(stride = 1): Graph {
  const build = createBuilder('convnet');
  const { input, param, linear, binary, relu, crossEntropy, finish } = write(build);
  const x = input('x', [4, 12, 12, 1]);
  const padded = build.view(x, [4, 14, 14, 1], [at(0), at(1, 1, -1), at(2, 1, -1), at(3)]);
  const size = 12 / stride;
  const convolved = build.contract(
    [padded, param('conv.weight', 3, 3, 1, 6)],
    [
      [at(0), pair(1, stride, 4, 1), pair(2, stride, 5, 1), at(6)],
      [at(4), at(5), at(6), at(3)],
    ],
    [4, size, size, 6],
    [3, 3, 1],
  );
  const h = relu(binary('add', convolved, param('conv.bias', 6)));
  const windows = build.view(h, [4, size / 2, size / 2, 6, 2, 2], [at(0), pair(1, 2, 4, 1), pair(2, 2, 5, 1), at(3)]);
  const pooled = build.reduce('max', windows, [4, 5]);
  const flat = build.reshape(pooled, [4, (size / 2) ** 2 * 6]);
  return finish(crossEntropy(linear(flat, 'head', (size / 2) ** 2 * 6, 3), input('y', [4], 'i32')));
}

/** An LSTM over 7 steps, read out at the end. */
export function lstm(): Graph {
  const build = createBuilder('lstm');
  const { input, param, binary, linear, finish } = write(build);
  const [batch, steps, from, hidden] = [3, 7, 4, 5];
  const x = build.transpose(input('x', [batch, steps, from]), [1, 0, 2]);
  const wx = param('wx', from, 4 * hidden);
  const wh = param('wh', hidden, 4 * hidden);
  const bias = param('b', 4 * hidden);
  const body = build.nested('lstm');
  const inner = write(body);
  const [h, c, step, wxIn, whIn, biasIn] = (
    [
      ['h', [batch, hidden]],
      ['c', [batch, hidden]],
      ['x', [batch, from]],
      ['wx', wx.type.shape],
      ['wh', wh.type.shape],
      ['b', bias.type.shape],
    ] as const
  ).map(([name, shape]) => body.input(name, 'batch', { dtype: 'f32', shape }));
  const z = inner.binary('add', body.binary('add', body.matmul(step, wxIn), body.matmul(h, whIn)), biasIn);
  const [i, f, g, o] = [0, 1, 2, 3].map((gate) => body.slice(z, 1, gate * hidden, hidden));
  const cell = body.binary(
    'add',
    body.binary('mul', inner.sigmoid(f), c),
    body.binary('mul', inner.sigmoid(i), body.unary('tanh', g)),
  );
  const state = body.binary('mul', inner.sigmoid(o), body.unary('tanh', cell));
  body.output('h', 'result', state);
  body.output('c', 'result', cell);
  body.output('y', 'result', state);
  const zero = build.constant(0, 'f32', [batch, hidden]);
  const [, , sequence] = build.loop([zero, zero, x, wx, wh, bias], {
    trips: steps,
    carried: 2,
    scanned: 1,
    reverse: false,
    body: body.finish(),
  });
  const last = build.reshape(build.slice(sequence, 0, steps - 1, 1), [batch, hidden]);
  const error = binary('sub', linear(last, 'out', hidden, 1), input('y', [batch, 1]));
  return finish(build.reduce('sum', build.binary('mul', error, error), [0, 1]));
}

/** One causal transformer block of width 8 with 2 heads, embeddings and a head tied to nothing. */
export function gpt(): Graph {
  const build = createBuilder('gpt');
  const { input, param, linear, binary, number, last, softmax, crossEntropy, finish } = write(build);
  const [batch, time, width, heads, vocabulary] = [2, 6, 8, 2, 11];
  const per = width / heads;
  const norm = (x: Value, name: string): Value => {
    const mean = binary('div', last('sum', x), number(last('sum', x), width));
    const centered = binary('sub', x, mean);
    const variance = last('sum', build.binary('mul', centered, centered));
    const scale = build.unary(
      'rsqrt',
      build.binary('add', build.binary('div', variance, number(variance, width)), number(variance, 1e-5)),
    );
    return binary(
      'add',
      binary('mul', binary('mul', centered, scale), param(`${name}.scale`, width)),
      param(`${name}.shift`, width),
    );
  };
  const ids = input('ids', [batch, time], 'i32');
  let x = binary('add', build.gather(param('tokens', vocabulary, width), ids, 0), param('positions', time, width));
  const a = norm(x, 'norm1');
  const [q, k, v] = ['q', 'k', 'v'].map((name) =>
    build.reshape(linear(a, name, width, width), [batch, time, heads, per]),
  );
  const scores = build.contract(
    [q, k],
    [
      [at(0), at(2), at(1), at(4)],
      [at(0), at(3), at(1), at(4)],
    ],
    [batch, heads, time, time],
    [per],
  );
  const scaled = build.binary('div', scores, number(scores, Math.sqrt(per)));
  const [row, column] = [2, 3].map((axis) => build.iota([batch, heads, time, time], axis));
  const masked = build.where(build.binary('le', column, row), scaled, number(scaled, -Infinity));
  const mixed = build.contract(
    [softmax(masked), v],
    [
      [at(0), at(2), at(1), at(4)],
      [at(0), at(4), at(2), at(3)],
    ],
    [batch, time, heads, per],
    [time],
  );
  x = build.binary('add', x, linear(build.reshape(mixed, [batch, time, width]), 'mix', width, width));
  const h = linear(norm(x, 'norm2'), 'up', width, 4 * width);
  const gelu = build.binary(
    'mul',
    build.binary('mul', h, number(h, 0.5)),
    build.binary('add', number(h, 1), build.unary('erf', build.binary('div', h, number(h, Math.SQRT2)))),
  );
  x = build.binary('add', x, linear(gelu, 'down', 4 * width, width));
  return finish(
    crossEntropy(linear(norm(x, 'norm3'), 'head', width, vocabulary), input('targets', [batch, time], 'i32')),
  );
}

/** linear, divided by the root of its mean square, relu, maximum over positions, linear: what a maximum is taken of came of sums. */
export function pooled(): Graph {
  const build = createBuilder('pooled');
  const { input, linear, binary, relu, number, crossEntropy, finish } = write(build);
  const h = linear(input('x', [4, 6, 8]), 'up', 8, 4);
  const mean = binary('div', build.reduce('sum', binary('mul', h, h), [1]), build.constant(6, 'f32'));
  const root = build.unary('rsqrt', binary('add', mean, number(mean, 0.1)));
  const normal = binary('mul', h, build.reshape(root, [4, 1, 4]));
  return finish(crossEntropy(linear(build.reduce('max', relu(normal), [1]), 'down', 4, 5), input('y', [4], 'i32')));
}

export const networks = { mlp, convnet, strided: () => convnet(2), lstm, gpt, pooled };
