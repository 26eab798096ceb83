import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  add,
  divide,
  equal,
  floorDivide,
  multiply,
  show,
  subtract,
  substitute,
  symbol,
  type Dim,
} from '../../compiler/types/dim.ts';

const [H, S, k] = ['H', 'S', 'k'].map(symbol);

describe('sizes', () => {
  test('equal sizes have one form', () => {
    expect(show(add(multiply(2, H), add(S, -1)))).toBe('2*H + S - 1');
    expect(equal(multiply(add(H, 1), add(H, -1)), subtract(multiply(H, H), 1))).toBe(true);
    expect(subtract(add(H, S), add(S, H))).toBe(0);
  });
  test('whole multiples come out of divisions', () => {
    expect(show(floorDivide(subtract(H, k), k))).toBe(show(subtract(floorDivide(H, k), 1)));
    expect(equal(floorDivide(floorDivide(H, 2), 2), floorDivide(H, 4))).toBe(true);
    expect(floorDivide(multiply(multiply(H, S), 6), multiply(H, 3))).toEqual(multiply(2, S));
  });
  test('a division said to be even cancels, a floor does not', () => {
    expect(equal(multiply(divide(H, k), k), H)).toBe(true);
    expect(equal(multiply(floorDivide(H, k), k), H)).toBe(false);
    const half = divide(H, 2);
    expect(equal(subtract(H, half), half)).toBe(true);
    expect(equal(add(half, half), H)).toBe(true);
    expect(equal(multiply(S, add(multiply(3, half), 1)), add(add(multiply(S, H), multiply(S, half)), S))).toBe(true);
  });

  test('the form is right for all sizes', () => {
    type Pair = readonly [symbolic: Dim, meaning: (at: Record<string, number>) => number];
    const leaf = fc.oneof(
      fc.constantFrom('a', 'b', 'c').map((name): Pair => [symbol(name), (at) => at[name]]),
      fc.integer({ min: -4, max: 9 }).map((value): Pair => [value, () => value]),
    );
    const { tree } = fc.letrec<{ tree: Pair }>((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small' },
        leaf,
        fc.tuple(tie('tree'), tie('tree')).map(([[x, f], [y, g]]): Pair => [add(x, y), (at) => f(at) + g(at)]),
        fc.tuple(tie('tree'), tie('tree')).map(([[x, f], [y, g]]): Pair => [multiply(x, y), (at) => f(at) * g(at)]),
        fc
          .tuple(tie('tree'), fc.integer({ min: 1, max: 5 }))
          .map(([[x, f], by]): Pair => [floorDivide(x, by), (at) => Math.floor(f(at) / by)]),
      ),
    }));
    const sizes = fc.record({
      a: fc.integer({ min: 1, max: 20 }),
      b: fc.integer({ min: 1, max: 20 }),
      c: fc.integer({ min: 1, max: 20 }),
    });
    fc.assert(
      fc.property(tree, sizes, ([dim, meaning], at) => {
        const value = meaning(at);
        fc.pre(Math.abs(value) < 2 ** 40);
        expect(substitute(dim, new Map(Object.entries(at)))).toBe(value + 0);
      }),
      { numRuns: 300 },
    );
  });
});
