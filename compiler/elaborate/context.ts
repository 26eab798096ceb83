/**
 * Where evaluation happens: the graph that is being built, its mode, and what was collected on the way.
 */
import type { ConstantDeclaration, Expression } from '../../grammar/ast.ts';
import { diagnose, Diagnostics, Problem, undecided, type Extra, type Label } from '../base/diagnostics.ts';
import type { Code, Holes } from '../base/messages.ts';
import { showPlace, type Span } from '../base/source.ts';
import type { Builder } from '../graph/build.ts';
import type { Value as GraphValue } from '../graph/graph.ts';
import { OpTypeError } from '../graph/op.ts';
import { show, product, type Dim } from '../types/dim.ts';
import type { IndexScope } from './index-ranges.ts';
import type { Scope } from './scope.ts';
import { slotPath, unknown, type Slot, type Value } from './value.ts';

/** The evaluator's functions call each other; through this record, so that files do not import in circles. */
export interface Evaluator {
  evaluate(context: Context, scope: Scope, expression: Expression): Value;
  /** Calls a function, or applies an instance or a list of them. */
  apply(context: Context, callee: Value, given: readonly Given[], span: Span): Value;
  /** `zeros[2, 3]`, `randint[64]`, `normal(0.1)[3]`. */
  ofShape(context: Context, callee: Value, shape: readonly Dim[], span: Span): Value;
}

/** An argument that was evaluated. */
export interface Given {
  readonly name?: string;
  readonly value: Value;
  readonly span: Span;
}

export interface Context {
  readonly evaluator: Evaluator;
  /** The graph's own builder: parameters and the driver's scalars enter here. */
  readonly root: Builder;
  /** Where values are added: the root, or the body of a scan. */
  builder: Builder;
  /** Sizes are symbols, the graph is thrown away, undecided conditions check both sides. */
  readonly symbolic: boolean;
  /** The value of `training`; undefined checks both sides. */
  training: boolean | undefined;
  readonly diagnostics: Diagnostics;
  /** Parameters and buffers that this graph reads: the next value of an assigned buffer replaces it. */
  readonly slots: Map<Slot, GraphValue>;
  /** Parameters and buffers that a branch names which is not taken. */
  readonly cut: Map<Slot, Span>;
  /** Buffers that were assigned while training. */
  readonly updates: Map<Slot, GraphValue>;
  /** u32[2] and u32[]: made as inputs of the graph when something random is first drawn. */
  seed: GraphValue | undefined;
  step: GraphValue | undefined;
  /** Calls under way, outermost first. */
  readonly frames: Frame[];
  /** The instance that is being applied. */
  path: string | undefined;
  /** Shape of the parameter whose initializer is being evaluated. */
  shape: readonly Dim[] | undefined;
  index: IndexScope | undefined;
  /** Set inside the body of a scan: what its random numbers depend on besides the step; it notes that they were drawn. */
  loop: LoopBody | undefined;
  /** How many expressions deep evaluation is, through all calls. */
  depth: number;
  /** How many conditions deep that are only known while running. */
  branches: number;
  /** Random draws so far by path, so that each has its own stream. */
  readonly draws: Map<string, number>;
  /** Instances that nobody named, by name of their layer. */
  readonly anonymous: Map<string, number>;
  readonly constants: Map<ConstantDeclaration, Value | 'busy'>;
}

/** The body of a scan. */
export interface LoopBody {
  /** The number of the iteration (u32), once it is known that the body draws. */
  readonly iteration: GraphValue | undefined;
  drew: boolean;
  readonly outer: LoopBody | undefined;
}

export interface Frame {
  readonly name: string;
  readonly span: Span;
  readonly kind: 'function' | 'layer' | 'init';
  readonly declaration: { readonly span: Span };
}

export interface ContextOptions {
  readonly symbolic?: boolean;
  readonly training?: boolean;
  /** Given where the graph has them under other names; else inputs `seed` and `step` are made when needed. */
  readonly seed?: GraphValue;
  readonly step?: GraphValue;
}

/** `evaluate.ts` hands itself in; everybody else calls its `createContext`. */
export function createContextWith(
  evaluator: Evaluator,
  builder: Builder,
  diagnostics: Diagnostics,
  options: ContextOptions = {},
): Context {
  const symbolic = options.symbolic ?? false;
  return {
    evaluator,
    root: builder,
    builder,
    symbolic,
    training: symbolic ? undefined : (options.training ?? false),
    diagnostics,
    slots: new Map(),
    cut: new Map(),
    updates: new Map(),
    seed: options.seed,
    step: options.step,
    frames: [],
    path: undefined,
    depth: 0,
    shape: undefined,
    index: undefined,
    loop: undefined,
    branches: 0,
    draws: new Map(),
    anonymous: new Map(),
    constants: new Map(),
  };
}

/** Stops here with a diagnostic. The nearest statement, member or declaration collects it. */
export function fail<C extends Code>(
  context: Context,
  code: C,
  holes: Holes<C>,
  labels: readonly Label[],
  extra: Extra = {},
): never {
  throw new Problem(
    diagnose(code, holes, labels, {
      ...extra,
      notes: [...(extra.notes ?? []), ...callNotes(context, labels[0]?.span)],
    }),
  );
}

