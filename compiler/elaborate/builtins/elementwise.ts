/** Builtins that work on each element: functions, casts, choices, bits. Compile-time numbers fold. */
import type { BinaryOp, UnaryOp } from '../../graph/graph.ts';
import { dtypes, type Dtype } from '../../types/dtype.ts';
import { show, symbol } from '../../types/dim.ts';
import { align } from '../align.ts';
import { opaque } from '../arithmetic.ts';
import { emit } from '../context.ts';
import { toIndexed } from '../indexed.ts';
import { float, int, isNumber, numberOf, tensor, unknown, type Value } from '../value.ts';
import { argument, operand, wholeTensor, type Builtin, type BuiltinCall } from './builtin.ts';

function unaryFunction(name: string, op: UnaryOp, doc: string, fold: (x: number) => number, whole = false): Builtin {
  return {
    name,
    doc,
    signature: `${name}(x)`,
    parameters: [{ name: 'x' }],
    evaluate(call) {
      const x = operand(call, 'x');
      if (isNumber(x.value)) {
        const number = numberOf(x.value);
        if (x.value.kind === 'int' && whole)
          return number === undefined && op !== 'abs'
            ? x.value
            : int(number === undefined ? opaque(name, x.value.value) : fold(number));
        const rounds = op === 'floor' || op === 'ceil' || op === 'round';
        // Not known, but a whole number all the same: the same one wherever this is written.
        if (number === undefined)
          return rounds ? int(symbol(call.span.source.text.slice(call.span.start, call.span.end))) : float(undefined);
        return rounds ? int(fold(number)) : float(fold(number));
      }
      const aligned = align(call.context, name, [x], call.span);
      return aligned === undefined
        ? unknown
        : aligned.wrap(emit(call.context, call.span, (builder) => builder.unary(op, aligned.values[0])));
    },
  };
}

