/** Training steps written by hand against the builder: what fusion is measured on. */
import { differentiate } from '../../compiler/differentiate/differentiate.ts';
import type { Builder } from '../../compiler/graph/build.ts';
import type { Graph, Value } from '../../compiler/graph/graph.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';

export const f32 = (...shape: number[]): { dtype: 'f32'; shape: number[] } => ({ dtype: 'f32', shape });

/** Helpers that stretch operands. */
export function shorthand(build: Builder) {
  const like = (x: Value, other: Value): Value => build.broadcast(x, other.type.shape);
  const scalar = (value: number, other: Value): Value => build.constant(value, other.type.dtype, other.type.shape);
  const keep = (x: Value, axis: number): Value => {
    const shape = [...x.type.shape];
    shape.splice(axis, 0, 1);
    return build.reshape(x, shape);
  };
  return {
    like,
    scalar,
    keep,
    add: (a: Value, b: Value): Value => build.binary('add', a, like(b, a)),
    sub: (a: Value, b: Value): Value => build.binary('sub', a, like(b, a)),
    mul: (a: Value, b: Value): Value => build.binary('mul', a, like(b, a)),
    div: (a: Value, b: Value): Value => build.binary('div', a, like(b, a)),
    scale: (a: Value, factor: number): Value => build.binary('mul', a, scalar(factor, a)),
    shift: (a: Value, by: number): Value => build.binary('add', a, scalar(by, a)),
    relu: (a: Value): Value => build.binary('max', a, scalar(0, a)),
    /** Along the last axis. */
    softmax(a: Value): Value {
      const last = a.type.shape.length - 1;
      const top = keep(build.reduce('max', build.detach(a), [last]), last);
      const e = build.unary('exp', build.binary('sub', a, like(top, a)));
      return build.binary('div', e, like(keep(build.reduce('sum', e, [last]), last), a));
    },
    layerNorm(a: Value, gain: Value, bias: Value): Value {
      const last = a.type.shape.length - 1;
      const size = Number(a.type.shape[last]);
      const mean = build.binary(
        'mul',
        build.reduce('sum', a, [last]),
        build.constant(1 / size, 'f32', a.type.shape.slice(0, -1)),
      );
      const centered = build.binary('sub', a, like(keep(mean, last), a));
      const variance = build.binary(
        'mul',
        build.reduce('sum', build.binary('mul', centered, centered), [last]),
        build.constant(1 / size, 'f32', a.type.shape.slice(0, -1)),
      );
      const rate = build.unary(
        'rsqrt',
        build.binary('add', variance, build.constant(1e-5, 'f32', variance.type.shape)),
      );
      const normal = build.binary('mul', centered, like(keep(rate, last), a));
      return build.binary('add', build.binary('mul', normal, like(gain, a)), like(bias, a));
    },
    gelu(x: Value): Value {
      const cube = build.binary('mul', build.binary('mul', x, x), x);
      const inner = build.binary(
        'mul',
        build.binary('add', x, build.binary('mul', cube, scalar(0.044715, x))),
        scalar(0.7978845608, x),
      );
      return build.binary(
        'mul',
        build.binary('mul', x, scalar(0.5, x)),
        build.binary('add', build.unary('tanh', inner), scalar(1, x)),
      );
    },
    /** Mean negative log likelihood of ids under the rows of logits[n, c]. */
    crossEntropy(logits: Value, ids: Value): Value {
      const [n, c] = logits.type.shape.map(Number);
      const top = build.reduce('max', build.detach(logits), [1]);
      const centered = build.binary('sub', logits, like(keep(top, 1), logits));
      const total = build.unary('log', build.reduce('sum', build.unary('exp', centered), [1]));
      const picked = build.gather(centered, ids, 1);
      void c;
      return build.binary(
        'mul',
        build.reduce('sum', build.binary('sub', total, picked), [0]),
        build.constant(1 / n, 'f32'),
      );
    },
  };
}

