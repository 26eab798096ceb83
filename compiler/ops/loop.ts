/** loop: a body run a fixed number of times with carried state: recurrent networks, decoding, environments. */
import type { Graph, Value } from '../graph/graph.ts';
import type { Op, Tensor } from '../graph/op.ts';
import type { Dim } from '../types/dim.ts';
import { concrete, equal, show } from '../types/dim.ts';
import type { TensorType } from '../types/tensor.ts';
import { gradientOfLoop } from './gradient-of-loop.ts';
import { blank, elements } from './numeric.ts';
import { fail, needSizes, sameType, showType } from './rules.ts';

const f32 = (...shape: Dim[]): TensorType => ({ dtype: 'f32', shape });

/** h ← tanh(h · x_t + w); yields h · w: written out as data, since the Builder needs the table this record is in. */
function sampleBody(): Graph {
  // Ids far from those of the graphs the samples are put in.
  const value = (id: number): Value => ({ id: 1000 + id, type: f32(3) });
  const [h, x, w, product, sum, next, result] = [0, 1, 2, 3, 4, 5, 6].map(value);
  const origin = {};
  return {
    name: 'body',
    inputs: [
      { name: 'h', role: 'batch', value: h },
      { name: 'x', role: 'batch', value: x },
      { name: 'w', role: 'batch', value: w },
    ],
    nodes: [
      { op: 'mul', inputs: [h, x], outputs: [product], attributes: {}, origin },
      { op: 'add', inputs: [product, w], outputs: [sum], attributes: {}, origin },
      { op: 'tanh', inputs: [sum], outputs: [next], attributes: {}, origin },
      { op: 'mul', inputs: [next, w], outputs: [result], attributes: {}, origin },
    ],
    outputs: [
      { name: 'h', role: 'result', value: next },
      { name: 'y', role: 'result', value: result },
    ],
  };
}

export const loop: Op<'loop'> = {
  name: 'loop',
  doc:
    'Runs a body `trips` times: carried values go from step to step, sequences are walked along axis 0 (from the ' +
    'end if reversed), constants stay. Gives the last carried values and the per-step results stacked in the order ' +
    'of the sequences.',
  type(inputs, { trips, carried, scanned, body }) {
    needSizes([trips]);
    if (inputs.length !== body.inputs.length || inputs.length < carried + scanned || body.outputs.length < carried)
      fail(
        'operand-count',
        `a loop body of ${body.inputs.length} inputs and ${body.outputs.length} outputs does not fit ${inputs.length} operands`,
      );
    inputs.forEach((type, place) => {
      const inner = body.inputs[place].value.type;
      const sequence = place >= carried && place < carried + scanned;
      const [length] = type.shape;
      if (sequence && (length === undefined || !equal(length, trips)))
        fail('size-mismatch', `a sequence walked ${show(trips)} times cannot be ${showType(type)}`);
      const step = sequence ? { dtype: type.dtype, shape: type.shape.slice(1) } : type;
      if (!sameType(step, inner))
        fail('size-mismatch', `the loop's body expects ${showType(inner)}, but is given ${showType(step)}`);
    });
    return body.outputs.map(({ value }, place) => {
      if (place >= carried) return { dtype: value.type.dtype, shape: [trips, ...value.type.shape] };
      const start = inputs[place];
      if (!sameType(value.type, start))
        fail(
          'size-mismatch',
          `a value carried through a loop starts as ${showType(start)} and becomes ${showType(value.type)}`,
        );
      return start;
    });
  },
  interpret(inputs, { trips, carried, scanned, reverse, body }, types, context) {
    const [steps] = concrete([trips]);
    let states = inputs.slice(0, carried);
    const sequences = inputs.slice(carried, carried + scanned);
    const stacked = types.slice(carried).map(blank);
    const constants = inputs.slice(carried + scanned);
    for (let n = 0; n < steps; n++) {
      const step = reverse ? steps - 1 - n : n;
      const slices = sequences.map((sequence, place): Tensor => {
        const { type } = body.inputs[carried + place].value;
        const length = elements(type);
        return { type, data: sequence.data.subarray(step * length, (step + 1) * length) };
      });
      const results = context.run(body, [...states, ...slices, ...constants]);
      states = results.slice(0, carried);
      results.slice(carried).forEach(({ data }, place) => stacked[place].data.set(data, step * data.length));
    }
    return [...states, ...stacked];
  },
  gradient: gradientOfLoop,
  samples: [1, 4, 0].flatMap((trips) =>
    [false, true].map((reverse) => ({
      inputs: [f32(3), f32(trips, 3), f32(3)],
      attributes: { trips, carried: 1, scanned: 1, reverse, body: sampleBody() },
    })),
  ),
};
