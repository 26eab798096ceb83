import { describe, expect, test } from 'vitest';
import { createContext } from '../../compiler/elaborate/evaluate.ts';
import { initialize } from '../../compiler/elaborate/initialize.ts';
import { modelTree, parseModelTree, printModelTree } from '../../compiler/elaborate/model-text.ts';
import { applyOptimizer, optimizerStates } from '../../compiler/elaborate/optimizer.ts';
import { describe as describeValue, type Value } from '../../compiler/elaborate/value.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { elaborateTest } from '../../compiler/elaborate/tests.ts';
import { complaints, load, run, shown, type Run } from './support.ts';

const params = ({ context }: Run): string[] =>
  context.root.inputs.filter(({ role }) => role === 'param' || role === 'state').map(({ name }) => name);
const shape = (value: Value): unknown => (value.kind === 'tensor' ? value.value.type.shape : describeValue(value));

const scalars = new Map<string, Tensor>([
  ['seed', { type: { dtype: 'u32', shape: [2] }, data: Float64Array.of(3, 4) }],
  ['step', { type: { dtype: 'u32', shape: [] }, data: Float64Array.of(7) }],
]);

/** Runs the body of a test and reads its value through the interpreter. */
function compute(text: string, options = {}): number[] {
  const { value, context, diagnostics } = run(text, options);
  expect(shown(diagnostics)).toBe('');
  const build = context.root;
  if (value.kind === 'tensor') build.output('y', 'result', value.value);
  else if (value.kind === 'loss') build.output('y', 'result', build.binary('div', value.sum, value.count));
  else if (value.kind === 'int' || value.kind === 'float') return [Number(value.value)];
  else throw new Error(`the test gave ${describeValue(value)}`);
  return [...(interpretGraph(build.finish(), scalars, { precision: 'as-written' }).get('y')?.data ?? [])];
}

const block = `
use std.layers { Linear }
layer Block{dim: int, twice: bool = false} {
  fc = Linear{dim, dim}
  (x: f32[B, dim]) -> f32[B, dim] = if twice then fc(fc(x)) else fc(x)
}
`;

describe('instances', () => {
  test('paths come from where things are bound', () => {
    const result = run(`${block}
      model M{depth: int = 2} {
        blocks = [Block{4} for _i in 0..depth]
        parts = { head: Linear{4, 3} }
        (x: f32[B, 4]) -> f32[B, 3] = parts.head(blocks(x))
      }
      test "t" { let m = M{}  m(zeros[2, 4]) }`);
    expect(shown(result.diagnostics)).toBe('');
    expect(params(result)).toEqual([
      'm.blocks.0.fc.weight',
      'm.blocks.0.fc.bias',
      'm.blocks.1.fc.weight',
      'm.blocks.1.fc.bias',
      'm.parts.head.weight',
      'm.parts.head.bias',
    ]);
  });

  test('applied twice is shared, made twice is not', () => {
    expect(params(run(`${block} test "t" { let b = Block{4, twice: true}  b(b(zeros[2, 4])) }`))).toEqual([
      'b.fc.weight',
      'b.fc.bias',
    ]);
    expect(params(run(`${block} test "t" { Block{4}(Block{4}(zeros[2, 4])) }`))).toEqual([
      'Block.fc.weight',
      'Block.fc.bias',
      'Block2.fc.weight',
      'Block2.fc.bias',
    ]);
  });

  test('a layer given as a hyperparameter belongs to who gets it, unless it has an owner', () => {
    const result = run(`${block}
      layer Residual{inner: layer} { (x: f32[...]) -> f32[...] = x + inner(x) }
      model M { own = Residual{Block{4}}  shared = Residual{own.inner}
        (x: f32[B, 4]) -> f32[B, 4] = x |> own |> shared }
      test "t" { let m = M{}  m(zeros[2, 4]) }`);
    expect(shown(result.diagnostics)).toBe('');
    expect(params(result)).toEqual(['m.own.inner.fc.weight', 'm.own.inner.fc.bias']);
  });

  test('a buffer is updated while training only, and read as it then is', () => {
    const text =
      'layer C { buffer n: f32[1] = 0  (x: f32[B]) -> f32[B] { n <- n + 1  x * n } }\ntest "t" { let c = C{}  c(c(ones[2])) }';
    expect([...run(text, { training: true }).context.updates.keys()].map((slot) => slot.declaration.name.name)).toEqual(
      ['n'],
    );
    expect(run(text).context.updates.size).toBe(0);
  });

  test('first values depend on the path alone', () => {
    const first = (members: string): Float64Array | undefined => {
      const { value, diagnostics } = run(
        `${block} model M { ${members}\nb = Block{4}\n(x: f32[B, 4]) -> f32[B, 4] = b(x) }\ntest "t" { M{} }`,
      );
      if (value.kind !== 'instance') throw new Error('no instance');
      value.name = 'm';
      const build = createBuilder('init');
      initialize(createContext(build, diagnostics), value);
      return interpretGraph(build.finish(), scalars, { precision: 'as-written' }).get('m.b.fc.weight')?.data;
    };
    expect(first('')?.length).toBe(16);
    expect(first('_a = Block{4}')).toEqual(first(''));
  });
});

