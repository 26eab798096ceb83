/**
 * `scan x over T with h = zeros[B, H] { …  h <- …  yield h }`: a loop whose body is a graph of its own.
 *
 * Sequences are walked along the axis of size T; what is yielded is stacked along that axis again. Without a `yield`, the
 * result is the last carried value (a tuple of several).
 */
import type { Scan } from '../../grammar/ast.ts';
import type { Span } from '../base/source.ts';
import type { Value as GraphValue } from '../graph/graph.ts';
import { equal, show, type Dim } from '../types/dim.ts';
import { constantOf } from './align.ts';
import { evaluateBlock } from './statements.ts';
import { capturing } from './capture.ts';
import { at, emit, emitAll, fail, standing, type Context, type LoopBody } from './context.ts';
import { axisOf, bind, createScope, type Binding, type Scope } from './scope.ts';
import { describe, isNumber, showType, tensor, unknown, type Value } from './value.ts';

type Cell = Extract<Binding, { kind: 'cell' }>;

interface Sequence {
  readonly name: string;
  readonly value: GraphValue;
  readonly axis: number;
  readonly span: Span;
}

interface Carried {
  readonly name: string;
  readonly value: GraphValue;
  readonly span: Span;
}

export function evaluateScan(context: Context, scope: Scope, node: Scan): Value {
  const over = context.evaluator.evaluate(context, scope, node.over);
  const sequences = node.sequences.map((name) => sequenceOf(context, scope, node, name.name, name.span, over));
  const carried = node.carried.map(({ name, init }) =>
    carriedOf(context, name.name, context.evaluator.evaluate(context, scope, init), init.span),
  );
  if (over.kind === 'unknown' || sequences.includes(undefined) || carried.includes(undefined)) return unknown;
  const known = {
    sequences: sequences.filter((sequence) => sequence !== undefined),
    carried: carried.filter((value) => value !== undefined),
  };
  const [first] = known.sequences;
  if (first === undefined) return fail(context, 'scan-empty', {}, [at(node.span)]);
  const trips = first.value.type.shape[first.axis];
  for (const { value, axis, span } of known.sequences)
    if (!equal(value.type.shape[axis], trips))
      fail(context, 'scan-lengths', { first: show(trips), second: show(value.type.shape[axis]) }, [
        at(span),
        at(first.span),
      ]);

  return buildLoop(context, scope, node, known.sequences, known.carried, trips, false);
}

function sequenceOf(
  context: Context,
  scope: Scope,
  node: Scan,
  name: string,
  span: Span,
  over: Value,
): Sequence | undefined {
  const value = context.evaluator.evaluate(context, scope, { kind: 'identifier', name, span });
  if (value.kind === 'unknown' || over.kind === 'unknown') return undefined;
  if (value.kind !== 'tensor')
    return fail(
      context,
      'wrong-kind',
      { what: 'What a scan walks along', wanted: 'a tensor', found: describe(value) },
      [at(span)],
    );
  if (over.kind !== 'int') return fail(context, 'not-a-size', { found: describe(over) }, [at(node.over.span)]);
  const { shape } = value.value.type;
  const type = showType(value.value.type);
  if (node.over.kind === 'number') {
    const axis = node.over.value;
    if (axis >= shape.length)
      fail(context, 'axis-out-of-range', { axis, type }, [at(node.over.span), at(span, `this is ${type}`)]);
    return { name, value: value.value, axis, span };
  }
  // The axis at which the size got its name, if it fits; two sizes may happen to be equal.
  const usual = node.over.kind === 'identifier' ? axisOf(scope, node.over.name) : undefined;
  const axis =
    usual !== undefined && shape[usual] !== undefined && equal(shape[usual], over.value)
      ? usual
      : shape.findIndex((size) => equal(size, over.value));
  if (axis < 0)
    fail(context, 'scan-axis', { name, type, over: show(over.value) }, [
      at(span, `this is ${type}`),
      at(node.over.span),
    ]);
  return { name, value: value.value, axis, span };
}

function carriedOf(context: Context, name: string, value: Value, span: Span): Carried | undefined {
  if (value.kind === 'unknown') return undefined;
  if (value.kind === 'tensor') return { name, value: value.value, span };
  if (isNumber(value)) return { name, value: constantOf(context, value, 'f32', [], span, name), span };
  return fail(context, 'wrong-kind', { what: `\`${name}\``, wanted: 'a tensor or a number', found: describe(value) }, [
    at(span),
  ]);
}

