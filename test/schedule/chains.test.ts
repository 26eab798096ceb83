/** Attention on machines with workgroups: tile by tile, by rows and by columns, none of it in memory. */
import { describe, expect, it } from 'vitest';
import type { Builder } from '../../compiler/graph/build.ts';
import type { Monoid, Value } from '../../compiler/graph/graph.ts';
import { optimize } from '../../compiler/optimize/index.ts';
import type { Capabilities } from '../../compiler/targets/target.ts';
import { attention, type Variant, variants } from '../fuse/attention.ts';
import { shorthand } from '../fuse/networks.ts';
import { expectSame, inputsFor } from '../fuse/support.ts';
import { numbers } from '../support/numbers.ts';
import { machine, sameAs, scheduledFor } from './support.ts';

/** Of enough units that tiles are as small as they may be: then there are several. */
const small = (of: Capabilities): Capabilities => ({ ...of, units: 10_000 });
const machines: Readonly<Record<string, Capabilities>> = {
  'small tiles': small(machine('teams')),
  subgroups: small(machine('subgroups')),
  'large tiles': { ...machine('subgroups'), nearMemory: 64 * 1024, units: 1 },
  matrices: machine('matrices'),
};

const own: Readonly<Record<string, Variant>> = {
  'one tile': { batch: [2], rows: 5, columns: 7 },
  'tiles that are full': { batch: [2], rows: 16, columns: 32 },
  'tiles that are not': { batch: [2], rows: 18, columns: 37, width: 6, dropout: true, bias: true },
  causal: { batch: [2], rows: 37, causal: true },
  'of whose rows the first tiles are masked out': {
    batch: [2],
    rows: 18,
    columns: 50,
    of: (build, scores) => {
      const { shape } = scores.type;
      const isEarly = build.binary('lt', build.iota(shape, 2), build.constant(35, 'i32', shape));
      return build.where(isEarly, build.constant(-Infinity, 'f32', shape), scores);
    },
  },
  'of another largest element': { batch: [2], rows: 5, columns: 37, of: lastOnes },
  'causal, of fewer keys': { batch: [2], rows: 50, columns: 20, causal: true },
  'in bf16': { ...variants['in bf16'], batch: [2], rows: 35, columns: 33 },
  'in bf16, causal': { ...variants['in bf16'], batch: [2], rows: 70, causal: true },
};

/** What has no tiles is in memory: heads so wide that no thread holds their sums; and what of it is summed over more than rows or columns. */
const apart: Readonly<Record<string, Variant>> = {
  'wide heads': { batch: [2], rows: 3, columns: 5, width: 1100, backward: false },
  'a difference of two': { ...variants['a difference of two'], rows: 7 },
  'keys that heads share': { ...variants['keys that heads share'], batch: [2, 3] },
  'its entropy in the loss': { ...variants['its entropy in the loss'], rows: 7 },
};

/** Something that is made of scores and of what is summed over their rows, `row`: the largest of a part of each, a mean, a norm, … */
const steps: readonly ((build: Builder, x: Value) => Value)[] = [
  (build, x) => shorthand(build).softmax(x),
  (build, x) => build.binary('sub', x, rowOf(build, 'sum', shorthand(build).scale(x, 1 / width(x)))),
  (build, x) => build.binary('div', x, atLeast(build, rowOf(build, 'sum', build.binary('mul', x, x)))),
  (build, x) => build.binary('mul', x, rowOf(build, 'max', x)),
  (build, x) => build.binary('max', build.binary('sub', x, rowOf(build, 'min', x)), build.unary('neg', x)),
  (build, x) => build.unary('exp', build.binary('sub', x, rowOf(build, 'max', x))),
  lastOnes,
  (build, x) => fromColumn(build, x, 3, -Infinity),
  (build, x) => build.binary('div', x, atLeast(build, rowOf(build, 'sum', x))),
];

const width = ({ type }: Value): number => Number(type.shape.at(-1));
const rowOf = (build: Builder, monoid: Monoid, x: Value): Value => {
  const { shape } = x.type;
  return build.broadcast(build.reshape(build.reduce(monoid, x, [2]), [...shape.slice(0, -1), 1]), shape);
};
/** A softmax but that the largest element is that of the last two columns. */
function lastOnes(build: Builder, x: Value): Value {
  const last = fromColumn(build, x, width(x) - 2, -Infinity);
  const e = build.unary('exp', build.binary('sub', x, rowOf(build, 'max', last)));
  return build.binary('div', e, rowOf(build, 'sum', e));
}
/** Far enough from 0 to be divided by. */
const atLeast = (build: Builder, x: Value): Value =>
  build.binary('add', build.binary('mul', x, x), build.constant(1, 'f32', x.type.shape));
const fromColumn = (build: Builder, x: Value, column: number, otherwise: number): Value => {
  const { shape } = x.type;
  const isBefore = build.binary('lt', build.iota(shape, 2), build.constant(column, 'i32', shape));
  return build.where(isBefore, build.constant(otherwise, 'f32', shape), x);
};

/** Schedules attention for all machines, checks what it computes, and counts what it keeps in memory of tensors with rows and columns. */
function keptIn(variant: Variant, on = machines): number[] {
  const { rows, columns = rows, precision } = variant;
  const graph = optimize(attention(variant), { verify: true });
  const tolerance = precision === undefined ? 1e-3 : 5e-2;
  const program = expectSame(graph, inputsFor(graph, 3, { seed: 100, step: 3 }), tolerance, { wholeChains: true });
  const expectMeaning = sameAs(program, { tolerance });
  return Object.entries(on).map(([name, capabilities]) => {
    const tile = scheduledFor(program, capabilities);
    expectMeaning(tile, name);
    const temporaries = tile.buffers.filter(({ role }) => role === 'temporary');
    return temporaries.filter(({ shape }) => shape.at(-1) === columns && shape.at(-2) === rows).length;
  });
}

describe('attention by tiles', () => {
  it.each(Object.entries(own))('%s', (_, variant) => {
    expect(keptIn(variant)).toEqual(Object.keys(machines).map(() => 0));
  });

  it.each(Object.entries(apart))('or partly in memory: %s', (_, variant) => {
    expect(Math.min(...keptIn(variant))).toBeGreaterThan(0);
  });

  it.each([...Array(12).keys()])('of what is made of rows again and again: %i', (seed) => {
    const drawn = numbers(seed);
    const next = (below: number): number => Math.floor(drawn() * below);
    const chosen = Array.from({ length: 1 + next(3) }, () => steps[next(steps.length)]);
    const [rows, columns] = [1 + next(20), 2 + next(36)];
    const of: Variant['of'] = (build, scores) => chosen.reduce((x, step) => step(build, x), scores);
    const { 'small tiles': several, 'large tiles': one } = machines;
    keptIn({ batch: [2], rows, columns, of }, { several, one });
  });
});
