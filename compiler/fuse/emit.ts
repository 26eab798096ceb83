/** Groups to segments of Loop IR: names, stages, which roots reach memory. */
import type { Monoid, Node, Origin, Value } from '../graph/graph.ts';
import { affine, sameIndex } from '../loop/build.ts';
import type { Affine } from '../loop/build.ts';
import type {
  Axis,
  Chain,
  Contraction,
  Expression,
  Kernel,
  Link,
  Region,
  Result,
  Scatter,
  Stage,
  Store,
} from '../loop/loop.ts';
import { coalesceAxes } from './coalesce-axes.ts';
import { accessAt, placeOf, shapeOf } from './frame.ts';
import type { Frame } from './frame.ts';
import { isOneStep } from './choose-roots.ts';
import { rootOperands } from './group.ts';
import type { Group, Links, Root } from './group.ts';
import { isPointwise, lowerNode } from './lower.ts';
import type { Scope } from './lower.ts';
import { makeChain } from './make-chain.ts';
import { reshapeIndex } from './reshape-index.ts';

/** What emission needs to know about the groups around: which values somebody else reads. */
export interface Surroundings {
  readonly frame: Frame;
  isNeeded(value: Value): boolean;
}

/** The kernel of some independent groups; `enclosing` are the axes of the repeats around it. */
export function emitKernel(
  around: Surroundings,
  groups: readonly Group[],
  name: string,
  enclosing: readonly Axis[],
): Kernel {
  const names = new Set(enclosing.map((axis) => axis.name));
  const segments = groups.map((group) =>
    group.chain === undefined ? coalesceAxes(emitGroup(around, group, names)) : emitChain(around, group.chain, names),
  );
  const origins = new Set<Origin>(groups.flatMap((group) => group.roots.map(({ node }) => node.origin)));
  return { kind: 'kernel', name, segments, origins: [...origins] };
}

/** The chain of some groups, which hand on the values to each other. */
export function emitChain(around: Surroundings, { parts, handed }: Links, names: Set<string>): Chain {
  const links = parts.map((part) => emitGroup(around, part, names)).filter((link) => link.kind !== 'scatter');
  const possible = new Set(handed.map((value) => placeOf(around.frame, value).buffer));
  return makeChain(links, possible, around.frame.session.wholeChains);
}

/** A group as a segment whose axes are still apart. */
function emitGroup(around: Surroundings, group: Group, names: Set<string>): Link | Scatter {
  const kept = new Set(group.roots.flatMap(({ value }) => (around.isNeeded(value) ? [value] : [])));
  for (;;) {
    const attempt = new Set(names);
    const emitter = createEmitter(around, group, kept, attempt);
    try {
      const segment = emitter();
      for (const name of attempt) names.add(name);
      return segment;
    } catch (error) {
      if (!(error instanceof MustKeep)) throw error;
      kept.add(error.value);
    }
  }
}

/** A later stage reads the value at another point of the inner axes than the one at hand: it has to be stored. */
class MustKeep {
  readonly value: Value;
  constructor(value: Value) {
    this.value = value;
  }
}

/** The root does not fit into the stage at hand. */
class NextStage {}

function freshName(names: Set<string>, base: string): string {
  let name = base;
  for (let count = 2; names.has(name); count++) name = `${base}${count}`;
  names.add(name);
  return name;
}

function freshAxis(names: Set<string>, letters: string, size: number): Axis {
  const letter = [...letters].find((candidate) => !names.has(candidate));
  return { name: freshName(names, letter ?? letters[0]), size };
}

/** Where a root of the group is at hand: in which stage, at which index. */
interface Made {
  readonly root: Root;
  readonly index: readonly Affine[];
  readonly stage: OpenStage | undefined;
  readonly result: Expression | undefined;
}

interface OpenStage {
  readonly kind: 'reduce' | 'store' | 'cumulate';
  readonly axes: readonly Axis[];
  readonly results: {
    readonly result: Result;
    readonly monoid: Monoid | 'argmax' | 'argmin';
    readonly value: Expression;
  }[];
  readonly stores: Store[];
  readonly root: Root;
}

