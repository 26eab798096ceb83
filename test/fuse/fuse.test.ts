import { describe, expect, it } from 'vitest';
import { differentiate } from '../../compiler/differentiate/differentiate.ts';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Builder } from '../../compiler/graph/build.ts';
import type { AffineIndex, Graph, Value } from '../../compiler/graph/graph.ts';
import { interpretLoop } from '../../compiler/loop/interpret.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { verifyLoop } from '../../compiler/loop/verify.ts';
import { parseGraph } from '../../compiler/graph/parse-text.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { optimize } from '../../compiler/optimize/index.ts';
import { f32, gpt, mlp, shorthand } from './networks.ts';
import { countKernels, expectSame, inputsFor } from './support.ts';

const show = (program: Parameters<typeof printLoop>[0]): void => {
  if (process.env.SHOW) console.log(printLoop(program), countKernels(program.steps));
};

/** A graph whose outputs are `make`'s results and the gradients of the sum of the first with respect to all f32 inputs. */
function withGradients(make: (build: Builder) => Value): Graph {
  const build = createBuilder('case');
  const out = make(build);
  build.output('out', 'result', out);
  const wrt = build.inputs.filter(({ value }) => value.type.dtype === 'f32');
  const weights = build.input('weights', 'batch', out.type);
  const weighted = build.binary('mul', out, weights);
  const loss =
    out.type.shape.length === 0
      ? weighted
      : build.reduce(
          'sum',
          weighted,
          out.type.shape.map((_, axis) => axis),
        );
  differentiate(
    build,
    loss,
    wrt.map(({ value }) => value),
  ).forEach((gradient, at) => build.output(`d.${wrt[at].name}`, 'result', gradient));
  return build.finish();
}

const at = (axis: number, scale = 1, offset = 0): AffineIndex => ({ terms: [{ axis, scale }], offset, divisor: 1 });
const sum = (...terms: readonly (readonly [number, number])[]): AffineIndex['terms'] =>
  terms.map(([axis, scale]) => ({ axis, scale }));

