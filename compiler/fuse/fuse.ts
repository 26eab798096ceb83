/**
 * Tensor IR → Loop IR: a graph of whole tensors becomes a short list of kernels.
 *
 *   choose-roots   which values are kept, which are computed where they are used
 *   plan           every root a group of its own
 *   join           groups that read each other, or the same memory, run together
 *   chain          attention's scores, and all that reads them, for some rows at a time
 *   order          who waits for whom; independent groups share a kernel
 *   emit           groups as segments
 *   write-in-place one temporary for two, where one is read for the last time as the other is written
 *
 * Tolerance: 1e-5 · (1 + |x|). Each value is computed as it was written; what is computed again where it is used may be rounded
 * otherwise by what sums it.
 */
import type { Graph, Node } from '../graph/graph.ts';
import type { Axis, Buffer, Expression, Link, LoopProgram, Scatter, Step } from '../loop/loop.ts';
import { children, linksOf } from '../loop/build.ts';
import { chainGroups } from './chain-groups.ts';
import { nameOfNode } from './decision.ts';
import type { FusionDecision } from './decision.ts';
import { emitKernel } from './emit.ts';
import { producerOf } from './frame.ts';
import type { Frame, Session } from './frame.ts';
import { neededValues, outsideReads } from './group.ts';
import type { Group, Loop, Plan } from './group.ts';
import { joinGroups } from './join.ts';
import { dependencies, gatherKernels, hasHazard, sortGroups, writersOf } from './order.ts';
import { createMainFrame, planFrame } from './plan.ts';
import { writeInPlace } from './write-in-place.ts';

export interface Fused {
  readonly program: LoopProgram;
  readonly decisions: readonly FusionDecision[];
  /** What each kernel computes, by its name, for who asks. An operation that its uses compute is in each of them. */
  readonly operations: ReadonlyMap<string, () => readonly Node[]>;
}

export interface FuseOptions {
  /** Leave chains in one block of all rows: the machine's schedule cuts them. */
  readonly wholeChains?: boolean;
  /** Fuse nothing: a kernel for every operation, to see what fusion is worth. */
  readonly apart?: boolean;
  /** Round the operands of products of halves once, in memory: the machine has matrix instructions, to which they come as they lie. */
  readonly asItLies?: boolean;
  /** Write temporaries where others were read for the last time; if not said, wherever operations are fused. */
  readonly inPlace?: boolean;
}

/** Lowers a graph of concrete sizes to kernels. */
export function fuse(
  graph: Graph,
  { wholeChains = false, apart = false, asItLies = false, inPlace = !apart }: FuseOptions = {},
): Fused {
  const indirect = new Set<string>();
  for (;;) {
    const decisions: FusionDecision[] = [];
    const session: Session = { buffers: new Map(), constants: new Map(), apart, asItLies, wholeChains };
    const plan = planFrame(createMainFrame(session, graph, indirect));
    const blocked = findBlocked(plan);
    if (blocked === undefined) {
      const tell = (decision: FusionDecision): void => void decisions.push(decision);
      const operations = new Map<string, () => readonly Node[]>();
      const joined = apart ? plan : joinPlan(plan, tell);
      const program = assemble(graph, session, emitPlan(joined, [], operations));
      const kept = apart ? [] : keptIn(joined, new Set(program.buffers));
      return {
        program: inPlace ? writeInPlace(program) : program,
        decisions: [...kept, ...decisions],
        operations,
      };
    }
    if (indirect.has(blocked)) throw new Error(`'${blocked}' cannot be updated`);
    indirect.add(blocked);
  }
}

/** Joins the groups of a frame and of the loops in it, and makes chains of them. */
function joinPlan({ frame, groups }: Plan, decide: (decision: FusionDecision) => void): Plan {
  const inner = groups.map((group): Group =>
    group.loop === undefined
      ? group
      : { ...group, loop: { ...group.loop, body: joinPlan(group.loop.body, repeated(decide, group.loop)) } },
  );
  const joined = joinGroups(frame, inner, decide);
  return { frame, groups: chainGroups(frame, joined, decide) };
}

/** What is decided for one trip of a loop saves its bytes in each. */
const repeated =
  (decide: (decision: FusionDecision) => void, { axis }: Loop) =>
  (decision: FusionDecision): void =>
    decide({ ...decision, bytesSaved: decision.bytesSaved * axis.size });