function createEmitter(
  around: Surroundings,
  group: Group,
  kept: ReadonlySet<Value>,
  names: Set<string>,
): () => Link | Scatter {
  const { frame } = around;
  const named = new Map<Axis, Axis>(group.outer.map((axis) => [axis, freshAxis(names, 'ijklmn', axis.size)]));
  const outer = [...named.values()];
  const made = new Map<Value, Made>();
  let current: OpenStage | undefined;

  const scope: Scope = {
    memo: new Map(),
    conditions: new Map(),
    own(owner, value, index, shape) {
      const known = owner === frame ? made.get(value) : undefined;
      if (known === undefined) return undefined;
      const own = reshapeIndex(index, shape, shapeOf(value));
      const here = own !== undefined && !('axis' in own) && sameIndex(own, known.index);
      if (known.stage?.kind === 'cumulate') {
        if (!kept.has(value)) throw new MustKeep(value);
        return undefined;
      }
      if (known.result !== undefined) {
        if (known.stage !== undefined && known.stage === current) throw new NextStage();
        if (!here) throw new Error('a reduction is read at another point than its own');
        return known.result;
      }
      const inStage = known.stage === current;
      if (here && (inStage || known.root.axes.every((axis) => group.outer.includes(axis))))
        return lowerNode(scope, frame, value, known.root.node, known.index);
      // Nobody else reads it, and what it is made of is as near as it would be itself.
      if (!kept.has(value) && own !== undefined && !('axis' in own) && isOneStep(frame, known.root.node))
        return lowerNode(scope, frame, value, known.root.node, own);
      if (inStage) throw new NextStage();
      if (!kept.has(value)) throw new MustKeep(value);
      return undefined;
    },
  };

  const rename = (coordinates: readonly Affine[]): Affine[] =>
    coordinates.map(({ terms, offset, divisor }) =>
      affine(
        terms.map(({ axis, scale }) => ({ axis: named.get(axis) ?? axis, scale })),
        offset,
        divisor,
      ),
    );
  const storeOf = (root: Root, index: readonly Affine[], value: Expression): Store => ({
    access: accessAt(placeOf(frame, root.value), shapeOf(root.value), index),
    value,
  });
  const resultOf = (root: Root): { readonly result: Result; readonly expression: Expression } => {
    const result: Result = {
      name: freshName(names, `${resultPrefix(root.node)}${root.value.id}`),
      dtype: root.value.type.dtype,
    };
    return { result, expression: { kind: 'result', dtype: result.dtype, of: result } };
  };
  const nameAxes = (axes: readonly Axis[], letters: string): Axis[] =>
    axes.map((axis) => {
      const known = named.get(axis) ?? freshAxis(names, letters, axis.size);
      named.set(axis, known);
      return known;
    });

  function contraction(): Contraction {
    const [main, ...epilogue] = group.roots;
    const reduce = nameAxes(main.reduce, 'kpqrs');
    const index = rename(main.index);
    const [left, right] = rootOperands(scope, frame, main, index, rename(main.inner));
    const { result, expression } = resultOf(main);
    made.set(main.value, { root: main, index, stage: undefined, result: expression });
    const stores: Store[] = kept.has(main.value) ? [storeOf(main, index, expression)] : [];
    for (const root of epilogue) {
      const at = rename(root.index);
      made.set(root.value, { root, index: at, stage: undefined, result: undefined });
      if (kept.has(root.value)) stores.push(storeOf(root, at, scopeValue(root, at)));
    }
    const node = frame.producers.get(main.value);
    const bytes = node?.op === 'contract' && node.attributes.bytes;
    return { kind: 'contraction', axes: outer, reduce, left, right, ...(bytes === true && { bytes }), result, stores };
  }

  const scopeValue = (root: Root, index: readonly Affine[]): Expression => {
    const entries = scope.memo.get(root.value);
    const known = entries?.find((entry) => sameIndex(entry.index, index));
    if (known !== undefined) return known.expression;
    const expression = lowerNode(scope, frame, root.value, root.node, index);
    scope.memo.set(root.value, [...(entries ?? []), { index, expression }]);
    return expression;
  };

  function scatter(): Scatter {
    const [root] = group.roots;
    if (root.node.op !== 'scatter') throw new Error('a scatter group holds one scatter');
    const { batch: count, size } = root.node.attributes;
    const axesOf = (coordinates: readonly Affine[]): Axis[] =>
      coordinates.flatMap(({ terms }) => terms.map(({ axis }) => axis));
    const walk = nameAxes(root.reduce, 'pqrs');
    const index = rename(root.index);
    const batch = axesOf(index.slice(0, count));
    const rest = axesOf(index.slice(count + 1));
    const [id, value] = rootOperands(scope, frame, root, index, rename(root.inner));
    const place = placeOf(frame, root.value);
    if (place.prefix.length > 0) throw new Error('a scatter writes whole buffers');
    return {
      kind: 'scatter',
      batch,
      walk,
      rest,
      id,
      value,
      target: place.buffer,
      shape: [...batch.map((axis) => axis.size), size as number, ...rest.map((axis) => axis.size)],
    };
  }

  function region(): Region {
    const stages: OpenStage[] = [];
    const last: Store[] = [];
    for (const root of group.roots) {
      const kind = stageKind(root.node);
      const inner = kind === 'reduce' ? root.reduce : root.axes.filter((axis) => !group.outer.includes(axis));
      const taken = stages.slice(firstStage(root, stages)).some((open) => {
        if (kind === 'cumulate' || open.kind !== kind || !fits(open.axes, inner)) return false;
        current = open;
        inner.forEach((axis, at) => named.set(axis, open.axes[at]));
        if (place(root, open, last)) return true;
        for (const axis of inner) named.delete(axis);
        return false;
      });
      if (taken) continue;
      current = { kind, axes: nameAxes(inner, 'pqrs'), results: [], stores: [], root };
      stages.push(current);
      if (!place(root, current, last)) throw new Error('a root does not fit into a stage of its own');
    }
    if (last.length > 0) stages.push({ kind: 'store', axes: [], results: [], stores: last, root: group.roots[0] });
    const closed = stages.flatMap(closeStage);
    const [only] = closed;
    // Points of a single list of stores are all independent.
    if (closed.length === 1 && only.kind === 'store')
      return { kind: 'region', axes: [...outer, ...only.axes], stages: [{ ...only, axes: [] }] };
    return { kind: 'region', axes: outer, stages: closed };
  }

  /** The earliest stage in which everything of this group that the root reads is at hand. */
  function firstStage(root: Root, stages: readonly OpenStage[]): number {
    let first = 0;
    for (const { value } of root.reads) {
      const known = made.get(value);
      if (known?.stage !== undefined)
        first = Math.max(first, stages.indexOf(known.stage) + (known.result === undefined ? 0 : 1));
    }
    return first;
  }

  /** Adds a root to a stage; false if it reads something that is not ready there. */
  function place(root: Root, stage: OpenStage, last: Store[]): boolean {
    const index = rename(root.index);
    let value: Expression;
    try {
      value =
        stage.kind === 'store'
          ? scopeValue(root, index)
          : rootOperands(scope, frame, root, index, rename(root.inner)).reduce((a, b) => ({
              kind: 'apply',
              dtype: a.dtype,
              op: 'mul',
              operands: [a, b],
            }));
    } catch (error) {
      if (error instanceof NextStage) return false;
      throw error;
    }
    if (stage.kind === 'store') {
      made.set(root.value, { root, index, stage, result: undefined });
      if (kept.has(root.value)) stage.stores.push(storeOf(root, index, value));
      return true;
    }
    const { result, expression } = resultOf(root);
    made.set(root.value, { root, index, stage, result: expression });
    stage.results.push({ result, monoid: monoidOf(root.node), value });
    if (kept.has(root.value)) (stage.kind === 'cumulate' ? stage.stores : last).push(storeOf(root, index, expression));
    return true;
  }

  return () => (group.kind === 'contraction' ? contraction() : group.kind === 'scatter' ? scatter() : region());
}