describe('fusion keeps the meaning', () => {
  it('of an MLP trained with Adam', () => {
    const graph = mlp(4, [6, 5, 4, 3]);
    show(expectSame(graph, inputsFor(graph, 3, { y: 3, step: 3 })));
  });

  it('of softmax and layer norm, forward and backward', () => {
    const graph = withGradients((build) => {
      const x = build.input('x', 'batch', f32(3, 4, 7));
      const { softmax, layerNorm } = shorthand(build);
      return softmax(layerNorm(x, build.input('g', 'param', f32(7)), build.input('b', 'param', f32(7))));
    });
    show(expectSame(graph, inputsFor(graph)));
  });

  it('of attention with heads split by views', () => {
    const graph = withGradients((build) => {
      const [B, T, H, D] = [2, 5, 2, 3];
      const x = build.input('x', 'batch', f32(B, T, H * D));
      const { softmax, scale } = shorthand(build);
      const qkv = build.matmul(build.reshape(x, [B * T, H * D]), build.input('w', 'param', f32(H * D, 3 * H * D)));
      const heads = [0, 1, 2].map((part) =>
        build.transpose(build.reshape(build.slice(qkv, 1, part * H * D, H * D), [B, T, H, D]), [0, 2, 1, 3]),
      );
      const scores = scale(build.matmul(heads[0], build.transpose(heads[1], [0, 1, 3, 2])), 0.5);
      const mask = build.binary('lt', build.iota([B, H, T, T], 2), build.iota([B, H, T, T], 3));
      const masked = build.where(mask, build.constant(-1e9, 'f32', [B, H, T, T]), scores);
      const mixed = build.reshape(build.transpose(build.matmul(softmax(masked), heads[2]), [0, 2, 1, 3]), [
        B * T,
        H * D,
      ]);
      return build.reshape(build.matmul(mixed, build.input('o', 'param', f32(H * D, H * D))), [B, T, H * D]);
    });
    show(expectSame(graph, inputsFor(graph)));
  });

  it('of a strided, padded convolution with bias, pooling and a linear head', () => {
    const graph = withGradients((build) => {
      const [B, C, S, F] = [2, 2, 7, 3];
      const { add, relu } = shorthand(build);
      const x = build.input('x', 'batch', f32(B, S, S, C));
      const w = build.input('w', 'param', f32(F, 3, 3, C));
      const read: AffineIndex[] = [
        at(0),
        { terms: sum([1, 2], [4, 1]), offset: -1, divisor: 1 },
        { terms: sum([2, 2], [5, 1]), offset: -1, divisor: 1 },
        at(6),
      ];
      const conv = build.contract([x, w], [read, [at(3), at(4), at(5), at(6)]], [B, 4, 4, F], [3, 3, C]);
      const y = relu(add(conv, build.input('b', 'param', f32(F))));
      const windows = build.view(
        y,
        [B, 2, 2, F, 2, 2],
        [
          at(0),
          { terms: sum([1, 2], [4, 1]), offset: 0, divisor: 1 },
          { terms: sum([2, 2], [5, 1]), offset: 0, divisor: 1 },
          at(3),
        ],
      );
      const pooled = build.reshape(build.reduce('max', windows, [4, 5]), [B, 4 * F]);
      return build.matmul(pooled, build.input('head', 'param', f32(4 * F, 3)));
    });
    show(expectSame(graph, inputsFor(graph)));
  });

  it('of embeddings: gather and scatter, concat, cumulative, argmax, random', () => {
    const graph = withGradients((build) => {
      const table = build.input('table', 'param', f32(5, 3));
      const ids = build.input('ids', 'batch', { dtype: 'i32', shape: [2, 4] });
      const e = build.gather(table, ids, 0);
      const both = build.concat([e, build.unary('tanh', e), build.input('more', 'param', f32(2, 4, 2))], 2);
      const summed = build.cumulative('sum', both, 1, true);
      const best = build.cast(build.argreduce('max', summed, 2), 'f32');
      const seed = build.input('seed', 'scalar', { dtype: 'u32', shape: [2] });
      const step = build.input('step', 'scalar', { dtype: 'u32', shape: [] });
      const noise = build.binary(
        'lt',
        build.cast(build.random(seed, step, 7, [2, 4, 8]), 'f32'),
        build.constant(2 ** 31, 'f32', [2, 4, 8]),
      );
      const dropped = build.where(noise, summed, build.constant(0, 'f32', [2, 4, 8]));
      return build.binary('add', build.reduce('sum', dropped, [2]), best);
    });
    show(expectSame(graph, inputsFor(graph, 4, { seed: 1000, step: 10 })));
  });

  it('of a recurrent network written as a loop', () => {
    const graph = withGradients((build) => {
      const [T, B, I, H] = [4, 2, 3, 2];
      const xs = build.input('xs', 'batch', f32(T, B, I));
      const h0 = build.constant(0, 'f32', [B, H]);
      const wx = build.input('wx', 'param', f32(I, H));
      const wh = build.input('wh', 'param', f32(H, H));
      const body = build.nested('step');
      const h = body.input('h', 'batch', f32(B, H));
      const x = body.input('x', 'batch', f32(B, I));
      const wxIn = body.input('wx', 'batch', f32(I, H));
      const whIn = body.input('wh', 'batch', f32(H, H));
      const next = body.unary('tanh', body.binary('add', body.matmul(x, wxIn), body.matmul(h, whIn)));
      body.output('h', 'result', next);
      body.output('y', 'result', next);
      const [last, ys] = build.loop([h0, xs, wx, wh], {
        trips: T,
        carried: 1,
        scanned: 1,
        reverse: false,
        body: body.finish(),
      });
      return build.binary('add', last, build.reduce('sum', ys, [0]));
    });
    show(expectSame(graph, inputsFor(graph)));
  });

  for (const reverse of [false, true])
    it(`of a loop whose states are read shifted, merged and gathered${reverse ? ', from the end' : ''}`, () => {
      const build = createBuilder('states');
      const [T, B] = [5, 3];
      const xs = build.input('xs', 'batch', f32(T, B));
      const body = build.nested('step');
      const h = body.input('h', 'batch', f32(B));
      const x = body.input('x', 'batch', f32(B));
      const next = body.binary('add', body.binary('mul', h, body.constant(0.5, 'f32', [B])), x);
      body.output('h', 'result', next);
      body.output('before', 'result', h);
      body.output('after', 'result', next);
      const start = build.input('start', 'batch', f32(B));
      const [, before, after] = build.loop([start, xs], {
        trips: T,
        carried: 1,
        scanned: 1,
        reverse,
        body: body.finish(),
      });
      const ids = build.input('ids', 'batch', { dtype: 'i32', shape: [4] });
      build.output('after', 'result', after);
      for (const [name, states] of [
        ['a', before],
        ['b', after],
      ] as const) {
        build.output(`${name}.shifted`, 'result', build.view(states, [T + 2, B], [at(0, 1, -1), at(1)]));
        build.output(`${name}.merged`, 'result', build.unary('neg', build.reshape(states, [T * B])));
        build.output(`${name}.picked`, 'result', build.gather(states, ids, 0));
        build.output(
          `${name}.product`,
          'result',
          build.contract(
            [states, states],
            [
              [at(2), at(0)],
              [at(2), at(1)],
            ],
            [B, B],
            [T],
          ),
        );
      }
      const graph = build.finish();
      show(expectSame(graph, inputsFor(graph, 2, { ids: T })));
      const outside = inputsFor(graph, 2, { ids: T });
      outside.get('ids')?.data.fill(T);
      const buffers = new Map([...outside].map(([name, { data }]) => [name, data]));
      expect(interpretLoop(fuse(graph).program, buffers).outOfRange).toBe(true);
    });

  it('of loops in loops, with sums at indices', () => {
    const build = createBuilder('nested');
    const [T, U, B] = [3, 2, 4];
    const xs = build.input('xs', 'batch', f32(T, U, B));
    const ids = build.input('ids', 'batch', { dtype: 'i32', shape: [3] });
    const outer = build.nested('outer');
    const h = outer.input('h', 'batch', f32(B));
    const x = outer.input('x', 'batch', f32(U, B));
    const outerIds = outer.input('ids', 'batch', { dtype: 'i32', shape: [3] });
    const inner = outer.nested('inner');
    const g = inner.input('g', 'batch', f32(B));
    const y = inner.input('y', 'batch', f32(B));
    const base = inner.input('base', 'batch', f32(B));
    const sum = inner.unary('tanh', inner.binary('add', inner.binary('add', g, y), base));
    inner.output('g', 'result', sum);
    inner.output('z', 'result', inner.binary('mul', sum, y));
    const [last, zs] = outer.loop([h, x, h], { trips: U, carried: 1, scanned: 1, reverse: true, body: inner.finish() });
    const picked = outer.scatter(outerIds, outer.gather(last, outerIds, 0), 0, 5);
    outer.output('h', 'result', last);
    outer.output('zs', 'result', zs);
    outer.output('picked', 'result', picked);
    const [end, all, sums] = build.loop([build.constant(0.5, 'f32', [B]), xs, ids], {
      trips: T,
      carried: 1,
      scanned: 1,
      reverse: false,
      body: outer.finish(),
    });
    build.output('end', 'result', end);
    build.output('all', 'result', all);
    build.output('sums', 'result', sums);
    const graph = build.finish();
    show(expectSame(graph, inputsFor(graph, 2, { ids: 4 })));
  });

  it('of updates that read what they overwrite elsewhere', () => {
    const build = createBuilder('swap');
    const a = build.input('a', 'state', f32(4));
    const b = build.input('b', 'state', f32(4));
    const c = build.input('c', 'state', f32(4));
    build.output('a', 'update', b);
    build.output('b', 'update', a);
    build.output('c', 'update', build.view(c, [4], [{ terms: [{ axis: 0, scale: -1 }], offset: 3, divisor: 1 }]));
    build.output('r', 'result', a);
    build.output('s', 'result', a);
    const graph = build.finish();
    show(expectSame(graph, inputsFor(graph)));
  });

  it('of empty and single-element tensors', () => {
    const graph = withGradients((build) => {
      const x = build.input('x', 'batch', f32(1, 3, 1));
      const none = build.input('none', 'batch', f32(0, 3));
      return build.binary('add', build.reduce('sum', x, [0, 2]), build.reduce('sum', none, [0]));
    });
    show(expectSame(graph, inputsFor(graph)));
    expect(graph.nodes.length).toBeGreaterThan(0);
  });
});