describe('the Model level', () => {
  test('prints and parses back', () => {
    const made = run(`use std.attention { TransformerBlock }
      layer Named{title: str} { block = TransformerBlock{8, 2}
        buffer seen: f32[2] = 0
        (x: f32[B, T, 8]) -> f32[B, T, 8] = if title == "a" then block(x) + seen[0] else x }
      test "t" { Named{title: "a, b"} }`);
    expect(shown(made.diagnostics)).toBe('');
    if (made.value.kind !== 'instance') throw new Error('no instance');
    made.value.name = 'model';
    const tree = modelTree(made.value);
    const text = printModelTree(tree);
    expect(text.split('\n').slice(0, 6)).toEqual([
      'model: Named { title = "a, b" }',
      '  buffer seen: f32[2]',
      '  block: TransformerBlock { dim = 8, heads = 2, causal = false, expand = 4 }',
      '    ln1: LayerNorm { dim = 8, eps = 0.00001 }',
      '      param scale: f32[8] as norm',
      '      param shift: f32[8] as norm',
    ]);
    expect(parseModelTree(text)).toEqual(tree);
    expect(parseModelTree('model: M\n  nonsense')).toEqual({
      problem: 'this is neither an instance nor a parameter',
      line: 2,
    });
  });
});

describe('values', () => {
  const number = (expression: string): number[] => compute(`test "t" { ${expression} }`);

  test.each([
    ['7 / 2 + 4 / 2', 5.5],
    ['2 ^ 10 % 1000', 24],
    ['-7 % 3', 2],
    ['-2 ^ 2', -4],
    ['max(3, 4) - min(3, 4)', 1],
    ['floor(-1.5)', -2],
    ['round(2.5) + round(3.5)', 6],
    ['if 3 > 2 and not false then 1 else 2', 1],
    ['size(zeros[3, 5], -1)', 5],
    ['count([1, 2, 3])', 3],
    ['erf(0.5)', 0.5204998778130465],
    ['[10, 20, 30][-1]', 30],
    ['let r = { a: 1, b: 2 }  r.b', 2],
  ])('%s is %s', (expression, wanted) => expect(number(expression)[0]).toBeCloseTo(wanted, 12));

  test('numbers take the element type of the tensor they meet', () => {
    expect(number('tensor([1, 2]) * 3 % 2')).toEqual([1, 0]);
    expect(number('tensor([1.5, 2]) * 3')).toEqual([4.5, 6]);
    expect(number('u32(iota(2)) + 4294967295')).toEqual([4294967295, 0]);
  });

  test('shapes', () => {
    expect(number('concat([tensor([[1, 2]]), tensor([[3, 4]])], axis: 1)')).toEqual([1, 2, 3, 4]);
    expect(number('stack([iota(2), iota(2) + 5], axis: 1)')).toEqual([0, 5, 1, 6]);
    expect(number('let (a, b) = split(iota(6), [2, 4])  concat([b, a])')).toEqual([2, 3, 4, 5, 0, 1]);
    expect(number('pad(iota(2), before: 1, after: 2, value: 9)')).toEqual([9, 0, 1, 9, 9]);
    expect(number('flip(transpose(reshape(iota(6), [2, _])), axis: 0)')).toEqual([2, 5, 1, 4, 0, 3]);
    expect(number('cumsum(iota(4), reverse: true)')).toEqual([6, 6, 5, 3]);
    expect(number('one_hot(tensor([2, 0]), 3)')).toEqual([0, 0, 1, 1, 0, 0]);
    expect(number('sum(reshape(iota(8), [2, 2, 2]), axis: [0, -1])')).toEqual([10, 18]);
    expect(number('iota(9)[-3..9]')).toEqual([6, 7, 8]);
  });

  test('losses are sums and counts, and add up as means', () => {
    expect(number('mean_squared_error(ones[4], zeros[4]) + 3')).toEqual([4]);
    expect(number('2 * mean_squared_error(ones[4], zeros[4]) - mean_absolute_error(zeros[2], 0.5 * ones[2])')).toEqual([
      1.5,
    ]);
  });

  test('random numbers are in their range, differ between draws and repeat with the seed', () => {
    const drawn = number('concat([uniform[1000], uniform[1000]])');
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...drawn)).toBeLessThan(1);
    expect(drawn.slice(0, 1000)).not.toEqual(drawn.slice(1000));
    expect(number('concat([uniform[1000], uniform[1000]])')).toEqual(drawn);
    const normal = number('normal[4000]');
    const mean = normal.reduce((a, b) => a + b) / normal.length;
    expect(Math.abs(mean)).toBeLessThan(0.05);
    expect(normal.reduce((a, b) => a + b * b, 0) / normal.length).toBeCloseTo(1, 1);
    expect(new Set(number('randint[200](3)'))).toEqual(new Set([0, 1, 2]));
    expect(number('normal(std: 0)[3]').every((x) => x === 0)).toBe(true);
  });

  test('a condition that is known while running chooses elementwise or as a whole', () => {
    expect(number('let x = tensor([1.0, -2.0])  if x > 0 then x else 0')).toEqual([1, 0]);
    expect(number('let x = tensor([1.0, -2.0])  if sum(x) > 0 then x else -x')).toEqual([-1, 2]);
  });
});