/** Adam on every parameter, its moments as states. */
export function adam(build: Builder, parameters: ReadonlyMap<string, Value>, loss: Value): void {
  const step = build.input('step', 'scalar', { dtype: 'u32', shape: [] });
  const t = build.binary('add', build.cast(step, 'f32'), build.constant(1, 'f32'));
  const one = build.constant(1, 'f32');
  const correction1 = build.binary('sub', one, build.binary('pow', build.constant(0.9, 'f32'), t));
  const correction2 = build.binary('sub', one, build.binary('pow', build.constant(0.999, 'f32'), t));
  const gradients = differentiate(build, loss, [...parameters.values()]);
  [...parameters].forEach(([name, p], at) => {
    const g = gradients[at];
    const { shape } = p.type;
    const c = (value: number): Value => build.constant(value, 'f32', shape);
    const m = build.input(`${name}.m`, 'state', p.type);
    const v = build.input(`${name}.v`, 'state', p.type);
    const m2 = build.binary('add', build.binary('mul', m, c(0.9)), build.binary('mul', g, c(0.1)));
    const v2 = build.binary(
      'add',
      build.binary('mul', v, c(0.999)),
      build.binary('mul', build.binary('mul', g, g), c(0.001)),
    );
    const up = build.binary('div', m2, build.broadcast(correction1, shape));
    const down = build.binary(
      'add',
      build.unary('sqrt', build.binary('div', v2, build.broadcast(correction2, shape))),
      c(1e-8),
    );
    build.output(`${name}.m`, 'update', m2);
    build.output(`${name}.v`, 'update', v2);
    build.output(name, 'update', build.binary('sub', p, build.binary('mul', build.binary('div', up, down), c(0.001))));
  });
  build.output('loss', 'result', loss);
}

export function mlp(batch: number, sizes: readonly number[]): Graph {
  const build = createBuilder('mlp');
  const { add, relu, crossEntropy } = shorthand(build);
  const parameters = new Map<string, Value>();
  let h = build.input('x', 'batch', f32(batch, sizes[0]));
  const y = build.input('y', 'batch', { dtype: 'i32', shape: [batch] });
  for (let at = 0; at + 1 < sizes.length; at++) {
    const w = build.input(`fc${at}.w`, 'param', f32(sizes[at], sizes[at + 1]));
    const b = build.input(`fc${at}.b`, 'param', f32(sizes[at + 1]));
    parameters.set(`fc${at}.w`, w).set(`fc${at}.b`, b);
    h = add(build.matmul(h, w), b);
    if (at + 2 < sizes.length) h = relu(h);
  }
  adam(build, parameters, crossEntropy(h, y));
  return build.finish();
}

/** A GPT with pre-norm blocks, learned positions and an untied head, trained with Adam. */
export function gpt(
  layers: number,
  batch: number,
  time: number,
  width: number,
  heads: number,
  vocabulary: number,
): Graph {
  const build = createBuilder('gpt');
  const { add, scale, softmax, layerNorm, gelu, crossEntropy } = shorthand(build);
  const parameters = new Map<string, Value>();
  const param = (name: string, ...shape: number[]): Value => {
    const value = build.input(name, 'param', f32(...shape));
    parameters.set(name, value);
    return value;
  };
  const linear = (x: Value, name: string, from: number, to: number): Value =>
    add(build.matmul(x, param(`${name}.w`, from, to)), param(`${name}.b`, to));
  const per = width / heads;
  const split = (x: Value): Value => build.transpose(build.reshape(x, [batch, time, heads, per]), [0, 2, 1, 3]);
  const ids = build.input('ids', 'batch', { dtype: 'i32', shape: [batch, time] });
  const targets = build.input('targets', 'batch', { dtype: 'i32', shape: [batch, time] });
  let x = add(build.gather(param('tokens', vocabulary, width), ids, 0), param('positions', time, width));
  for (let layer = 0; layer < layers; layer++) {
    build.origin = { path: `blocks.${layer}` };
    const name = `blocks.${layer}`;
    const norm = (h: Value, which: string): Value =>
      layerNorm(h, param(`${name}.${which}.g`, width), param(`${name}.${which}.b`, width));
    const qkv = linear(norm(x, 'ln1'), `${name}.qkv`, width, 3 * width);
    const [q, k, v] = [0, 1, 2].map((part) => split(build.slice(qkv, 2, part * width, width)));
    const scores = scale(build.matmul(q, build.transpose(k, [0, 1, 3, 2])), 1 / Math.sqrt(per));
    const shape = [batch, heads, time, time];
    const masked = build.where(
      build.binary('le', build.iota(shape, 3), build.iota(shape, 2)),
      scores,
      build.constant(-Infinity, 'f32', shape),
    );
    const mixed = build.reshape(build.transpose(build.matmul(softmax(masked), v), [0, 2, 1, 3]), [batch, time, width]);
    x = build.binary('add', x, linear(mixed, `${name}.proj`, width, width));
    x = build.binary(
      'add',
      x,
      linear(gelu(linear(norm(x, 'ln2'), `${name}.up`, width, 4 * width)), `${name}.down`, 4 * width, width),
    );
  }
  build.origin = {};
  const last = layerNorm(x, param('ln.g', width), param('ln.b', width));
  const logits = build.reshape(linear(last, 'head', width, vocabulary), [batch * time, vocabulary]);
  adam(build, parameters, crossEntropy(logits, build.reshape(targets, [batch * time])));
  return build.finish();
}
