import { describe, expect, test } from 'vitest';
import { complaints } from '../elaborate/support.ts';

/** Definitions that nothing uses, and with which nothing is wrong. */
const sound: Record<string, string> = {
  'heads that divide the width': `layer A{dim: int, heads: int} {
    (x: f32[B, T, dim]) -> f32[B, T, dim] = reshape(reshape(x, [B, T, heads, dim / heads]), [B, T, dim])
  }`,
  patches: `layer P{size: int, dim: int} {
    param weight: f32[size, size, 3, dim] = normal(0.02)
    (x: f32[B, H, W, 3]) -> f32[B, H / size, W / size, dim] {
      let y[b, i, j, o] = sum[u, v, c] x[b, i * size + u, j * size + v, c] * weight[u, v, c, o]
      y
    }
  }`,
  'two poolings are one by four': `fn f(x: f32[B, H, W, C]) -> f32[B, H / 4, W / 4, C] = x |> half |> half
    fn half(x: f32[B, H, W, C]) -> f32[B, H / 2, W / 2, C] {
      let y[b, i, j, c] = max[u in 0..2, v in 0..2] x[b, 2 * i + u, 2 * j + v, c]
      y
    }`,
  'a list of any length': `use std.layers { Linear }
    model M{depth: int, dim: int} {
      layers = [Linear{dim, dim} for _i in 0..depth]
      (x: f32[B, dim]) -> f32[B, dim] = layers(x)
    }`,
  'a list whose layers differ': `use std.layers { Linear }
    model M{depth: int = 3} {
      layers = [Linear{2 ^ i, 2 ^ (i + 1)} for i in 0..depth]
      (x: f32[B, 1]) -> f32[B, 2 ^ depth] = layers(x)
    }`,
  'as many parts as asked for': `use std.layers { Linear }
    layer Many{n: int, dim: int} {
      parts = [Linear{dim, dim} for _i in 0..n]
      (x: f32[B, dim]) -> f32[B, n * dim] = concat([part(x) for part in parts], axis: -1)
    }
    fn cut{n: int = 2}(x: f32[B, D]) -> f32[B, D / n] {
      let parts = split(x, n)
      parts[0]
    }`,
  'an axis that is a hyperparameter':
    'fn centre{axis: int = -1}(x: f32[B, D]) -> f32[B, D] = x - mean(x, axis: axis, keep: true)',
  'a width computed with a fraction': `use std.layers { Linear }
    layer Wide{dim: int, by: float = 2.5} {
      up = Linear{dim, floor(dim * by)}
      down = Linear{floor(dim * by), dim}
      (x: f32[B, dim]) -> f32[B, dim] = down(relu(up(x)))
    }`,
  'a choice that changes the result': `fn reduce{how: "sum" | "none" = "sum"}(x: f32[B]) = if how == "sum" then sum(x) else x`,
  'a condition nobody has decided': `layer D{skip: bool = true, rate: float = 0.1} {
    (x: f32[B, D]) -> f32[B, D] = if rate > 0 and training then (if skip then x + x * rate else x) else x
  }`,
  'sizes solved from arithmetic': 'fn halves(x: f32[B, 2 * H]) -> f32[B, H] = x[:, 0..H] + x[:, H..2 * H]',
  'halves by position': `fn rope(x: f32[B, T, H, D]) -> f32[B, T, H, D] {
    let angle[t in 0..T, i in 0..D / 2] = t * 10000 ^ (-2 * f32(i) / D)
    let a = x[..., 0..D / 2]
    let b = x[..., D / 2..D]
    let c[t, h in 0..1, i] = cos(angle[t, i])
    let s[t, h in 0..1, i] = sin(angle[t, i])
    concat([a * c - b * s, a * s + b * c], axis: -1)
  }`,
  'groups of channels': `layer Grouped{in: int, out: int, kernel: int = 3, groups: int = 1} {
    param weight: f32[groups, kernel, in / groups, out / groups] = kaiming_uniform(in * kernel)
    (x: f32[B, T, in]) -> f32[B, T - kernel + 1, out] {
      let xs = reshape(x, [B, T, groups, in / groups])
      let y[b, t, g, o] = sum[k, c] xs[b, t + k, g, c] * weight[g, k, c, o]
      reshape(y, [B, T - kernel + 1, out])
    }
  }`,
  'functions of functions': `fn twice{f: function}(x: f32[...]) -> f32[...] = f(f(x))
    fn g(x: f32[B]) -> f32[B] = twice{relu}(x)`,
  'an open schedule':
    'optimizer O{lr: schedule, k: int = 2} { state m = 0\n (param, grad, step) { m <- m + grad\n param <- param - lr(step) * m / k } }',
};

/** Wrong for every size, or for almost all; found without anybody using them. */
const unsound: Record<string, readonly [code: string, text: string]> = {
  'a layer that does not return what it says': [
    'result-mismatch',
    'layer L{a: int, b: int} {\n param w: f32[a, b] = 0\n (x: f32[N, a]) -> f32[N, a] = x @ w\n}',
  ],
  'a choice that is never the default': [
    'unknown-name',
    'fn f{how: "a" | "b" = "a"}(x: f32[B]) -> f32[B] = if how == "a" then x else y',
  ],
  'the side of a condition that is not taken': [
    'result-mismatch',
    'fn f{k: int = 1}(x: f32[B, D]) -> f32[B] = if k == 1 then sum(x, axis: 0) else sum(x, axis: 0)',
  ],
  'an initializer that does not fit': [
    'rank-mismatch',
    'layer L{n: int} {\n param w: f32[n, n] = zeros[n]\n (x: f32[n]) -> f32[n] = w @ x\n}',
  ],
  'a convolution off by one': [
    'result-mismatch',
    `fn f(x: f32[B, T], w: f32[K]) -> f32[B, T - K] {
    let y[b, t] = sum[k] x[b, t + k] * w[k]
    y
  }`,
  ],
  'an optimizer that forgets the shape': [
    'operands-mismatch',
    'optimizer O{lr: schedule} { (param, grad, step) { param <- param - lr(step) * (grad + zeros[3]) } }',
  ],
  'a buffer of another shape': [
    'assigned-type',
    'layer L{n: int} {\n buffer b: f32[n] = 0\n (x: f32[B, n]) -> f32[B, n] {\n b <- sum(x, axis: 1)\n x + b } }',
  ],
};

describe('definitions that nothing uses are checked with their sizes left open', () => {
  test.each(Object.entries(sound))('%s', (_, text) => expect(complaints(text)).toBe(''));
  test.each(Object.entries(unsound))('%s', (_, [code, text]) => {
    const found = complaints(text);
    expect(found).toContain(`error[${code}]`);
    expect(found.match(/^error/gm)).toHaveLength(1);
  });
});
