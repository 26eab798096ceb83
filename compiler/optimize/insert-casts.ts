/**
 * Puts the precision that a train block asks for into the graph, as casts. The table of what runs how is
 * precision-policy.ts; here is where a cast goes:
 *
 *   before   %3: f32[4, 6] = max(%2, 0)                     after   %3: f32[4, 6] = max(%2, 0)
 *            %4[i, j]: f32[4, 5] = sum[k: 6]                        %4: bf16[4, 6] = cast(%3)
 *                        %3[i, k] * %1[k, j]                        %5: f32[4, 6] = cast(%4)
 *                                                                   %6: bf16[6, 5] = cast(%1)
 *                                                                   %7: f32[6, 5] = cast(%6)
 *                                                                   %8[i, j]: f32[4, 5] = sum[k: 6] %5[i, k] * %7[k, j]
 *
 * TF32 is a way of rounding only, `%4: f32[4, 6] = tf32(%3)`: it takes the place of the two casts, and nothing is kept low.
 *
 *  1. Operands of products are rounded: to the low type and back, so that what is multiplied and summed in f32 are the
 *     low numbers. A weight is rounded once a step, and stays f32 everywhere else. What a product reads is read like that
 *     by all others too: it is in memory once.
 *  2. A value that follows low ones is rounded where it has to be kept: where two or more read it. Between, in a chain
 *     of elementwise functions, nothing is rounded.
 *  3. What no product comes after stays f32: losses, gradients of weights, norms of them, updates.
 *  4. Inside an excepted instance nothing is rounded, and what flows into it is not rounded for it.
 *  5. The largest of several values is one of them, and a gradient finds it by comparing: it is read unrounded there where they are.
 *
 * Tolerance: what is rounded to the low type, and rounded again downstream: a sixteenth of the largest element on small graphs.
 *
 * Works on forward and backward alike, so it needs gradients to be taken.
 */
import type { Builder } from '../graph/build.ts';
import type { Graph, Node, Precision, Value } from '../graph/graph.ts';
import { countUses, nodesBehind } from '../graph/rewrite.ts';
import { createBuilder } from '../ops/builder.ts';
import type { Pass } from './pass.ts';
import { treatmentOf } from './precision-policy.ts';
import { paddingsOf } from './side-by-side.ts';

export const insertCasts: Pass = {
  name: 'insert-casts',
  doc: 'Rounds what the `precision` of the train block says, by the table of the policy.',
  tolerance: 2 ** -4,
  run(graph) {
    if (graph.precision === undefined) return graph;
    const cast = insertInto(graph, graph.precision, createBuilder(graph.name), [], false);
    return {
      ...cast,
      nodes: nodesBehind(
        cast.nodes,
        cast.outputs.map(({ value }) => value),
      ),
    };
  },
};

/** How a value came about: from weights and constants only, following low ones, or to be kept in f32. */
type Kind = 'given' | 'follows' | 'full';

/** What became of a value; each form is made when it is first asked for. */
interface Forms {
  readonly kind: Kind;
  /** As computed. */
  raw(): Value;
  /** Rounded to the low type. */
  low(): Value;
  /** Rounded, and f32 again. */
  rounded(): Value;
  /** As all but products read it: rounded where the value is stored low. */
  shown(): Value;
  /** Is it stored low? */
  readonly stored: boolean;
}

