/**
 * The gradient of a loop: backwards in time.
 *
 * A copy of the loop also returns, per step, what the backward body needs: the carried values at the step's start and
 * the
 * results of its expensive nodes (merge-common makes one loop of the two). The backward loop walks those, computes the
 * cheap rest again, and carries the adjoints of the carried values.
 *
 * What a constant gets is a sum over the steps, and what a sequence gets is one part per step. Where a step's part is a
 * contraction (a weight's gradient, x_t's through a weight), its operands are returned per step instead and one large
 * contraction after the loop does the work of all steps.
 */
import type { Builder } from '../graph/build.ts';
import type { NodeOf, OpName, Value } from '../graph/graph.ts';
import { copyNode, mapped, nodesBehind } from '../graph/rewrite.ts';
import type { ValueMap } from '../graph/rewrite.ts';
import type { Dim } from '../types/dim.ts';
import { isFloat } from '../types/dtype.ts';
import { at, compose } from './affine.ts';
import { sweep } from './sweep.ts';

/** Nodes worth keeping the result of when the body is gone through backwards; everything else is computed again. */
const saved: ReadonlySet<OpName> = new Set<OpName>([
  'contract',
  'reduce',
  'argreduce',
  'cumulative',
  'gather',
  'scatter',
  'random',
  'loop',
]);

const isFloating = (value: Value): boolean => isFloat(value.type.dtype);

/** A value of all steps: stacked along a new axis 0, or the same in each. */
interface OfAllSteps {
  readonly value: Value;
  readonly stacked: boolean;
}

/** Part of an adjoint that is computed after the loop, from `operands` of all steps. */
interface Part {
  readonly operands: readonly Value[];
  after(operands: readonly OfAllSteps[]): Value;
}

export function gradientOfLoop(
  node: NodeOf<'loop'>,
  adjoints: readonly (Value | undefined)[],
  build: Builder,
): (Value | undefined)[] {
  const { trips, carried, scanned, reverse, body } = node.attributes;
  const inputs = body.inputs.map(({ value }) => value);
  const [states, sequences, constants] = [
    inputs.slice(0, carried),
    inputs.slice(carried, carried + scanned),
    inputs.slice(carried + scanned),
  ];
  const results = body.outputs.map(({ value }) => value);
  const { draft, values, originals, copies } = copyForward(node, build);

  // Seeds: adjoints of the carried values come from the step after, those of per-step results from outside.
  const fromNext = results
    .slice(0, carried)
    .map((value, place) => (isFloating(value) ? draft.input(`next${place}`, 'batch', value.type) : undefined));
  const fromOutside = results
    .slice(carried)
    .map((value, place) =>
      adjoints[carried + place] === undefined || !isFloating(value)
        ? undefined
        : draft.input(`result${place}`, 'batch', value.type),
    );
  const seeds = new Map<Value, Value>();
  [...fromNext, ...fromOutside].forEach((adjoint, place) => {
    if (adjoint === undefined) return;
    const value = mapped(values, results[place]);
    const sum = seeds.get(value);
    seeds.set(value, sum === undefined ? adjoint : draft.binary('add', sum, adjoint));
  });
  const swept = sweep(
    draft,
    copies,
    seeds,
    inputs.map((value) => mapped(values, value)),
  );
  const adjointOf = (value: Value): Value | undefined =>
    isFloating(value) ? swept.get(mapped(values, value)) : undefined;

  // What is computed after the loop, and what the loop itself gives: carried values and sums first, then per-step
  // results.
  const isConstant = (value: Value): boolean => constants.includes(originals.get(value) ?? value);
  const split = (value: Value, summed: boolean): { parts: Part[]; rest: Value | undefined } => {
    const adjoint = adjointOf(value);
    const terms = adjoint === undefined ? [] : termsOf(draft, adjoint);
    const made = terms.map((term) => partOf(build, draft, term, trips, summed, isConstant));
    const rest = terms.filter((_, place) => made[place] === undefined);
    return {
      parts: made.filter((part) => part !== undefined),
      rest: rest.length === 0 ? undefined : rest.reduce((sum, term) => draft.binary('add', sum, term)),
    };
  };
  const ofConstants = constants.map((value) => split(value, true));
  const ofSequences = sequences.map((value) => split(value, false));
  const zero = (of: Builder, value: Value): Value => of.constant(0, value.type.dtype, value.type.shape);
  const stateOutputs = states.flatMap((value, place) =>
    fromNext[place] === undefined ? [] : [adjointOf(value) ?? zero(draft, value)],
  );
  const sums = ofConstants.map(({ rest }, place) => rest && draft.input(`sum${place}`, 'batch', constants[place].type));
  const sumOutputs = ofConstants.flatMap(({ rest }, place) => {
    const sum = sums[place];
    return rest === undefined || sum === undefined ? [] : [draft.binary('add', sum, rest)];
  });
  const used = new Set(
    [...ofConstants, ...ofSequences].flatMap(({ parts }) => parts.flatMap(({ operands }) => operands)),
  );
  const left = [...used].filter((value) => !originals.has(value));
  const restOutputs = ofSequences.flatMap(({ rest }) => (rest === undefined ? [] : [rest]));
  const outputs = [...stateOutputs, ...sumOutputs, ...restOutputs, ...left];

  // The final body reads only what it needs; the forward loop is run again for what has to be saved.
  const needed = nodesBehind(draft.nodes, outputs);
  const read = new Set([...needed.flatMap((inner) => inner.inputs), ...outputs]);
  const kept = draft.inputs
    .map(({ value }) => value)
    .filter((value) => {
      const original = originals.get(value);
      return (
        original !== undefined &&
        (read.has(value) || used.has(value)) &&
        !constants.includes(original) &&
        !sequences.includes(original)
      );
    });
  const saving = savingLoop(
    build,
    node,
    kept.map((value) => originals.get(value) ?? value),
  );
  const ofAllSteps = (value: Value): OfAllSteps | undefined => {
    if (kept.includes(value)) return { value: saving[kept.indexOf(value)], stacked: true };
    const original = originals.get(value);
    const place = original === undefined ? -1 : inputs.indexOf(original);
    return place < 0 ? undefined : { value: node.inputs[place], stacked: place < carried + scanned };
  };

  const last = build.nested(`${body.name} backward`);
  const final: ValueMap = new Map();
  const operands: Value[] = [];
  const enter = (inner: Value | undefined, name: string, operand: Value | undefined): void => {
    if (inner === undefined || operand === undefined) return;
    final.set(inner, last.input(name, 'batch', inner.type));
    operands.push(operand);
  };
  fromNext.forEach((inner, place) =>
    enter(inner, `d${body.inputs[place].name}`, adjoints[place] ?? zero(build, states[place])),
  );
  sums.forEach((inner, place) => enter(inner, `sum${place}`, zero(build, constants[place])));
  const carriedBack = operands.length;
  fromOutside.forEach((inner, place) => enter(inner, `dresult${place}`, adjoints[carried + place]));
  const walked = [...read].filter((value) => originals.has(value));
  walked
    .filter((value) => !isConstant(value))
    .forEach((value, place) => enter(value, `saved${place}`, ofAllSteps(value)?.value));
  const scannedBack = operands.length - carriedBack;
  walked.filter(isConstant).forEach((value, place) => enter(value, `constant${place}`, ofAllSteps(value)?.value));
  for (const inner of needed) copyNode(last, inner, final);
  outputs.forEach((value, place) => last.output(`out${place}`, 'result', mapped(final, value)));

  build.origin = node.origin;
  const back = [
    ...build.loop(operands, {
      trips,
      carried: carriedBack,
      scanned: scannedBack,
      reverse: !reverse,
      body: last.finish(),
    }),
  ];
  const next = (there: unknown): Value | undefined => (there === undefined ? undefined : back.shift());
  const ofStates = fromNext.map(next);
  const carriedSums = sums.map(next);
  const perStep = ofSequences.map(({ rest }) => next(rest));
  const stackedLeft = new Map(left.map((value, place) => [value, back[place]]));
  const whole = ({ parts }: { parts: readonly Part[] }, rest: Value | undefined): Value | undefined =>
    parts
      .map((part) =>
        part.after(
          part.operands.map((value) => ofAllSteps(value) ?? { value: mapped(stackedLeft, value), stacked: true }),
        ),
      )
      .reduce<Value | undefined>((sum, more) => (sum === undefined ? more : build.binary('add', sum, more)), rest);
  return [
    ...ofStates,
    ...ofSequences.map((one, place) => whole(one, perStep[place])),
    ...ofConstants.map((one, place) => whole(one, carriedSums[place])),
  ];
}

