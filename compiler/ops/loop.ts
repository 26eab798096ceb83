/** loop: a body run a fixed number of times with carried state: recurrent networks, decoding, environments. */
import type { Attributes } from '../graph/graph.ts';
import type { TensorType } from '../types/tensor.ts';
import { equal, show } from '../types/dim.ts';
import { fail, needSizes, sameType, showType } from './rules.ts';

export function loopType(inputs: readonly TensorType[], { trips, carried, scanned, body }: Attributes['loop']): TensorType[] {
  needSizes([trips]);
  if (inputs.length !== body.inputs.length || inputs.length < carried + scanned || body.outputs.length < carried)
    fail('operand-count', `a loop body of ${body.inputs.length} inputs and ${body.outputs.length} outputs does not fit ${inputs.length} operands`);
  inputs.forEach((type, at) => {
    const inner = body.inputs[at]?.value.type ?? type;
    const sequence = at >= carried && at < carried + scanned;
    const [length] = type.shape;
    if (sequence && (length === undefined || !equal(length, trips))) fail('size-mismatch', `a sequence walked ${show(trips)} times cannot be ${showType(type)}`);
    const step = sequence ? { dtype: type.dtype, shape: type.shape.slice(1) } : type;
    if (!sameType(step, inner)) fail('size-mismatch', `the loop's body expects ${showType(inner)}, but is given ${showType(step)}`);
  });
  return body.outputs.map(({ value }, at) => {
    if (at >= carried) return { dtype: value.type.dtype, shape: [trips, ...value.type.shape] };
    const start = inputs[at] ?? value.type;
    if (!sameType(value.type, start)) fail('size-mismatch', `a value carried through a loop starts as ${showType(start)} and becomes ${showType(value.type)}`);
    return start;
  });
}