/** `kinds`: of the graph's inputs, for the body of a loop. `productsAhead`: do products follow its outputs? */
function insertInto(
  graph: Graph,
  precision: Precision,
  build: Builder,
  kinds: readonly Kind[],
  productsAhead: boolean,
): Graph {
  const known = study(graph, precision, productsAhead);
  const forms = new Map<Value, Forms>();
  const formsOf = (value: Value): Forms => {
    const found = forms.get(value);
    if (found === undefined) throw new Error(`%${value.id} is used before it is defined`);
    return found;
  };
  const rounding = roundingOf(build, precision);

  graph.inputs.forEach(({ name, role, value }, place) => {
    const input = build.input(name, role, value.type);
    forms.set(value, plain(rounding, input, kinds[place] ?? (role === 'batch' ? 'full' : 'given')));
  });
  for (const node of known.nodes) {
    build.origin = node.origin;
    appendNode(node);
  }
  for (const { name, role, value } of graph.outputs) build.output(name, role, formsOf(value).raw());
  return build.finish();

  function appendNode(node: Node): void {
    const operands = node.inputs.map(formsOf);
    const isExcepted = known.isExcepted(node);
    const treatment = treatmentOf(node);
    const make = (inputs: readonly Value[]): Value => build.node(node.op, inputs, node.attributes)[0];
    if (treatment === 'moves' && !isExcepted) {
      const [of] = operands;
      forms.set(
        node.outputs[0],
        moved(build, rounding, node, of, (value) => make([value])),
      );
      return;
    }
    if (node.op === 'reduce' && isExtreme(node.attributes.monoid) && operands[0].stored && !isExcepted) {
      const result = make([operands[0].low()]);
      const shown = once(() => build.cast(result, 'f32'));
      forms.set(node.outputs[0], {
        kind: operands[0].kind,
        raw: shown,
        low: () => result,
        rounded: shown,
        shown,
        stored: true,
      });
      return;
    }
    const kind = isExcepted
      ? 'full'
      : kindOf(
          node,
          treatment,
          operands.map((operand) => operand.kind),
        );
    const extreme = known.extremeIn(node);
    const isSought = (place: number): boolean => place === extreme && !operands[1 - place].stored;
    const results =
      node.op === 'loop'
        ? build.loop(
            operands.map((operand) => operand.shown()),
            { ...node.attributes, body: insertBody(node, operands) },
          )
        : [make(operands.map((operand, place) => readBy(node, treatment, isExcepted || isSought(place), operand)))];
    node.outputs.forEach((value, place) => {
      const isStored =
        !isExcepted &&
        precision.storage !== 'f32' &&
        value.type.dtype === 'f32' &&
        kind !== 'given' &&
        known.isStored(value, kind);
      const round = (): Value => partsOf(node)?.() ?? rounding.lower(results[place]);
      forms.set(
        value,
        isStored ? stored(build, rounding, node, results[place], round, kind) : plain(rounding, results[place], kind),
      );
    });
  }

  /** Parts laid side by side are rounded one by one: each can be written to its place. */
  function partsOf(node: Node): (() => Value) | undefined {
    if (node.op === 'concat')
      return () =>
        build.node(
          'concat',
          node.inputs.map((value) => formsOf(value).low()),
          node.attributes,
        )[0];
    const paddings = paddingsOf(node, known.inner);
    return (
      paddings &&
      (() => paddings.map(({ outputs: [value] }) => formsOf(value).low()).reduce((a, b) => build.binary('add', a, b)))
    );
  }

  function readBy(node: Node, treatment: string, isRaw: boolean, operand: Forms): Value {
    if (isRaw) return operand.raw();
    const rounds = treatment === 'low' && precision.products !== 'f32' && node.outputs[0].type.dtype === 'f32';
    return rounds ? operand.rounded() : operand.shown();
  }

  /** Inside a loop only products round: what it carries and stacks stays f32. */
  function insertBody(node: Extract<Node, { op: 'loop' }>, operands: readonly Forms[]): Graph {
    const { body, carried, scanned } = node.attributes;
    const inner = operands.map(({ kind }, place): Kind =>
      place < carried + scanned ? 'full' : kind === 'given' ? 'given' : 'full',
    );
    return insertInto(body, precision, build.nested(body.name), inner, known.hasProducts);
  }
}

/** To the low form of a value, and from there to the f32 that is computed with. */
interface Rounding {
  lower(value: Value): Value;
  raise(low: Value): Value;
}

function roundingOf(build: Builder, { products, storage }: Precision): Rounding {
  const low = products === 'f32' ? storage : products;
  if (low === 'tf32') return { lower: (value) => value, raise: (value) => build.unary('tf32', value) };
  return { lower: (value) => build.cast(value, low), raise: (value) => build.cast(value, 'f32') };
}

/** A value that nothing else needs low: rounded only for products. */
function plain({ lower, raise }: Rounding, raw: Value, kind: Kind): Forms {
  const low = once(() => lower(raw));
  return { kind, raw: () => raw, low, rounded: once(() => raise(low())), shown: () => raw, stored: false };
}

/** A value that is kept low, and read as it is kept. */
function stored(build: Builder, { raise }: Rounding, node: Node, raw: Value, round: () => Value, kind: Kind): Forms {
  const low = once(() => standing(build, node, round));
  const rounded = once(() => standing(build, node, () => raise(low())));
  return { kind, raw: () => raw, low, rounded, shown: rounded, stored: true };
}

