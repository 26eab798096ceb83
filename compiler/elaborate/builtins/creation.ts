/** Builtins that make tensors of a shape: filled, or random. */
import { constantOf } from '../align.ts';
import { at, fail } from '../context.ts';
import { drawInteger, drawNormal, drawUniform } from '../random.ts';
import { describe, tensor, unknown } from '../value.ts';
import { added, argument, tensorArgument, type Builtin } from './builtin.ts';

const filled = (name: string, value: number): Builtin => ({
  name,
  doc: `An f32 tensor of ${value}s.`,
  signature: `${name}[sizes]`,
  parameters: [],
  shaped: 'value',
  evaluate: (call) => added(call, (builder) => builder.constant(value, 'f32', call.shape)),
});

const like = (name: string, of: string, draw: typeof drawUniform): Builtin => ({
  name,
  doc: `${of} of the shape of x.`,
  signature: `${name}(x)`,
  parameters: [{ name: 'x' }],
  evaluate(call) {
    const x = argument(call, 'x').value;
    if (x.kind === 'indexed') return fail(call.context, 'not-whole', { callee: name }, [at(call.span)]);
    const value = tensorArgument(call, 'x');
    return value === undefined ? unknown : tensor(draw(call.context, value.type.shape, call.span));
  },
});

export const creation: readonly Builtin[] = [
  filled('zeros', 0),
  filled('ones', 1),
  {
    name: 'full',
    doc: 'An f32 tensor of one number.',
    signature: 'full[sizes](value)',
    parameters: [{ name: 'value' }],
    shaped: 'function',
    evaluate(call) {
      const { value, span } = argument(call, 'value');
      return value.kind === 'unknown'
        ? unknown
        : tensor(constantOf(call.context, value, 'f32', call.shape, span, 'full'));
    },
  },
  {
    name: 'randint',
    doc: 'Whole numbers (i32) from 0 to below n.',
    signature: 'randint[sizes](n)',
    parameters: [{ name: 'n' }],
    shaped: 'function',
    evaluate(call) {
      const { value, span } = argument(call, 'n');
      if (value.kind === 'unknown') return unknown;
      if (value.kind !== 'int') return fail(call.context, 'not-a-size', { found: describe(value) }, [at(span)]);
      const limit = typeof value.value === 'number' ? value.value : 1;
      if (limit < 1) fail(call.context, 'negative-size', { size: String(limit) }, [at(span)]);
      return tensor(drawInteger(call.context, call.shape, limit, call.span));
    },
  },
  like('uniform_like', 'Uniform numbers on [0, 1)', drawUniform),
  like('normal_like', 'Normal numbers (mean 0, deviation 1)', drawNormal),
];
