/** Attention as chains: what becomes one, that it computes the same on every level, and why something does not become one. */
import { describe, expect, it } from 'vitest';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Builder } from '../../compiler/graph/build.ts';
import type { Value } from '../../compiler/graph/graph.ts';
import type { Chain, LoopProgram, Segment } from '../../compiler/loop/loop.ts';
import { parseLoop } from '../../compiler/loop/parse.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { verifyLoop } from '../../compiler/loop/verify.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { optimize } from '../../compiler/optimize/index.ts';
import { expectScheduledProgram } from '../schedule/support.ts';
import { attention, type Variant, variants } from './attention.ts';
import { f32, shorthand } from './networks.ts';
import { expectSame, inputsFor } from './support.ts';

/** How many scores are above 0, those that are masked out included. */
function countScores(build: Builder, scores: Value): void {
  const { shape } = scores.type;
  const isAbove = build.cast(build.binary('lt', build.constant(0, 'f32', shape), scores), 'f32');
  build.output('above', 'result', build.reduce('sum', isAbove, [3]));
}

const segmentsOf = ({ steps }: LoopProgram): Segment[] =>
  steps.flatMap((step) => (step.kind === 'kernel' ? step.segments : []));
const chainsOf = (program: LoopProgram): Chain[] => segmentsOf(program).filter((segment) => segment.kind === 'chain');
const isSquare =
  (rows: number, columns: number) =>
  ({ shape }: { shape: readonly number[] }): boolean =>
    shape.length > 2 && shape.at(-2) === rows && shape.at(-1) === columns;

describe('attention is one kernel forward, and one backward', () => {
  it.each(Object.entries(variants))('%s', (_, variant) => {
    const { rows, columns = rows, precision, backward = true, chains = backward ? 2 : 1, square = 0 } = variant;
    const graph = optimize(attention(variant), { verify: true });
    const tolerance = precision === undefined ? 1e-3 : 5e-2;
    const program = expectSame(graph, inputsFor(graph, 3, { seed: 100, step: 3 }), tolerance);
    expect(chainsOf(program)).toHaveLength(chains);
    const inMemory = program.buffers.filter(({ role }) => role === 'temporary').filter(isSquare(rows, columns));
    expect(inMemory).toHaveLength(square);
    expectScheduledProgram(program, { lanes: [16, 4, 1], tolerance });
  });

  const walkOf = (variant: Variant): (readonly number[])[] =>
    chainsOf(fuse(optimize(attention(variant))).program).map(({ axes, walk, spans }) =>
      [axes, walk, ...spans.map((span) => span.axes)].flatMap((all) => all.map(({ size }) => size)),
    );

  it('walks the heads that share keys, and blocks of rows where something is summed over them', () => {
    expect(walkOf({ rows: 96 })).toEqual([
      [2, 4, 2],
      [2, 4, 2],
    ]);
    expect(walkOf(variants['keys that heads share, in blocks'])).toEqual([
      [8, 2, 2],
      [8, 2, 2],
    ]);
  });

  /** Of the scores in each span of each chain. */
  const columnsOf = (variant: Variant): number[] =>
    chainsOf(fuse(optimize(attention(variant))).program).flatMap(({ spans }) =>
      spans.map(({ parts: [scores] }) => scores.axes[scores.axes.length - 1].size),
    );
  /** Row t sees the columns up to t + reach. */
  const masked =
    (reach: number, hidden: number): Variant['of'] =>
    (build, scores) => {
      const { shape } = scores.type;
      const past = build.binary('add', build.iota(shape, 2), build.constant(reach, 'i32', shape));
      return build.where(build.binary('lt', past, build.iota(shape, 3)), build.constant(hidden, 'f32', shape), scores);
    };

  it.each([
    ['a causal mask', { rows: 256, causal: true }, [64, 128, 192, 256, 64, 128, 192, 256]],
    ['with rows that are left', { rows: 197, causal: true, backward: false }, [64, 112, 160, 197]],
    ['that also sees what comes next', { rows: 128, of: masked(1, -Infinity), backward: false }, [80, 128]],
    ['of fewer keys', { rows: 128, columns: 40, causal: true, backward: false }, [40]],
    ['that only lowers scores', { rows: 128, of: masked(0, -1e9), backward: false }, [128]],
    [
      'whose scores are counted, apart',
      { rows: 128, causal: true, backward: false, also: countScores },
      [64, 128, 128],
    ],
  ] satisfies [string, Variant, number[]][])('computes no columns that are masked out: %s', (_, variant, columns) => {
    expect(columnsOf(variant)).toEqual(columns);
    const graph = optimize(attention(variant));
    expectSame(graph, inputsFor(graph, 3), 1e-3);
  });

  it('and one in a loop', () => {
    const build = createBuilder('looped');
    const [first, all] = [build.input('first', 'batch', f32(2, 70, 3)), build.input('all', 'batch', f32(4, 2, 70, 3))];
    const body = build.nested('body');
    const [x, y] = ['x', 'y'].map((name) => body.input(name, 'batch', f32(2, 70, 3)));
    const p = shorthand(body).softmax(body.matmul(x, body.transpose(y, [0, 2, 1])));
    const next = body.matmul(p, y);
    body.output('x', 'result', next);
    body.output('sum', 'result', body.reduce('sum', next, [2]));
    const results = build.loop([first, all], { trips: 4, carried: 1, scanned: 1, reverse: false, body: body.finish() });
    results.forEach((value, at) => build.output(`y${at}`, 'result', value));
    const graph = build.finish();
    const program = expectSame(graph, inputsFor(graph, 3), 1e-3);
    const [loop] = program.steps.filter(({ kind }) => kind === 'repeat');
    expect(loop.kind === 'repeat' && chainsOf({ ...program, steps: loop.body })).toHaveLength(1);
    expectScheduledProgram(program, { lanes: [16, 1], tolerance: 1e-3 });
  });

  it('adds no rounding to what it was', () => {
    const graph = attention({ rows: 12, columns: 9, causal: true, dropout: true });
    const again = optimize(graph);
    const kept = optimize(graph, { without: ['recompute-scores'] });
    expect(chainsOf(fuse(kept).program)).toEqual([]);
    expectSame(again, inputsFor(graph, 3, { seed: 100, step: 3 }), 1e-3);
    expectSame(kept, inputsFor(graph, 3, { seed: 100, step: 3 }), 1e-3);
  });
});