describe('scan', () => {
  const walk = 'fn f(x: f32[B, T]) -> f32[B, T] = scan x over T with s = zeros[B] { s <- s + x  yield s }';
  test('walks along the axis that has the name, also when sizes are equal', () => {
    expect(compute(`${walk}\ntest "t" { f(tensor([[1.0, 2.0], [3.0, 4.0]])) }`)).toEqual([1, 3, 3, 7]);
  });
  test('backwards, with the last value as the result', () => {
    expect(
      compute(
        'fn f(x: f32[T]) = scan reverse x over T with s = 0.0 { s <- 2 * s + x }\ntest "t" { f(tensor([1.0, 2.0, 3.0])) }',
      ),
    ).toEqual([17]);
  });
  test('draws anew in every iteration', () => {
    const drawn = compute(
      'fn f(x: f32[T]) -> f32[T] = scan x over T { yield x + sum(uniform[1]) }\ntest "t" { f(zeros[5]) }',
    );
    expect(new Set(drawn).size).toBe(5);
  });
  test('inside a scan, with values from outside', () => {
    const text = `fn f(x: f32[A, B], w: f32[3]) -> f32[A, B] = scan x over A with t = 0.0 {
      let row = scan x over 0 with s = 0.0 { s <- s + x * w[0]  yield s + t }
      t <- t + row[-1]
      yield row
    }
    test "t" { f(tensor([[1.0, 2.0], [3.0, 4.0]]), 2 * ones[3]) }`;
    expect(compute(text)).toEqual([2, 6, 12, 20]);
  });
});