/** A value read in another order: each of its forms is one of what it reads. */
function moved(build: Builder, { raise }: Rounding, node: Node, of: Forms, move: (value: Value) => Value): Forms {
  const raw = once(() => standing(build, node, () => move(of.raw())));
  const low = once(() => standing(build, node, () => move(of.low())));
  const rounded = once(() => standing(build, node, () => raise(low())));
  return { kind: of.kind, raw, low, rounded, shown: of.stored ? rounded : raw, stored: of.stored };
}

/** What is made for a node comes from there, whenever it is made. */
function standing(build: Builder, node: Node, make: () => Value): Value {
  const before = build.origin;
  build.origin = node.origin;
  const value = make();
  build.origin = before;
  return value;
}

/** The result is one of the values that it is taken of. */
const isExtreme = (monoid: string): boolean => monoid === 'max' || monoid === 'min';

function once(make: () => Value): () => Value {
  let made: Value | undefined;
  return () => (made ??= make());
}

function kindOf(node: Node, treatment: string, operands: readonly Kind[]): Kind {
  if (treatment === 'full') return 'full';
  if (treatment === 'low') return 'follows';
  // Questions and their answers: true and false are the same in every type.
  if (node.outputs[0].type.dtype === 'bool') return 'given';
  if (node.op === 'gather') return operands[0] === 'given' ? 'follows' : operands[0];
  const read = node.op === 'where' ? operands.slice(1) : operands;
  return read.includes('full') ? 'full' : read.includes('follows') ? 'follows' : 'given';
}

interface Study {
  /** In order, those that an output depends on. */
  readonly nodes: readonly Node[];
  readonly hasProducts: boolean;
  isExcepted(node: Node): boolean;
  /** Where a node compares values with the largest or smallest of them: which operand that is. */
  extremeIn(node: Node): number | undefined;
  /** The node of a value that one other alone reads. */
  inner(value: Value): Node | undefined;
  /** Does a value of this kind have to be kept low? */
  isStored(value: Value, kind: Kind): boolean;
}

/** Who reads what, and what comes after it. */
function study(graph: Graph, { except }: Precision, productsAhead: boolean): Study {
  const nodes = nodesBehind(
    graph.nodes,
    graph.outputs.map(({ value }) => value),
  );
  const producers = new Map(nodes.flatMap((node) => node.outputs.map((value) => [value, node] as const)));
  const isExcepted = ({ origin: { path } }: Node): boolean =>
    path !== undefined && except.some((instance) => path === instance || path.startsWith(`${instance}.`));
  const rounds = (node: Node): boolean =>
    node.op === 'loop' ? node.attributes.body.nodes.some(rounds) : treatmentOf(node) === 'low' && !isExcepted(node);

  const readersOf = countUses({ ...graph, nodes });
  const readers = new Map<Value, Set<Node>>();
  const ahead = new Set<Value>(productsAhead ? graph.outputs.map(({ value }) => value) : []);
  const wanted = new Set<Value>();
  for (const node of [...nodes].reverse()) {
    const moves = treatmentOf(node) === 'moves';
    const through = moves ? (readers.get(node.outputs[0]) ?? []) : isExcepted(node) ? [] : [node];
    const isAhead = rounds(node) || node.outputs.some((value) => ahead.has(value));
    for (const value of node.inputs) {
      const known = readers.get(value) ?? new Set();
      for (const reader of through) known.add(reader);
      readers.set(value, known);
      if (isAhead) ahead.add(value);
      if (node.op !== 'loop' && rounds(node)) wanted.add(sourceOf(value));
    }
  }
  return {
    nodes,
    hasProducts: productsAhead || nodes.some(rounds),
    isExcepted,
    extremeIn(node) {
      if (node.op !== 'eq') return undefined;
      const [left, right] = node.inputs.map(sourceOf);
      return isExtremeOf(left, right) ? 0 : isExtremeOf(right, left) ? 1 : undefined;
    },
    inner: (value) => (readersOf.get(value) === 1 ? producers.get(value) : undefined),
    isStored: (value, kind) =>
      wanted.has(value) || (kind === 'follows' && ahead.has(value) && (readers.get(value)?.size ?? 0) > 1),
  };

  function isExtremeOf(value: Value, of: Value): boolean {
    const node = producers.get(value);
    if (node?.op !== 'reduce' && node?.op !== 'cumulative') return false;
    return isExtreme(node.attributes.monoid) && sourceOf(node.inputs[0]) === of;
  }

  /** What a value is another view of. */
  function sourceOf(value: Value): Value {
    const node = producers.get(value);
    return node !== undefined && treatmentOf(node) === 'moves' && !isExcepted(node) ? sourceOf(node.inputs[0]) : value;
  }
}