/** A draft of the backward body that holds the forward one, with the results of expensive nodes as inputs. */
function copyForward(node: NodeOf<'loop'>, build: Builder) {
  const { body } = node.attributes;
  const draft = build.nested(`${body.name} backward`);
  const values: ValueMap = new Map();
  /** The body's value that an input of the draft stands for. */
  const originals = new Map<Value, Value>();
  const provide = (value: Value): void => {
    const copy = draft.input(`of.${value.id}`, 'batch', value.type);
    values.set(value, copy);
    originals.set(copy, value);
  };
  for (const { value } of body.inputs) provide(value);
  const copies = body.nodes.map((inner) => {
    if (saved.has(inner.op)) inner.outputs.forEach(provide);
    else copyNode(draft, inner, values);
    return {
      ...inner,
      inputs: inner.inputs.map((value) => mapped(values, value)),
      outputs: inner.outputs.map((value) => mapped(values, value)),
    };
  });
  return { draft, values, originals, copies };
}

/** The terms of a sum. */
function termsOf(draft: Builder, value: Value): Value[] {
  const node = draft.producer(value);
  return node?.op === 'add' ? node.inputs.flatMap((term) => termsOf(draft, term)) : [value];
}

/**
 * The term for all steps at once, added up over the steps or stacked; undefined where it is no contraction of theirs.
 */
function partOf(
  build: Builder,
  draft: Builder,
  term: Value,
  trips: Dim,
  summed: boolean,
  isConstant: (value: Value) => boolean,
): Part | undefined {
  const node = draft.producer(term);
  if (node?.op !== 'contract' || node.inputs.every(isConstant)) return undefined;
  const { shape, reduce, indices } = node.attributes;
  // The axis of the steps is the first one summed over, or the first of the result.
  const steps = summed ? shape.length : 0;
  const moved = (axis: number): number => (axis < steps ? axis : axis + 1);
  return {
    operands: node.inputs,
    after(operands) {
      const over = operands.map(({ stacked }, place) => [
        ...(stacked ? [at(steps)] : []),
        ...indices[place].map((index) => compose(index, (axis) => at(moved(axis)))),
      ]);
      const values = operands.map(({ value }) => value);
      return summed
        ? build.contract(values, over, shape, [trips, ...reduce])
        : build.contract(values, over, [trips, ...shape], reduce);
    },
  };
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
