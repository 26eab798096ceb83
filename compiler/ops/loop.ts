/** loop: a body run a fixed number of times with carried state: recurrent networks, decoding, environments. */
import type { Graph, NodeOf, OpName, Value } from '../graph/graph.ts';
import type { Op, Tensor } from '../graph/op.ts';
import type { Builder } from '../graph/build.ts';
import { copyNode, mapped, nodesBehind } from '../graph/rewrite.ts';
import type { ValueMap } from '../graph/rewrite.ts';
import type { Dim } from '../types/dim.ts';
import { concrete, equal, show } from '../types/dim.ts';
import { isFloat } from '../types/dtype.ts';
import type { TensorType } from '../types/tensor.ts';
import { blank, elements } from './numeric.ts';
import { fail, needSizes, sameType, showType } from './rules.ts';
import { sweep } from './sweep.ts';

/** Nodes worth keeping the result of when the body is gone through backwards; everything else is computed again. */
const saved: ReadonlySet<OpName> = new Set<OpName>(['contract', 'reduce', 'argreduce', 'cumulative', 'gather', 'scatter', 'random', 'loop']);

/**
 * Backwards in time. A copy of the loop also returns, per step, what the backward body needs: the carried values at the
 * step's start and the results of its expensive nodes (merge-common makes one loop of the two). The backward loop walks
 * those, computes the cheap rest again, and carries the adjoints of the carried values and the sums for the constants.
 */
function gradientOfLoop(node: NodeOf<'loop'>, adjoints: readonly (Value | undefined)[], build: Builder): (Value | undefined)[] {
  const { trips, carried, scanned, reverse, body } = node.attributes;
  const float = (value: Value): boolean => isFloat(value.type.dtype);
  const [states, sequences] = [body.inputs.slice(0, carried), body.inputs.slice(carried, carried + scanned)].map((inputs) => inputs.map(({ value }) => value));
  const constants = body.inputs.slice(carried + scanned).map(({ value }) => value);
  const [nextStates, results] = [body.outputs.slice(0, carried), body.outputs.slice(carried)].map((outputs) => outputs.map(({ value }) => value));
  const zeros = (type: TensorType): Value => build.constant(0, type.dtype, type.shape);

  // The backward body, first with everything it might read as an input.
  const draft = build.nested(`${body.name} backward`);
  const values: ValueMap = new Map();
  const copies = new Map<Value, Value>();
  const provide = (value: Value): void => {
    const copy = draft.input(`of.${value.id}`, 'batch', value.type);
    values.set(value, copy);
    copies.set(copy, value);
  };
  for (const { value } of body.inputs) provide(value);
  const forward = body.nodes.map((inner) => {
    if (saved.has(inner.op)) inner.outputs.forEach(provide);
    else copyNode(draft, inner, values);
    return { ...inner, inputs: inner.inputs.map((value) => mapped(values, value)), outputs: inner.outputs.map((value) => mapped(values, value)) };
  });
  const stateAdjoints = states.filter(float).map((value, place) => draft.input(`carried.${place}`, 'batch', value.type));
  const incoming = results.map((value, place) => (adjoints[carried + place] === undefined || !float(value) ? undefined : draft.input(`result.${place}`, 'batch', value.type)));
  const sums = constants.filter(float).map((value, place) => draft.input(`sum.${place}`, 'batch', value.type));

  const seeds = new Map<Value, Value>();
  const seed = (value: Value, adjoint: Value): void => {
    const now = mapped(values, value);
    const sum = seeds.get(now);
    seeds.set(now, sum === undefined ? adjoint : draft.binary('add', sum, adjoint));
  };
  nextStates.filter(float).forEach((value, place) => seed(value, stateAdjoints[place]));
  incoming.forEach((adjoint, place) => adjoint && seed(results[place], adjoint));
  const all = sweep(draft, forward, seeds, body.inputs.map(({ value }) => mapped(values, value)));
  const adjointOf = (value: Value): Value | undefined => all.get(mapped(values, value));
  const stateOutputs = states.filter(float).map((value) => adjointOf(value) ?? draft.constant(0, value.type.dtype, value.type.shape));
  const sumOutputs = constants.filter(float).map((value, place) => {
    const more = adjointOf(value);
    return more === undefined ? sums[place] : draft.binary('add', sums[place], more);
  });
  const sequenceOutputs = sequences.filter(float).map((value) => adjointOf(value) ?? draft.constant(0, value.type.dtype, value.type.shape));
  const outputs = [...stateOutputs, ...sumOutputs, ...sequenceOutputs];

  // The final body: only what it reads. Constants stay constants, sequences are walked again, the rest was saved.
  const needed = nodesBehind(draft.nodes, outputs);
  const read = new Set([...needed.flatMap(({ inputs }) => inputs), ...outputs]);
  const reads = draft.inputs.filter(({ value }) => read.has(value) && copies.has(value)).map(({ value }) => copies.get(value) ?? value);
  const kept = reads.filter((value) => !constants.includes(value) && !sequences.includes(value));
  const saving = savingLoop(build, node, kept);
  const last = build.nested(`${body.name} backward`);
  const final: ValueMap = new Map();
  const enter = (inner: Value, name: string): void => void final.set(inner, last.input(name, 'batch', inner.type));
  const operands: Value[] = [];
  const take = (inner: Value, name: string, operand: Value): void => {
    enter(inner, name);
    operands.push(operand);
  };
  states.forEach((value, place) => float(value) && take(stateAdjoints[states.slice(0, place).filter(float).length], `d${body.inputs[place].name}`, adjoints[place] ?? zeros(value.type)));
  constants.filter(float).forEach((value, place) => take(sums[place], `sum${place}`, zeros(value.type)));
  const carriedBack = operands.length;
  for (const [place, adjoint] of incoming.entries()) if (adjoint !== undefined) take(adjoint, `dresult${place}`, adjoints[carried + place] ?? zeros(node.outputs[carried + place].type));
  sequences.forEach((value, place) => reads.includes(value) && take(mapped(values, value), `sequence${place}`, node.inputs[carried + place]));
  kept.forEach((value, place) => take(mapped(values, value), `saved${place}`, saving[place]));
  const scannedBack = operands.length - carriedBack;
  constants.forEach((value, place) => reads.includes(value) && take(mapped(values, value), `constant${place}`, node.inputs[carried + scanned + place]));
  for (const inner of needed) copyNode(last, inner, final);
  outputs.forEach((value, place) => last.output(place < stateOutputs.length ? `dstate${place}` : `d${place}`, 'result', mapped(final, value)));

  build.origin = node.origin;
  const back = [...build.loop(operands, { trips, carried: carriedBack, scanned: scannedBack, reverse: !reverse, body: last.finish() })];
  // States and sums come first, per-step adjoints of the sequences after them.
  const takeFor = (inputs: readonly Value[]): (Value | undefined)[] => inputs.map((value) => (float(value) ? back.shift() : undefined));
  const [dStates, dConstants, dSequences] = [takeFor(states), takeFor(constants), takeFor(sequences)];
  return [...dStates, ...dSequences, ...dConstants];
}

