/**
 * Laws of elementwise arithmetic. All are exact, up to the sign of a zero; what would be wrong for NaN or infinity is
 * said for integers only.
 */
import type { Builder } from '../../graph/build.ts';
import type { Attributes, OpName, Value } from '../../graph/graph.ts';
import { binaryOps, unaryOps } from '../../graph/graph.ts';
import type { Tensor } from '../../graph/op.ts';
import { ops } from '../../ops/index.ts';
import { isFloat } from '../../types/dtype.ts';
import { equation, uniform } from '../law.ts';
import type { Equation, Law } from '../law.ts';

const isInteger = (value: Value): boolean => !isFloat(value.type.dtype);
const isPowerOfTwo = (x: number): boolean =>
  Number.isFinite(x) && x > 0 && Math.log2(x) % 1 === 0 && 2 ** Math.log2(x) === x;
const filled = (like: Value, value: number, build: Builder): Value =>
  build.constant(value, like.type.dtype, like.type.shape);

export const equations: readonly Equation[] = [
  { says: 'x + 0 = x', from: ['add', 'x', 0], to: ({ x }) => x },
  { says: 'x - 0 = x', from: ['sub', 'x', 0], to: ({ x }) => x },
  { says: '0 - x = -x', from: ['sub', 0, 'x'], to: ({ x }, build) => build.unary('neg', x) },
  {
    says: 'x - x = 0 (integers)',
    from: ['sub', 'x', 'x'],
    to: ({ x }, build) => (isInteger(x) ? filled(x, 0, build) : undefined),
  },
  { says: 'x + -y = x - y', from: ['add', 'x', ['neg', 'y']], to: ({ x, y }, build) => build.binary('sub', x, y) },
  { says: 'x - -y = x + y', from: ['sub', 'x', ['neg', 'y']], to: ({ x, y }, build) => build.binary('add', x, y) },
  { says: '-(-x) = x', from: ['neg', ['neg', 'x']], to: ({ x }) => x },
  { says: '-(x - y) = y - x', from: ['neg', ['sub', 'x', 'y']], to: ({ x, y }, build) => build.binary('sub', y, x) },
  { says: 'x * 1 = x', from: ['mul', 'x', 1], to: ({ x }) => x },
  { says: 'x * -1 = -x', from: ['mul', 'x', -1], to: ({ x }, build) => build.unary('neg', x) },
  {
    says: 'x * 0 = 0 (integers)',
    from: ['mul', 'x', 0],
    to: ({ x }, build) => (isInteger(x) ? filled(x, 0, build) : undefined),
  },
  {
    says: '-x * -y = x * y',
    from: ['mul', ['neg', 'x'], ['neg', 'y']],
    to: ({ x, y }, build) => build.binary('mul', x, y),
  },
  {
    says: '-(-x * y) = x * y',
    from: ['neg', ['mul', ['neg', 'x'], 'y']],
    to: ({ x, y }, build) => build.binary('mul', x, y),
  },
  {
    says: '-(-x / y) = x / y',
    from: ['neg', ['div', ['neg', 'x'], 'y']],
    to: ({ x, y }, build) => build.binary('div', x, y),
  },
  {
    says: '-x * k = x * -k for a constant k',
    from: ['mul', ['neg', 'x'], 'k'],
    to({ x, k }, build) {
      const value = uniform(k, build);
      return value === undefined || isInteger(x) ? undefined : build.binary('mul', x, filled(x, -value, build));
    },
  },
  { says: 'x / 1 = x', from: ['div', 'x', 1], to: ({ x }) => x },
  {
    says: 'x / 2ⁿ = x * 2⁻ⁿ (floats)',
    from: ['div', 'x', 'k'],
    to({ x, k }, build) {
      const value = uniform(k, build);
      return value === undefined || isInteger(x) || !isPowerOfTwo(value) || value > 2 ** 14 || value < 2 ** -14
        ? undefined
        : build.binary('mul', x, filled(x, 1 / value, build));
    },
  },
  { says: 'x ^ 0 = 1', from: ['pow', 'x', 0], to: ({ x }, build) => filled(x, 1, build) },
  { says: 'x ^ 1 = x', from: ['pow', 'x', 1], to: ({ x }) => x },
  { says: 'x ^ 2 = x * x', from: ['pow', 'x', 2], to: ({ x }, build) => build.binary('mul', x, x) },
  { says: 'x ^ -1 = 1 / x', from: ['pow', 'x', -1], to: ({ x }, build) => build.binary('div', filled(x, 1, build), x) },
  { says: 'max(x, x) = x', from: ['max', 'x', 'x'], to: ({ x }) => x },
  { says: 'min(x, x) = x', from: ['min', 'x', 'x'], to: ({ x }) => x },
  { says: 'abs(-x) = abs(x)', from: ['abs', ['neg', 'x']], to: ({ x }, build) => build.unary('abs', x) },
  { says: 'not not x = x', from: ['not', ['not', 'x']], to: ({ x }) => x },
  { says: 'x and true = x', from: ['and', 'x', 1], to: ({ x }) => (x.type.dtype === 'bool' ? x : undefined) },
  { says: 'x and false = false', from: ['and', 'x', 0], to: ({ x }, build) => filled(x, 0, build) },
  { says: 'x or false = x', from: ['or', 'x', 0], to: ({ x }) => x },
  {
    says: 'x or true = true',
    from: ['or', 'x', 1],
    to: ({ x }, build) => (x.type.dtype === 'bool' ? filled(x, 1, build) : undefined),
  },
  { says: 'x and x = x', from: ['and', 'x', 'x'], to: ({ x }) => x },
  { says: 'x or x = x', from: ['or', 'x', 'x'], to: ({ x }) => x },
  { says: 'where(true, a, b) = a', from: ['where', 1, 'a', 'b'], to: ({ a }) => a },
  { says: 'where(false, a, b) = b', from: ['where', 0, 'a', 'b'], to: ({ b }) => b },
  { says: 'where(condition, a, a) = a', from: ['where', 'condition', 'a', 'a'], to: ({ a }) => a },
  {
    says: 'where(not condition, a, b) = where(condition, b, a)',
    from: ['where', ['not', 'condition'], 'a', 'b'],
    to: ({ condition, a, b }, build) => build.where(condition, b, a),
  },
  { says: 'detach changes nothing once gradients are taken', from: ['detach', 'x'], to: ({ x }) => x },
];

/** An elementwise function of numbers that are the same everywhere is such a number. */
const folds: readonly Law[] = [...unaryOps, ...binaryOps, 'where' as const, 'cast' as const].map((op) => ({
  says: `${op} of constants is a constant`,
  op,
  attempt: foldWith(op),
}));

function foldWith<Name extends OpName>(op: Name): Law['attempt'] {
  return (inputs, attributes, build) => {
    const scalars: Tensor[] = [];
    for (const value of inputs) {
      const number = uniform(value, build);
      if (number === undefined) return undefined;
      scalars.push({ type: { dtype: value.type.dtype, shape: [] }, data: Float64Array.of(number) });
    }
    const own = attributes as Attributes[Name];
    const [type] = ops[op].type(
      scalars.map((scalar) => scalar.type),
      own,
    );
    const [result] = ops[op].interpret(scalars, own, [type], { precision: 'as-written', run: () => [] });
    return build.constant(result.data[0], type.dtype, inputs[0].type.shape);
  };
}

export const arithmeticLaws: readonly Law[] = [...folds, ...equations.map(equation)];
