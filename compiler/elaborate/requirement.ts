/**
 * `expect 0 < keep and keep <= 1` in a definition: what must be true of its hyperparameters and sizes, checked wherever it is used, before
 * anything runs. What is not known when compiling (a tensor that depends on what is given, a size left open) is not checked.
 */
import type { Binary, Expect, Expression, Identifier } from '../../grammar/ast.ts';
import type { Node, Value as GraphValue } from '../graph/graph.ts';
import { interpretGraph } from '../graph/interpret.ts';
import { at, fail, type Context } from './context.ts';
import type { Scope } from './scope.ts';
import { describe, type Value } from './value.ts';

/** Stops with what does not hold, where the definition is used. */
export function checkRequirement(context: Context, scope: Scope, statement: Expect): void {
  if (statement.within !== undefined || statement.comparison?.operator === '≈')
    fail(context, 'inexact-requirement', {}, [at(statement.span)], {
      hint: 'Say it with `<=`; `≈` and `within` are for tests.',
    });
  const condition = conditionOf(statement);
  const held = context.evaluator.evaluate(context, scope, condition);
  if (held.kind !== 'bool' && held.kind !== 'unknown' && !isCondition(held))
    fail(context, 'wrong-kind', { what: 'What is expected', wanted: 'a condition', found: describe(held) }, [
      at(condition.span),
    ]);
  const isRefuted = held.kind === 'bool' ? held.value === false : numberOf(context, held) === 0;
  if (!isRefuted) return;
  const known = new Map(
    namesIn(condition).flatMap((name): [string, number][] => {
      const number = numberOf(context, context.evaluator.evaluate(context, scope, name));
      return number === undefined ? [] : [[name.name, number]];
    }),
  );
  const names = [...known].map(([name, number]) => `\`${name}\` is ${number}`);
  // What was written elsewhere than the definition is what can be changed.
  const { source } = statement.span;
  const frame =
    context.frames.findLast(({ span }) => span.source !== source) ?? context.frames[context.frames.length - 1];
  const own = context.frames[context.frames.length - 1];
  fail(
    context,
    'requirement',
    {
      name: own?.name ?? 'This',
      condition: source.text.slice(condition.span.start, condition.span.end).replace(/\s+/g, ' '),
      found: names.length === 0 ? 'that is not so' : names.join(' and '),
    },
    frame === undefined ? [at(statement.span)] : [at(frame.span), at(statement.span)],
    hintOfPercent(condition, known),
  );
}

/** `keep < 1`, and it is 80: a part was given in percent. */
function hintOfPercent(condition: Expression, known: ReadonlyMap<string, number>): { readonly hint?: string } {
  if (condition.kind !== 'binary') return {};
  const { operator, left, right } = condition;
  if (operator === 'and') return { ...hintOfPercent(left, known), ...hintOfPercent(right, known) };
  const isPart = (operator === '<' || operator === '<=') && right.kind === 'number' && right.value === 1;
  const given = isPart && left.kind === 'identifier' ? known.get(left.name) : undefined;
  if (given === undefined || !Number.isInteger(given) || given <= 1 || given > 100) return {};
  return { hint: `A part of 1 is meant, not percent: did you mean ${given / 100}?` };
}

/** Only known while running. */
const isCondition = (value: Value): boolean => value.kind === 'tensor' && value.value.type.dtype === 'bool';

/** The comparison that the grammar took apart, whole again. */
function conditionOf({ left, comparison }: Expect): Expression {
  if (comparison === undefined || comparison.operator === '≈') return left;
  const span = { ...left.span, end: comparison.right.span.end };
  return { kind: 'binary', operator: comparison.operator, left, right: comparison.right, span } satisfies Binary;
}

/** In the order in which they are written. */
function namesIn(of: Expression): Identifier[] {
  switch (of.kind) {
    case 'identifier':
      return [of];
    case 'binary':
      return [...namesIn(of.left), ...namesIn(of.right)];
    case 'unary':
      return namesIn(of.operand);
    case 'call':
      return of.arguments.flatMap(({ value }) => namesIn(value));
    default:
      return [];
  }
}

function numberOf(context: Context, value: Value): number | undefined {
  if (value.kind === 'tensor') return scalarOf(context, value.value);
  if (value.kind !== 'int' && value.kind !== 'float') return undefined;
  return typeof value.value === 'number' ? value.value : undefined;
}

/** What a condition is made of is a handful of scalars; more is not looked at. */
const mostNodes = 64;

/** A scalar that depends on constants alone. */
function scalarOf({ root }: Context, value: GraphValue): number | undefined {
  const nodes = new Set<Node>();
  const values = new Set([value]);
  for (const one of values) {
    const node = root.producer(one);
    if (node === undefined || one.type.shape.length > 0 || nodes.size > mostNodes) return undefined;
    nodes.add(node);
    for (const input of node.inputs) values.add(input);
  }
  const graph = {
    name: 'condition',
    inputs: [],
    nodes: root.nodes.filter((node) => nodes.has(node)),
    outputs: [{ name: 'value', role: 'result', value } as const],
  };
  return interpretGraph(graph, new Map(), { precision: 'f64' }).get('value')?.data[0];
}