/** The same loop, returning per step the values of its body listed in `kept`. */
function savingLoop(build: Builder, node: NodeOf<'loop'>, kept: readonly Value[]): readonly Value[] {
  const { carried, body } = node.attributes;
  if (kept.length === 0) return [];
  const copy = build.nested(body.name);
  const values: ValueMap = new Map();
  for (const { name, role, value } of body.inputs) values.set(value, copy.input(name, role, value.type));
  for (const inner of body.nodes) copyNode(copy, inner, values);
  for (const { name, role, value } of body.outputs.slice(0, carried)) copy.output(name, role, mapped(values, value));
  kept.forEach((value, place) => copy.output(`saved${place}`, 'result', mapped(values, value)));
  return build.loop(node.inputs, { ...node.attributes, body: copy.finish() }).slice(carried);
}

const f32 = (...shape: Dim[]): TensorType => ({ dtype: 'f32', shape });

/** h ← tanh(h · x_t + w); yields h · w: written out as data, since the Builder needs the table this record is in. */
function sampleBody(): Graph {
  // Ids far from those of the graphs the samples are put in.
  const value = (id: number): Value => ({ id: 1000 + id, type: f32(3) });
  const [h, x, w, product, sum, next, result] = [0, 1, 2, 3, 4, 5, 6].map(value);
  const origin = {};
  return {
    name: 'body',
    inputs: [{ name: 'h', role: 'batch', value: h }, { name: 'x', role: 'batch', value: x }, { name: 'w', role: 'batch', value: w }],
    nodes: [
      { op: 'mul', inputs: [h, x], outputs: [product], attributes: {}, origin },
      { op: 'add', inputs: [product, w], outputs: [sum], attributes: {}, origin },
      { op: 'tanh', inputs: [sum], outputs: [next], attributes: {}, origin },
      { op: 'mul', inputs: [next, w], outputs: [result], attributes: {}, origin },
    ],
    outputs: [{ name: 'h', role: 'result', value: next }, { name: 'y', role: 'result', value: result }],
  };
}

export const loop: Op<'loop'> = {
  name: 'loop',
  doc: 'Runs a body `trips` times: carried values go from step to step, sequences are walked along axis 0 (from the end if reversed), constants stay. Gives the last carried values and the per-step results stacked in the order of the sequences.',
  type(inputs, { trips, carried, scanned, body }) {
    needSizes([trips]);
    if (inputs.length !== body.inputs.length || inputs.length < carried + scanned || body.outputs.length < carried)
      fail('operand-count', `a loop body of ${body.inputs.length} inputs and ${body.outputs.length} outputs does not fit ${inputs.length} operands`);
    inputs.forEach((type, place) => {
      const inner = body.inputs[place].value.type;
      const sequence = place >= carried && place < carried + scanned;
      const [length] = type.shape;
      if (sequence && (length === undefined || !equal(length, trips))) fail('size-mismatch', `a sequence walked ${show(trips)} times cannot be ${showType(type)}`);
      const step = sequence ? { dtype: type.dtype, shape: type.shape.slice(1) } : type;
      if (!sameType(step, inner)) fail('size-mismatch', `the loop's body expects ${showType(inner)}, but is given ${showType(step)}`);
    });
    return body.outputs.map(({ value }, place) => {
      if (place >= carried) return { dtype: value.type.dtype, shape: [trips, ...value.type.shape] };
      const start = inputs[place];
      if (!sameType(value.type, start)) fail('size-mismatch', `a value carried through a loop starts as ${showType(start)} and becomes ${showType(value.type)}`);
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
    [false, true].map((reverse) => ({ inputs: [f32(3), f32(trips, 3), f32(3)], attributes: { trips, carried: 1, scanned: 1, reverse, body: sampleBody() } })),
  ),
};
