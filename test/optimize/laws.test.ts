/** Every law, on its own example: it applies, and what it gives is equal on random inputs. */
import { describe, expect, test } from 'vitest';
import type { Builder } from '../../compiler/graph/build.ts';
import type { Graph, Value } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import { OpTypeError } from '../../compiler/graph/op.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import { at, fixed, pair } from '../../compiler/ops/affine.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { equation, obeying } from '../../compiler/optimize/law.ts';
import type { Law, Pattern } from '../../compiler/optimize/law.ts';
import { equations } from '../../compiler/optimize/laws/arithmetic.ts';
import { movementLaws } from '../../compiler/optimize/laws/movement.ts';
import { sumLaws } from '../../compiler/optimize/laws/sums.ts';
import { laws } from '../../compiler/optimize/simplify.ts';
import type { Dtype } from '../../compiler/types/dtype.ts';
import { numbers } from '../support/numbers.ts';
import { draw } from '../support/samples.ts';

type Example = (build: Builder) => Value;

function graphOf(example: Example, tried: readonly Law[]): { graph: Graph; applied: Set<string> } {
  const applied = new Set<string>();
  const watched = tried.map((law): Law => ({
    ...law,
    attempt(inputs, attributes, build) {
      const value = law.attempt(inputs, attributes, build);
      if (value !== undefined) applied.add(law.says);
      return value;
    },
  }));
  const build = createBuilder('example', obeying(watched));
  build.output('value', 'result', example(build));
  return { graph: build.finish(), applied };
}

/** Does the law apply to the example, alone? Then it must hold, alone and together with all others. */
function applies(law: Law, example: Example): boolean {
  const [plain, alone, together] = [[], [law], laws].map((tried) => graphOf(example, tried));
  for (let seed = 0; seed < 3; seed++) {
    const next = numbers(seed);
    const inputs = new Map(
      plain.graph.inputs.map(({ name, value }) => [
        name,
        draw(value.type, next, { integers: value.type.dtype === 'bool' ? [0, 1] : [0, 2] }),
      ]),
    );
    const [expected, ...found] = [plain, alone, together].map(({ graph }) =>
      interpretGraph(graph, inputs, { precision: 'f64' }).get('value'),
    );
    for (const { graph } of [alone, together]) expect(verifyGraph(graph)).toEqual([]);
    for (const result of found) {
      expect(result?.type).toEqual(expected?.type);
      expected?.data.forEach((value, place) => expect(result?.data[place]).toBeCloseTo(value, 9));
    }
  }
  return alone.applied.has(law.says);
}

describe('laws of arithmetic', () => {
  const dtypes: Dtype[] = ['f32', 'i32', 'bool'];

  /** Names become inputs, k a constant, `condition` a bool. */
  function write(build: Builder, pattern: Pattern, dtype: Dtype, known: Map<string, Value>): Value {
    if (typeof pattern === 'number') return build.constant(pattern, dtype, [2, 3]);
    if (typeof pattern === 'string') {
      const type = { dtype: pattern === 'condition' ? 'bool' : dtype, shape: [2, 3] } as const;
      const value =
        known.get(pattern) ??
        (pattern === 'k' ? build.constant(4, dtype, [2, 3]) : build.input(pattern, 'batch', type));
      known.set(pattern, value);
      return value;
    }
    const [op, ...operands] = pattern;
    const inputs = operands.map((operand, place) =>
      write(build, operand, op === 'where' && place === 0 ? 'bool' : dtype, known),
    );
    return build.node(op, inputs, {} as never)[0];
  }

  test.each(equations.map((one) => [one.says, one] as const))('%s', (_, one) => {
    const law = equation(one);
    const applied = dtypes.filter((dtype) => {
      try {
        return applies(law, (build) => write(build, one.from, dtype, new Map()));
      } catch (error) {
        if (error instanceof OpTypeError) return false;
        throw error;
      }
    });
    expect(applied).not.toEqual([]);
  });
});

const x = (build: Builder, name: string, ...shape: number[]): Value =>
  build.input(name, 'batch', { dtype: 'f32', shape });