/** The error function, for compile-time numbers: the series near 0, the continued fraction far from it. */
function erf(x: number): number {
  const size = Math.abs(x);
  if (size < 3) {
    let [term, sum] = [size, size];
    for (let n = 1; n < 80; n++) {
      term *= (-size * size) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (size + fraction);
  return Math.sign(x) * (1 - Math.exp(-size * size) / ((size + fraction) * Math.sqrt(Math.PI)));
}

/** To the even neighbour when halfway, as IEEE 754 and every target round. */
function roundEven(x: number): number {
  const rounded = Math.round(x);
  return Math.abs(x - Math.trunc(x)) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

const cast = (dtype: Dtype): Builtin => ({
  name: dtype,
  doc: `The same elements as ${dtype}.`,
  signature: `${dtype}(x)`,
  parameters: [{ name: 'x' }],
  evaluate(call) {
    const { value, span } = argument(call, 'x');
    const { context } = call;
    if (value.kind === 'index') {
      const counted = toIndexed(context, value, dtype, span);
      return { ...counted, value: emit(context, call.span, (builder) => builder.cast(counted.value, dtype)) };
    }
    if (value.kind === 'indexed')
      return { ...value, value: emit(context, call.span, (builder) => builder.cast(value.value, dtype)) };
    if (value.kind === 'bool')
      return tensor(emit(context, call.span, (builder) => builder.constant(value.value === true ? 1 : 0, dtype)));
    if (isNumber(value))
      return tensor(emit(context, call.span, (builder) => builder.constant(numberOf(value) ?? 1, dtype)));
    const x = wholeTensor(call, value, span);
    return x === undefined ? unknown : tensor(emit(context, call.span, (builder) => builder.cast(x, dtype)));
  },
});

/** Two operands of one type, folded when both are numbers. */
export function pairwise(
  call: BuiltinCall,
  op: BinaryOp,
  left: string,
  right: string,
  fold: (a: number, b: number) => number,
): Value {
  const [a, b] = [operand(call, left), operand(call, right)];
  if (isNumber(a.value) && isNumber(b.value)) {
    const [x, y] = [numberOf(a.value), numberOf(b.value)];
    const whole = a.value.kind === 'int' && b.value.kind === 'int';
    if (x !== undefined && y !== undefined) return whole ? int(fold(x, y)) : float(fold(x, y));
    if (a.value.kind === 'int' && b.value.kind === 'int')
      return show(a.value.value) === show(b.value.value) && (op === 'max' || op === 'min')
        ? a.value
        : int(opaque(call.builtin.name, a.value.value, b.value.value));
    return float(undefined);
  }
  const aligned = align(call.context, call.builtin.name, [a, b], call.span);
  return aligned === undefined
    ? unknown
    : aligned.wrap(
        emit(call.context, call.span, (builder) => builder.binary(op, aligned.values[0], aligned.values[1])),
      );
}

const bits = (name: string, op: BinaryOp, doc: string, fold: (a: number, b: number) => number): Builtin => ({
  name,
  doc,
  signature: `${name}(a, b)`,
  parameters: [{ name: 'a' }, { name: 'b' }],
  evaluate: (call) => pairwise(call, op, 'a', 'b', fold),
});

export const elementwise: readonly Builtin[] = [
  unaryFunction('exp', 'exp', 'eˣ.', Math.exp),
  unaryFunction('log', 'log', 'The natural logarithm.', Math.log),
  unaryFunction('ln', 'log', 'The natural logarithm.', Math.log),
  unaryFunction('sin', 'sin', 'The sine, of radians.', Math.sin),
  unaryFunction('cos', 'cos', 'The cosine, of radians.', Math.cos),
  unaryFunction('tanh', 'tanh', 'The hyperbolic tangent.', Math.tanh),
  unaryFunction('erf', 'erf', 'The error function.', erf),
  unaryFunction('sqrt', 'sqrt', 'The square root.', Math.sqrt),
  unaryFunction('rsqrt', 'rsqrt', '1 / √x.', (x) => 1 / Math.sqrt(x)),
  unaryFunction('abs', 'abs', 'The absolute value.', Math.abs, true),
  unaryFunction('sign', 'sign', '−1, 0 or 1.', Math.sign, true),
  unaryFunction('floor', 'floor', 'The largest whole number that is not above.', Math.floor, true),
  unaryFunction('ceil', 'ceil', 'The smallest whole number that is not below.', Math.ceil, true),
  unaryFunction('round', 'round', 'The nearest whole number, the even one when halfway.', roundEven, true),
  {
    name: 'pow',
    doc: 'aᵇ, also written `a ^ b`.',
    signature: 'pow(a, b)',
    parameters: [{ name: 'a' }, { name: 'b' }],
    evaluate: (call) => pairwise(call, 'pow', 'a', 'b', Math.pow),
  },
  bits('xor', 'xor', 'Bits that are set in one of the two.', (a, b) => (a ^ b) >>> 0),
  bits('shift_left', 'shl', 'Bits moved up.', (a, b) => (a << b) >>> 0),
  bits('shift_right', 'shr', 'Bits moved down.', (a, b) => a >>> b),
  ...dtypes.map(cast),
  {
    name: 'where',
    doc: 'Elements of `then` where the condition holds, of `else` elsewhere.',
    signature: 'where(condition, then, else)',
    parameters: [{ name: 'condition' }, { name: 'then' }, { name: 'else' }],
    evaluate(call) {
      const [condition, yes, no] = [operand(call, 'condition'), operand(call, 'then'), operand(call, 'else')];
      if (condition.value.kind === 'bool' && condition.value.value !== undefined)
        return condition.value.value ? yes.value : no.value;
      if (condition.value.kind === 'bool' && isNumber(yes.value) && isNumber(no.value)) return float(undefined);
      const aligned = align(call.context, 'where', [{ ...condition, condition: true }, yes, no], call.span);
      if (aligned === undefined) return unknown;
      return aligned.wrap(
        emit(call.context, call.span, (builder) =>
          builder.where(aligned.values[0], aligned.values[1], aligned.values[2]),
        ),
      );
    },
  },
  {
    name: 'stop_gradient',
    doc: 'The value itself; its gradient stops here.',
    signature: 'stop_gradient(x)',
    parameters: [{ name: 'x' }],
    evaluate(call) {
      const x = operand(call, 'x');
      if (isNumber(x.value)) return x.value;
      const aligned = align(call.context, 'stop_gradient', [x], call.span);
      return aligned === undefined
        ? unknown
        : aligned.wrap(emit(call.context, call.span, (builder) => builder.detach(aligned.values[0])));
    },
  },
];
