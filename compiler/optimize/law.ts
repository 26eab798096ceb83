/** Laws: what is equal to what, one a line, with the law in words beside it. The right side is never larger. */
import type { Builder } from '../graph/build.ts';
import type { Attributes, OpName, Value } from '../graph/graph.ts';
import type { Instead } from '../ops/builder.ts';

/**
 * A name stands for any value (the same one each time), a number for a tensor of just that number, an array for an op.
 */
export type Pattern = string | number | readonly [OpName, ...Pattern[]];

/** The values the names of a pattern stand for. */
export type Found = Readonly<Record<string, Value>>;

/** A law about ops without attributes. `to` may decline where a condition does not hold. */
export interface Equation {
  readonly says: string;
  readonly from: readonly [OpName, ...Pattern[]];
  readonly to: (found: Found, build: Builder) => Value | undefined;
}

/** A law about an op with attributes: what to use instead, or undefined where it does not apply. */
export interface Rule<Name extends OpName> {
  readonly says: string;
  readonly op: Name;
  readonly to: (inputs: readonly Value[], attributes: Attributes[Name], build: Builder) => Value | undefined;
}

/** Any law, ready to be tried on a node about to be appended. */
export interface Law {
  readonly says: string;
  readonly op: OpName;
  readonly attempt: (inputs: readonly Value[], attributes: Attributes[OpName], build: Builder) => Value | undefined;
}

const commutative: ReadonlySet<OpName> = new Set<OpName>(['add', 'mul', 'max', 'min', 'eq', 'ne', 'and', 'or', 'xor']);

/** The number a value is everywhere, if it is a constant of that kind. */
export function uniform(value: Value, build: Builder): number | undefined {
  const node = build.producer(value);
  return node?.op === 'constant' && typeof node.attributes.value === 'number' ? node.attributes.value : undefined;
}

export const equation = ({ says, from, to }: Equation): Law => ({
  says,
  op: from[0],
  attempt(inputs, _, build) {
    const found = matchOperands(from, inputs, {}, build);
    return found && to(found, build);
  },
});

export const rule = <Name extends OpName>({ says, op, to }: Rule<Name>): Law => ({
  says,
  op,
  // Laws are looked up by op, so the attributes are this op's.
  attempt: (inputs, attributes, build) => to(inputs, attributes as Attributes[Name], build),
});

function match(pattern: Pattern, value: Value, found: Found, build: Builder): Found | undefined {
  if (typeof pattern === 'number') return uniform(value, build) === pattern ? found : undefined;
  if (typeof pattern === 'string') {
    if (pattern in found) return found[pattern] === value ? found : undefined;
    return { ...found, [pattern]: value };
  }
  const node = build.producer(value);
  return node?.op === pattern[0] ? matchOperands(pattern, node.inputs, found, build) : undefined;
}

function matchOperands(
  [op, ...patterns]: readonly [OpName, ...Pattern[]],
  inputs: readonly Value[],
  found: Found,
  build: Builder,
): Found | undefined {
  if (patterns.length !== inputs.length) return undefined;
  const inOrder = (values: readonly Value[]): Found | undefined =>
    patterns.reduce<Found | undefined>((so, pattern, place) => so && match(pattern, values[place], so, build), found);
  return inOrder(inputs) ?? (commutative.has(op) ? inOrder([...inputs].reverse()) : undefined);
}

/** What a Builder asks before appending: the first law that applies. */
export function obeying(laws: readonly Law[]): Instead {
  const byOp = new Map<OpName, Law[]>();
  for (const law of laws) byOp.set(law.op, [...(byOp.get(law.op) ?? []), law]);
  return (op, inputs, attributes, build) => {
    for (const law of byOp.get(op) ?? []) {
      const value = law.attempt(inputs, attributes, build);
      if (value !== undefined) return [value];
    }
    return undefined;
  };
}