/** One example for every law of movement and sums, by what the law says. */
const examples: Record<string, Example> = {
  'a reshape to the shape it has is nothing': (b) => b.node('reshape', [x(b, 'x', 2, 3)], { shape: [2, 3] })[0],
  'a constant in another shape is a constant': (b) => b.reshape(b.constant(2, 'f32', [2, 3]), [6]),
  'a reshape of a reshape is one reshape': (b) => b.reshape(b.reshape(x(b, 'x', 2, 3, 4), [6, 4]), [24]),
  'a reshape that joins no axes is a view': (b) => b.reshape(x(b, 'x', 2, 12, 5), [1, 2, 3, 1, 4, 5, 1]),
  'a reshape of a view that only adds axes of size 1 needs no view': (b) =>
    b.reshape(b.view(x(b, 'x', 2, 3), [2, 1, 3], [at(0), at(2)]), [6]),
  'a view of everything as it is, is nothing': (b) => b.view(x(b, 'x', 2, 1, 3), [2, 1, 3], [at(0), fixed(0), at(2)]),
  'a view of one number everywhere is that number (0 even where it reads outside)': (b) =>
    b.view(b.constant(0, 'f32', [2]), [5], [at(0, 1, -1)]),
  'a view of a view is one view': (b) =>
    b.view(b.view(x(b, 'x', 4, 5), [5, 6], [at(1, 1, -1), at(0)]), [3, 5], [at(1), at(0, 2)]),
  'a view of coordinates is coordinates, where it moves none': (b) => b.view(b.iota([3, 4], 1), [4, 2], [at(1), at(0)]),
  'a piece within one part of a concatenation is a piece of that part': (b) =>
    b.slice(b.concat([x(b, 'x', 2, 3), x(b, 'y', 2, 4)], 1), 1, 4, 2),
  'a gather at 0, 1, 2, … is a slice': (b) => b.gather(x(b, 'x', 5, 2), b.iota([3], 0), 0),
  'a scatter to 0, 1, 2, … is what it scatters, then zeros': (b) => b.scatter(b.iota([3], 0), x(b, 'x', 3, 2), 0, 5),
  'a scatter of one row per batch is a selection (the gather it is the adjoint of has checked the positions)': (b) =>
    b.scatter(b.input('ids', 'batch', { dtype: 'i32', shape: [4] }), x(b, 'x', 4, 2), 1, 3),
  'a concatenation of one is that one': (b) => b.concat([x(b, 'x', 2, 3)], 0),
  'parts of size 0 add nothing to a concatenation': (b) => b.concat([x(b, 'x', 2, 0), x(b, 'y', 2, 3)], 1),
  'a contraction reads through views': (b) =>
    b.contract([b.view(x(b, 'x', 4), [6], [at(0, 1, -1)]), x(b, 'w', 3)], [[pair(0, 1, 1, 1)], [at(1)]], [4], [3]),
  'a factor that is 1 everywhere it is read is none': (b) =>
    b.contract([x(b, 'x', 2, 3), b.constant(1, 'f32', [3])], [[at(0), at(1)], [at(1)]], [2], [3]),
  'summing tiles back to where they were cut is laying them side by side': (b) => {
    const within = (axis: number, position: number, size: number) => ({
      terms: [
        { axis, scale: 1 },
        { axis: position, scale: -1 },
      ],
      offset: 0,
      divisor: size,
    });
    return b.contract(
      [x(b, 'x', 2, 3, 2, 2, 4)],
      [[at(0), within(1, 3, 2), within(2, 4, 4), at(3), at(4)]],
      [2, 6, 8],
      [2, 4],
    );
  },
  'summing over an axis of size 1 is reading at 0': (b) => b.matmul(x(b, 'x', 3, 1), x(b, 'y', 1, 2)),
  'summing n times the same is n times it': (b) =>
    b.contract([x(b, 'x', 2), x(b, 'y', 3)], [[at(0)], [at(2)]], [2], [4, 3]),
  'a contraction that does not depend on an axis is computed once and stretched': (b) =>
    b.contract([x(b, 'x', 2, 3), x(b, 'y', 3)], [[at(0), at(2)], [at(2)]], [2, 5], [3]),
  'a contraction of one tensor that sums nothing is a view': (b) =>
    b.contract([x(b, 'x', 2, 3)], [[at(1), at(0)]], [3, 2], []),
  'a contraction of one tensor that sums whole axes is a reduction': (b) =>
    b.contract([x(b, 'x', 4, 3)], [[at(1), at(0, 2, 1)]], [2], [4]),
  'reducing nothing is nothing': (b) => b.node('reduce', [x(b, 'x', 2)], { monoid: 'prod', axes: [] })[0],
  'reducing only axes of size 1 drops them': (b) => b.reduce('max', x(b, 'x', 1, 2, 1), [0, 2]),
  'a sum of negatives is the negative of the sum': (b) => b.reduce('sum', b.unary('neg', x(b, 'x', 2, 3)), [1]),
  'reducing an axis a value was stretched along: once is enough (n times for a sum)': (b) =>
    b.reduce('sum', b.view(x(b, 'x', 3), [3, 4, 2], [at(0)]), [0, 1]),
  'the sum, maximum or minimum of one number everywhere is a number': (b) =>
    b.reduce('sum', b.constant(0.5, 'f32', [3, 4]), [0]),
  'the sum of products of stretched tensors is a contraction': (b) =>
    b.reduce(
      'sum',
      b.binary(
        'mul',
        b.view(x(b, 'x', 2, 3), [2, 4, 3], [at(0), at(2)]),
        b.view(x(b, 'y', 3, 4), [2, 4, 3], [at(2), at(1)]),
      ),
      [2],
    ),
};

describe('laws of movement and sums', () => {
  test.each([...movementLaws, ...sumLaws].map((law) => [law.says, law] as const))('%s', (says, law) => {
    expect(examples).toHaveProperty([says]);
    expect(applies(law, examples[says])).toBe(true);
  });

  test('where a law would change a zero outside, it does not apply', () => {
    // The pad between x and the window is not one to one with it: a view that repeats, read outside.
    const repeated: Example = (b) =>
      b.view(b.view(x(b, 'x', 3), [2, 2], [pair(0, 1, 1, 1)]), [5, 2], [at(0, 1, -1), at(1)]);
    const [law] = movementLaws.filter(({ says }) => says === 'a view of a view is one view');
    expect(applies(law, repeated)).toBe(false);
  });
});