function buildLoop(
  context: Context,
  scope: Scope,
  node: Scan,
  sequences: readonly Sequence[],
  carried: readonly Carried[],
  trips: Dim,
  withIteration: boolean,
): Value {
  const nested = context.builder.nested('scan');
  const { builder, captured } = capturing(nested);
  const inner = createScope(scope);
  const cells = carried.map(({ name, value }) => {
    const cell: Cell = { kind: 'cell', value: tensor(builder.input(name, 'state', value.type)), assigned: false };
    inner.names.set(name, cell);
    return cell;
  });
  for (const { name, value, axis } of sequences) {
    const shape = value.type.shape.filter((_, place) => place !== axis);
    bind(inner, name, tensor(builder.input(name, 'batch', { dtype: value.type.dtype, shape })));
  }
  const iteration = withIteration ? builder.input('iteration', 'batch', { dtype: 'u32', shape: [] }) : undefined;
  const loop: LoopBody = { iteration, drew: false, outer: context.loop };
  const draws = new Map(context.draws);
  const yielded: { value: Value; span: Span }[] = [];
  const { next, outputs } = standing(context, { builder, loop, index: undefined }, () => {
    evaluateBlock(context, inner, node.body, {
      effects: true,
      onYield: (value, span) => yielded.push({ value, span }),
    });
    return {
      next: cells.map((cell, place) => settle(context, cell.value, carried[place], node)),
      outputs: yielded.flatMap(({ value, span }) => yieldedTensors(context, value, span)),
    };
  });
  // Random numbers in the body depend on the number of the iteration, which is then walked along as one more sequence.
  if (loop.drew && !withIteration) {
    context.draws.clear();
    for (const [place, count] of draws) context.draws.set(place, count);
    return buildLoop(context, scope, node, sequences, carried, trips, true);
  }
  if (yielded.some(({ value }) => value.kind === 'unknown') || next.includes(undefined)) return unknown;
  next.forEach((value, place) => value !== undefined && builder.output(carried[place].name, 'result', value));
  outputs.forEach((value, place) => builder.output(`yield.${place}`, 'result', value));
  if (outputs.length === 0 && carried.length === 0) return fail(context, 'scan-empty', {}, [at(node.span)]);

  const walked = sequences.map(({ value, axis, span }) =>
    emit(context, span, (outside) =>
      outside.transpose(value, [axis, ...value.type.shape.map((_, place) => place).filter((place) => place !== axis)]),
    ),
  );
  if (withIteration) walked.push(emit(context, node.span, (outside) => outside.cast(outside.iota([trips], 0), 'u32')));
  const attributes = {
    trips,
    carried: carried.length,
    scanned: walked.length,
    reverse: node.reverse,
    body: nested.finish(),
  };
  const results = emitAll(context, node.span, (outside) =>
    outside.loop([...carried.map(({ value }) => value), ...walked, ...captured], attributes),
  );
  const stacked = results
    .slice(carried.length)
    .map((value) => tensor(restoreAxis(context, value, sequences[0].axis, node.span)));
  const values: readonly Value[] = stacked.length > 0 ? stacked : results.map(tensor);
  return values.length === 1 ? values[0] : { kind: 'tuple', elements: values };
}

/** The next value of what is carried: of the type it began with. */
function settle(
  context: Context,
  value: Value,
  { name, value: first, span }: Carried,
  node: Scan,
): GraphValue | undefined {
  if (value.kind === 'unknown') return undefined;
  const settled =
    isNumber(value) && first.type.shape.length === 0
      ? constantOf(context, value, first.type.dtype, [], span, name)
      : value.kind === 'tensor'
        ? value.value
        : undefined;
  const [wanted, found] = [showType(first.type), settled === undefined ? describe(value) : showType(settled.type)];
  if (settled === undefined || wanted !== found)
    return fail(context, 'assigned-type', { name, wanted, found }, [
      at(span, `begins as ${wanted}`),
      at(node.body.span, `becomes ${found}`),
    ]);
  return settled;
}

function yieldedTensors(context: Context, value: Value, span: Span): readonly GraphValue[] {
  if (value.kind === 'unknown') return [];
  if (value.kind === 'tuple') return value.elements.flatMap((element) => yieldedTensors(context, element, span));
  if (value.kind === 'tensor') return [value.value];
  if (isNumber(value)) return [constantOf(context, value, 'f32', [], span, 'yield')];
  return fail(context, 'wrong-kind', { what: 'What is yielded', wanted: 'a tensor', found: describe(value) }, [
    at(span),
  ]);
}

/** Stacked along axis 0; the sequence was walked along another. */
function restoreAxis(context: Context, value: GraphValue, axis: number, span: Span): GraphValue {
  const rank = value.type.shape.length;
  const place = Math.min(axis, rank - 1);
  const order = Array.from({ length: rank }, (_, i) => (i < place ? i + 1 : i === place ? 0 : i));
  return emit(context, span, (builder) => builder.transpose(value, order));
}