describe('optimizers and schedules', () => {
  test('the body runs for one parameter, hyperparameters given as numbers or schedules', () => {
    const adam = (rate: string): number[] => {
      const { value, diagnostics } = run(
        `use std.optim { Adam }\nuse std.schedules { warmup }\nlet _w = warmup\ntest "t" { Adam{lr: ${rate}} }`,
      );
      if (value.kind !== 'optimizer') throw new Error('no optimizer');
      const build = createBuilder('step');
      const context = createContext(build, diagnostics);
      const constant = (number: number) => build.constant(number, 'f32', [2]);
      const states = new Map(
        optimizerStates(context, value, { dtype: 'f32', shape: [2] }).map(({ name, initial }) => [name, initial]),
      );
      const next = applyOptimizer(context, value, {
        param: constant(1),
        grad: constant(0.5),
        step: build.constant(1, 'f32'),
        states,
      });
      build.output('param', 'result', next.param);
      build.output('m', 'result', next.states.get('m') ?? next.param);
      expect(shown(diagnostics)).toBe('');
      const out = interpretGraph(build.finish(), new Map(), { precision: 'f64' });
      return [out.get('param')?.data[0] ?? NaN, out.get('m')?.data[1] ?? NaN];
    };
    // The first step of Adam moves by the rate, against the gradient's sign.
    expect(adam('0.1')[0]).toBeCloseTo(0.9, 6);
    expect(adam('warmup{peak: 0.1, warmup: 4}')[0]).toBeCloseTo(0.975, 6);
    expect(adam('0.1')[1]).toBeCloseTo(0.05, 9);
  });
  test('a state is kept where the body reads or writes it with these hyperparameters', () => {
    const states = (given: string): string[] => {
      const { value, context, diagnostics } = run(
        `optimizer Picky{first: bool = true} {
          state a = 0, b = 1, written = 2, read = 3
          (param, grad, _step) {
            written <- grad
            let by = if first then a else { b <- b + grad  b }
            param <- param - by * read
          }
        }
        test "t" { Picky{${given}} }`,
      );
      if (value.kind !== 'optimizer') throw new Error('no optimizer');
      expect(shown(diagnostics)).toBe('');
      return optimizerStates(context, value, { dtype: 'f32', shape: [2] }).map(({ name }) => name);
    };
    expect(states('')).toEqual(['a', 'written', 'read']);
    expect(states('first: false')).toEqual(['b', 'written', 'read']);
  });
});

describe('modules', () => {
  const others = { './b.model': 'fn twice(x: f32[...]) -> f32[...] = 2 * x\nlet three = 3' };
  test('names from other files, renamed', () => {
    const result = run('use "./b.model" { twice as double, three }\ntest "t" { double(zeros[three]) }', {}, others);
    expect(shown(result.diagnostics)).toBe('');
    expect(shape(result.value)).toEqual([3]);
  });
  test('files that use each other in a circle', () => {
    const circle = {
      './b.model': 'use "./c.model" { c }\nfn b(x) = c(x)',
      './c.model': 'use "./b.model" { b }\nfn c(x) = b(x)',
    };
    expect(complaints('use "./b.model" { b }\nfn a(x) = b(x)', circle)).toContain(
      'error[module-cycle]: These files use each other in a circle: ./b.model → ./c.model → ./b.model.',
    );
  });
});

test('a gradient check speaks of arguments as the signature does', () => {
  const program = load(
    'fn scaled(weights: f32[n], by: f32) -> f32[n] = weights * by\ntest "g" { gradcheck scaled at f32[3], f32 }',
  );
  const [checked] = program.entry.loaded.tree.declarations.flatMap((declaration) =>
    declaration.kind === 'test' ? elaborateTest(declaration, program.entry.scope) : [],
  );
  expect(checked.gradients[0].backward.outputs.map(({ name }) => name)).toEqual(['gradient weights', 'gradient by']);
});