it('a reduction that is read beside its only place is no part of what reads it', () => {
  const graph = parseGraph(`graph beside {
  %2: f32[1, 3, 1] = param p2
  %3: f32[] = batch x
  %5[i, j]: f32[1, 1] = sum[k: 3] %2[i, k, j + j - 1] * %3[]
  %6: f32[1, 1] = tanh(%5)
  %12: f32[1, 1] = tanh(%6)
  %22: f32[1, 1] = constant(1)
  %23: f32[1, 1] = mul(%12, %12)
  %24: f32[1, 1] = sub(%22, %23)
  %26: f32[] = after(%3, %24)
  %27[i, j]: f32[1, 1] = sum[k: 3] %2[i, k, j + j - 1] * %26[]
  %28: f32[1, 1] = tanh(%27)
  %29: f32[1, 1] = mul(%28, %28)
  %30: f32[1, 1] = sub(%22, %29)
  %31: f32[1, 1] = mul(%24, %30)
  %32[i, j]: f32[1, 1] = sum[] %31[i, (j + 1)/2] * %3[]
  %33[i, j, k]: f32[1, 3, 1] = %32[i, k]
  result d2 = %33
}
`);
  expectSame(graph, inputsFor(graph));
});

describe('a training step is few kernels', () => {
  const compile = (graph: Graph): ReturnType<typeof fuse> => fuse(optimize(graph));

  it('15 at most for 784-256-128-10 with Adam', () => {
    const { program, decisions } = compile(mlp(64, [784, 256, 128, 10]));
    expect(verifyLoop(program)).toEqual([]);
    expect(countKernels(program.steps)).toBeLessThanOrEqual(9);
    const epilogue = decisions.find(({ fused, reason }) => fused && reason.includes('contraction'));
    expect(epilogue?.bytesSaved).toBeGreaterThan(0);
  });

  it('120 at most for a GPT of 4 layers with Adam, fused in a moment', () => {
    const graph = optimize(gpt(4, 16, 128, 256, 8, 65));
    const { program } = fuse(graph);
    expect(verifyLoop(program)).toEqual([]);
    expect(countKernels(program.steps)).toBeLessThanOrEqual(88);
  });

  it('one region for a softmax row, forward and backward', () => {
    const build = createBuilder('softmax');
    const x = build.input('x', 'param', f32(64, 100));
    const y = shorthand(build).softmax(x);
    const w = build.input('w', 'batch', y.type);
    const [gradient] = differentiate(build, build.reduce('sum', build.binary('mul', y, w), [0, 1]), [x]);
    build.output('y', 'result', y);
    build.output('dx', 'result', gradient);
    const { program } = compile(build.finish());
    expect(program.steps.length).toBe(1);
  });

  it('keeps the meaning of a small GPT', () => {
    const graph = optimize(gpt(1, 2, 4, 8, 2, 5));
    expectSame(graph, inputsFor(graph, 5, { ids: 5, targets: 5, step: 3 }), 1e-3);
  });
});
