import { describe, expect, it } from 'vitest';
import { affine, apply, axisAt, coordinateValue, load, number } from '../../compiler/loop/build.ts';
import { interpretLoop } from '../../compiler/loop/interpret.ts';
import type { Axis, Buffer, LoopProgram, Region } from '../../compiler/loop/loop.ts';
import { LoopSyntaxError, parseLoop } from '../../compiler/loop/parse.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { verifyLoop } from '../../compiler/loop/verify.ts';

const softmax = `program softmax {
  buffer %x: f32[2, 3] batch
  buffer %ids: i32[2] batch
  buffer %table: f32[4, 2] param
  buffer %half: f32[1] constant = [0.5]
  buffer %y: f32[2, 3] result
  buffer %picked: f32[2, 2] result
  buffer %sums: f32[3, 2] temporary
  buffer %total: f32[2] state
  kernel k0 from "model.head", "loss" {
    region for i in 2 {
      reduce for k in 3 { top: f32 = max %x[i, k] }
      reduce for p in 3 {
        let $0 = exp(%x[i, p] - top)
        all: f32 = sum $0
        most: i32 = argmax $0
      }
      store for q in 3 { %y[i, q] = exp(%x[i, q] - top) / all }
    }
    region for j in 2, r in 2 {
      store { %picked[j, r] = %table[{%ids[j]}, r]! * where(@(j + r) < 2:i32, %half[0], f32(@(2*j - r))) }
    }
  }
  repeat t in 2 reverse {
    kernel k1 {
      contraction for i in 2 sum k in 3 {
        dot: f32 = %x[i, k] . %y{6}[3*i + k]
        %sums[t, i] = dot + %sums[t + 1, i]?
      }
    }
  }
  kernel k2 {
    region {
      cumulate for p in 2 reverse {
        run: f32 = sum %sums[0, p]
        %total[p] = run
      }
    }
    scatter %sums{3, 2} walk i in 2 rest j in 2 {
      id = %ids[i] & 1:i32
      value = %picked[i, j]
    }
  }
}
`;

describe('Loop IR', () => {
  it('prints what it reads', () => {
    expect(printLoop(parseLoop(softmax))).toBe(softmax);
  });

  it('means what it says', () => {
    const x = [1, 2, 3, -1, 0, 1];
    const buffers = new Map<string, Float64Array>([
      ['x', Float64Array.from(x)],
      ['ids', Float64Array.from([3, 0])],
      ['table', Float64Array.from([0, 1, 2, 3, 4, 5, 6, 7])],
      ['sums', new Float64Array(6)],
      ['total', new Float64Array(2)],
    ]);
    const program = parseLoop(softmax);
    expect(interpretLoop(program, buffers).outOfRange).toBe(false);
    const row = [0, 1, 2].map((value) => Math.exp(value)).map((value, _, all) => value / all.reduce((a, b) => a + b));
    [...row, ...row].forEach((value, at) => expect(buffers.get('y')?.[at]).toBeCloseTo(value, 6));
    expect([...(buffers.get('picked') ?? [])]).toEqual([3, 3.5, 0, 1]);
    const dots = [0, 1].map((i) => row.reduce((sum, value, k) => sum + value * x[3 * i + k], 0));
    expect(buffers.get('total')?.[1]).toBeCloseTo(2 * dots[1], 5);
    expect(buffers.get('total')?.[0]).toBeCloseTo(2 * (dots[0] + dots[1]), 5);
    expect([...(buffers.get('sums') ?? [])]).toEqual([0, 1, 3, 3.5, 0, 0]);
  });

  it('raises its flag for an index out of range, and reads 0 there', () => {
    const buffers = new Map<string, Float64Array>([
      ['x', new Float64Array(6)],
      ['ids', Float64Array.from([1, 4])],
      ['table', new Float64Array(8).fill(2)],
      ['sums', new Float64Array(6)],
    ]);
    expect(interpretLoop(parseLoop(softmax), buffers).outOfRange).toBe(true);
    expect([...(buffers.get('picked') ?? [])].slice(2)).toEqual([0, 0]);
  });

  it('says where a text goes wrong', () => {
    const broken = softmax.replace('%x[i, k] }', '%x[i, z] }');
    expect(() => parseLoop(broken)).toThrow(LoopSyntaxError);
    expect(() => parseLoop(broken)).toThrow("line 12: there is no axis 'z' here");
  });
});

describe('the verifier of Loop IR finds', () => {
  const i: Axis = { name: 'i', size: 4 };
  const other: Axis = { name: 'j', size: 4 };
  const x: Buffer = { name: 'x', role: 'batch', dtype: 'f32', shape: [4] };
  const y: Buffer = { name: 'y', role: 'result', dtype: 'f32', shape: [4] };
  const program = (...regions: readonly Region[]): LoopProgram => ({
    name: 'p',
    buffers: [x, y],
    steps: [{ kind: 'kernel', name: 'k', segments: regions, origins: [] }],
  });
  const at = (axis: Axis, shift = 0) => [affine([{ axis, scale: 1 }], shift)];
  const store = (value: Parameters<typeof apply>[1], index = at(i), buffer = y): Region => ({
    kind: 'region',
    axes: [i],
    stages: [{ kind: 'store', axes: [], stores: [{ access: { buffer, shape: [4], index }, value }] }],
  });
  const read = (buffer: Buffer, index = at(i)) => load({ buffer, shape: [4], index });

  it('nothing in a good program', () => expect(verifyLoop(program(store(read(x))))).toEqual([]));
  it('a store outside', () =>
    expect(verifyLoop(program(store(read(x), at(i, 1))))).toEqual([
      "kernel k: coordinate 0 of 'y' may be outside, and nothing guards it",
    ]));
  it('a foreign axis', () =>
    expect(verifyLoop(program(store(read(x, at(other)))))).toEqual(["kernel k: axis 'j' is used outside its loop"]));
  it('a wrong dtype', () =>
    expect(verifyLoop(program(store(coordinateValue(axisAt(i)))))).toEqual([
      "kernel k: a i32 is stored to 'y', which holds f32",
    ]));
  it('an operation on two types', () =>
    expect(verifyLoop(program(store(apply('add', read(x), number(1, 'f64')))))).toEqual([
      'kernel k: add of f32 and f64',
    ]));
  it('a write to what is only read', () =>
    expect(verifyLoop(program(store(read(x), at(i), x)))).toEqual(["kernel k: 'x' is only read"]));
  it('segments that are not independent', () =>
    expect(verifyLoop(program(store(read(x)), store(apply('neg', read(y)))))).toContain(
      "kernel k: segment 1 reads 'y', which segment 0 writes",
    ));
});