const fits = (axes: readonly Axis[], others: readonly Axis[]): boolean =>
  axes.length === others.length && axes.every((axis, at) => axis.size === others[at].size);

export const stageKind = (node: Node): 'reduce' | 'store' | 'cumulate' =>
  isPointwise(node) ? 'store' : node.op === 'cumulative' ? 'cumulate' : 'reduce';

function monoidOf(node: Node): Monoid | 'argmax' | 'argmin' {
  if (node.op === 'reduce') return node.attributes.monoid;
  if (node.op === 'argreduce') return node.attributes.monoid === 'max' ? 'argmax' : 'argmin';
  return node.op === 'cumulative' ? node.attributes.monoid : 'sum';
}

const resultPrefix = (node: Node): string => (node.op === 'contract' ? 'dot' : monoidOf(node));

/** A stage that is complete; none for one whose values nobody keeps. */
function closeStage(stage: OpenStage): Stage[] {
  const { kind, axes, results, stores, root } = stage;
  if (kind === 'store') return stores.length === 0 ? [] : [{ kind, axes, stores }];
  if (kind === 'reduce') return [{ kind, axes, results }];
  const [{ result, monoid, value }] = results;
  if (root.node.op !== 'cumulative' || monoid === 'argmax' || monoid === 'argmin')
    throw new Error('only running combinations accumulate');
  return [{ kind, axis: axes[0], reverse: root.node.attributes.reverse, monoid, value, result, stores }];
}