/** Stops here without a word: this depends on what is not known. */
export function giveUp(): never {
  throw new Problem({
    code: undecided,
    severity: 'error',
    message: 'This depends on something that is not known here.',
    labels: [],
    notes: [],
  });
}

/** A label without words of its own. */
export const at = (span: Span, text = ''): Label => ({ span, text });

/** The calls that led here, innermost first; not the place itself, nor what a check calls in the definition's own name. */
function callNotes(context: Context, primary: Span | undefined): string[] {
  if (primary === undefined) return [];
  const { source, start } = primary;
  const words = { function: 'called', layer: 'applied', init: 'made' } as const;
  const notes = context.frames
    .filter(
      ({ span, declaration }) => !(span.source === source && span.start === start) && !within(span, declaration.span),
    )
    .map((call) => `in \`${call.name}\`, ${words[call.kind]} at ${showPlace(call.span)}`);
  return [...new Set(notes)].slice(-4).reverse();
}

const within = (inner: Span, outer: Span): boolean =>
  inner.source === outer.source && inner.start >= outer.start && inner.end <= outer.end;

/** Runs something that may fail; a failure is collected and gives `unknown`, so that one mistake gives one message. */
export function attempt(context: Context, work: () => Value): Value {
  const saved = snapshot(context);
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    context.diagnostics.report(error.diagnostic);
    saved();
    return unknown;
  }
}

/** Where evaluation stands: what a part of it may change for itself. */
type Position = Pick<Context, 'builder' | 'training' | 'path' | 'shape' | 'index' | 'loop' | 'branches' | 'depth'>;

/** Notes where evaluation stands; the result goes back there. */
export function snapshot(context: Context): () => void {
  const { builder, training, path, shape, index, loop, branches, depth } = context;
  const frames = context.frames.length;
  return () => {
    Object.assign(context, { builder, training, path, shape, index, loop, branches, depth });
    context.frames.length = frames;
  };
}

/** Runs a part of the evaluation somewhere else, and comes back, also from a failure. */
export function standing<T>(context: Context, position: Partial<Position>, work: () => T): T {
  const back = snapshot(context);
  Object.assign(context, position);
  try {
    return work();
  } finally {
    back();
  }
}

/** Runs with the root builder, for what must outlive the body of a scan. */
export const atRoot = <T>(context: Context, work: () => T): T =>
  standing(context, { builder: context.root, index: undefined, loop: undefined }, work);

/** Elements beyond which no tensor of a user's program goes. */
const largestTensor = 2 ** 40;
const mostNodes = 1_000_000;
/** A generic check need not go as far to see that a definition multiplies without end. */
const mostNodesOpen = 20_000;

/** Adds to the graph on behalf of a place in the source. A type rule that objects becomes a diagnostic there. */
export function emit(context: Context, span: Span, add: (builder: Builder) => GraphValue): GraphValue {
  return emitAll(context, span, (builder) => [add(builder)])[0];
}

export function emitAll(
  context: Context,
  span: Span,
  add: (builder: Builder) => readonly GraphValue[],
): readonly GraphValue[] {
  const { builder } = context;
  builder.origin = context.path === undefined ? { span } : { span, path: context.path };
  try {
    const values = add(builder);
    for (const { type } of values) {
      const size = product(type.shape);
      if (typeof size === 'number' && size > largestTensor)
        fail(
          context,
          'too-large',
          { what: `This tensor has ${show(size)} elements; the largest that is allowed has 2^40.` },
          [at(span)],
        );
    }
    const limit = context.symbolic ? mostNodesOpen : mostNodes;
    if (builder.nodes.length > limit)
      fail(context, 'too-large', { what: `This program has more than ${limit} operations.` }, [at(span)], {
        hint: 'A `scan` repeats a body without copying it.',
      });
    return values;
  } catch (error) {
    if (!(error instanceof OpTypeError)) throw error;
    const message = error.message.endsWith('.') ? error.message : `${error.message}.`;
    throw new Problem({
      code: error.code,
      severity: 'error',
      message,
      labels: [at(span)],
      notes: callNotes(context, span),
    });
  }
}

/** A parameter or buffer as a value of this graph: its current value if it was assigned. */
export function readSlot(context: Context, slot: Slot): GraphValue {
  const known = context.slots.get(slot);
  if (known !== undefined) return known;
  nameAnonymous(context, slot);
  const role = slot.declaration.role === 'param' ? 'param' : 'state';
  const saved = context.root.origin;
  context.root.origin = { span: slot.declaration.span, path: slotPath(slot) };
  const value = context.root.input(slotPath(slot), role, slot.type);
  context.root.origin = saved;
  context.slots.set(slot, value);
  return value;
}

/** An instance nobody bound takes its layer's name, numbered from the second on. */
function nameAnonymous(context: Context, slot: Slot): void {
  let outermost = slot.owner;
  while (outermost.owner !== undefined) outermost = outermost.owner;
  if (outermost.name !== undefined) return;
  const name = outermost.declaration.name.name;
  const count = (context.anonymous.get(name) ?? 0) + 1;
  context.anonymous.set(name, count);
  outermost.name = count === 1 ? name : `${name}${count}`;
}