describe('what does not become a chain, and why', () => {
  const reasonOf = (variant: Variant): string | undefined => {
    const { program, decisions } = fuse(optimize(attention(variant)));
    expect(chainsOf(program)).toEqual([]);
    return decisions.find(({ fused, reason }) => !fused && reasons.includes(reason))?.reason;
  };
  const reasons = [
    'it has to be in memory as a whole',
    'a part brings rows together',
    'a part reads what is summed over rows or a batch',
  ];

  it('the program asks for the softmax', () =>
    expect(reasonOf({ rows: 8, backward: false, also: (build, _, p) => build.output('p', 'result', p) })).toBe(
      reasons[0],
    ));

  it('a product of rows with other rows', () =>
    expect(
      reasonOf({
        rows: 8,
        columns: 5,
        backward: false,
        also: (build, _, p) => build.output('alike', 'result', build.matmul(p, build.transpose(p, [0, 1, 3, 2]))),
      }),
    ).toBe(reasons[1]));

  it('rows that are divided by the largest of each column', () =>
    expect(
      reasonOf({
        rows: 8,
        columns: 5,
        backward: false,
        of: (build, scores) => {
          const most = build.reshape(build.reduce('max', scores, [2]), [2, 4, 1, 5]);
          return build.binary('div', scores, build.broadcast(most, scores.type.shape));
        },
      }),
    ).toBe(reasons[2]));
});

describe('a chain as text', () => {
  const text = (blocks: string, stored: string): string => `program chained {
  buffer %x: f32[2, 6, 4] batch
  buffer %y: f32[2, 6] result
  kernel k0 {
    chain for i in 2 {
      buffer %s: f32[3, 4] temporary
      span${blocks} {
        region for j in 3, k in 4 {
          store { %s[j, k] = %x[i, ${stored}, k] * 2 }
        }
        region for l in 3 {
          reduce for p in 4 { total: f32 = sum %s[l, p] }
          store { %y[i, 3*b + l] = total }
        }
      }
    }
  }
}
`;

  it('reads back, and means what it says', () => {
    const program = parseLoop(text(' for b in 2', '3*b + j'));
    expect(verifyLoop(program)).toEqual([]);
    expect(parseLoop(printLoop(program))).toEqual(program);
    expectScheduledProgram(program, { lanes: [16, 4, 1] });
  });

  it('is checked: memory of its own, axes of its own', () => {
    const outside = parseLoop(
      text(' for b in 2', '3*b + j').replace(
        /\n {2}}\n}\n$/,
        '\n    region { store { %y[0, 0] = %s[0, 0] } }\n  }\n}\n',
      ),
    );
    expect(verifyLoop(outside)).toContain("kernel k0: 's' is not a buffer of the program");
    expect(() => parseLoop(text('', '3*b + j'))).toThrow("there is no axis 'b' here");
  });
});