/** What its uses could compute, and is in memory instead; not what was joined to them after all. */
const keptIn = ({ frame, groups }: Plan, buffers: ReadonlySet<Buffer>): FusionDecision[] => [
  ...groups.flatMap(({ loop }) => (loop === undefined ? [] : keptIn(loop.body, buffers))),
  ...[...frame.kept].flatMap(([value, reason]): FusionDecision[] => {
    const place = frame.places.get(value);
    if (place === undefined || !buffers.has(place.buffer)) return [];
    return [
      { producer: nameOfNode(producerOf(frame, value)), consumer: 'its uses', fused: false, reason, bytesSaved: 0 },
    ];
  }),
];

/** An update that cannot be done in place: its buffer is still read when, or after, it is computed. */
function findBlocked({ frame, groups }: Plan): string | undefined {
  const nameOf = (value: unknown): string | undefined =>
    frame.updates.find((update) => update.value === value)?.place.buffer.name;
  for (const group of groups) {
    const hazard = hasHazard(frame, group);
    if (hazard !== undefined) return nameOf(hazard);
  }
  const { circle } = sortGroups(groups, dependencies(frame, groups));
  if (circle.length === 0) return undefined;
  const writer = writersOf(groups);
  const update = frame.updates.find(({ value, old }) => {
    const group = writer.get(value);
    return (
      old !== undefined &&
      group !== undefined &&
      circle.includes(group) &&
      circle.some((reader) => outsideReads(reader).some((read) => read.value === old))
    );
  });
  if (update === undefined) throw new Error(`the groups of '${frame.graph.name}' wait for each other`);
  return update.place.buffer.name;
}

function emitPlan(plan: Plan, enclosing: readonly Axis[], operations: Map<string, () => readonly Node[]>): Step[] {
  const { frame, groups } = plan;
  const before = dependencies(frame, groups);
  const { sorted } = sortGroups(groups, before);
  const needed = neededValues(frame, groups);
  const kernels = frame.session.apart ? sorted.map((group) => [group]) : gatherKernels(sorted, before);
  return kernels.map((together): Step => {
    const [{ loop }] = together;
    if (loop !== undefined)
      return {
        kind: 'repeat',
        axis: loop.axis,
        reverse: loop.reverse,
        body: emitPlan(loop.body, [...enclosing, loop.axis], operations),
      };
    const name = `k${operations.size}`;
    operations.set(name, () => operationsOf(frame, together));
    return emitKernel({ frame, isNeeded: (value) => needed.has(value) }, together, name, enclosing);
  });
}

/** The nodes that groups compute: those of their roots, and between them and what is in memory. */
function operationsOf(frame: Frame, groups: readonly Group[]): readonly Node[] {
  const found = new Set<Node>();
  const visit = (node: Node): void => {
    if (found.has(node)) return;
    found.add(node);
    for (const value of node.inputs) {
      const producer = frame.producers.get(value);
      if (producer !== undefined && !frame.roots.has(value)) visit(producer);
    }
  };
  for (const { roots } of groups) for (const { node } of roots) visit(node);
  return frame.nodes.filter((node) => found.has(node));
}

/** The program with the buffers it uses. */
function assemble(graph: Graph, session: Session, steps: readonly Step[]): LoopProgram {
  const used = new Set<Buffer>();
  const visit = (expression: Expression): void => {
    if (seen.has(expression)) return;
    seen.add(expression);
    if (expression.kind === 'load') used.add(expression.access.buffer);
    children(expression).forEach(visit);
  };
  const seen = new Set<Expression>();
  const visitStep = (step: Step): void =>
    step.kind === 'repeat'
      ? step.body.forEach(visitStep)
      : step.segments.flatMap(linksOf).forEach((segment) => visitSegment(segment, visit, used));
  steps.forEach(visitStep);
  const fixed: ReadonlySet<string> = new Set(['batch', 'scalar', 'param', 'state', 'result']);
  return {
    name: graph.name,
    buffers: [...session.buffers.values()].filter((buffer) => fixed.has(buffer.role) || used.has(buffer)),
    steps,
  };
}

function visitSegment(segment: Link | Scatter, visit: (expression: Expression) => void, used: Set<Buffer>): void {
  const store = ({ access, value }: { access: { buffer: Buffer }; value: Expression }): void => {
    used.add(access.buffer);
    visit(value);
  };
  if (segment.kind === 'scatter') {
    used.add(segment.target);
    visit(segment.id);
    visit(segment.value);
  } else if (segment.kind === 'contraction') {
    visit(segment.left);
    visit(segment.right);
    segment.stores.forEach(store);
  } else
    for (const stage of segment.stages) {
      if (stage.kind === 'reduce') stage.results.forEach(({ value }) => visit(value));
      else stage.stores.forEach(store);
      if (stage.kind === 'cumulate') visit(stage.value);
    }
}

export type { FusionDecision } from './decision.ts';
