/** A graph becomes a frame (where inputs and outputs are), and a frame becomes groups. */
import type { Graph, Node, Value } from '../graph/graph.ts';
import { axisAt, combine, constantAt } from '../loop/build.ts';
import type { Affine } from '../loop/build.ts';
import type { Axis } from '../loop/loop.ts';
import { chooseRoots } from './choose-roots.ts';
import { createBuffer, NeedsRoot, placeOf, shapeOf } from './frame.ts';
import type { Alias, Frame, Place, Session } from './frame.ts';
import { createGroup, waitsOf, outsideReads } from './group.ts';
import type { Group, Loop, Plan } from './group.ts';
import { isPointwise } from './lower.ts';

/** An output: where its value has to end up, and which input it replaces. */
interface Destination {
  readonly value: Value;
  readonly place: Place;
  readonly old?: Value;
  /** Compute it elsewhere and copy at the end: its place is still read while it is computed. */
  readonly indirect?: boolean;
}

/** The frame of the whole program. `indirect` names the outputs that cannot be computed in place. */
export function createMainFrame(session: Session, graph: Graph, indirect: ReadonlySet<string>): Frame {
  const frame = emptyFrame(session, graph, 0);
  for (const { name, role, value } of graph.inputs) frame.places.set(value, wholeBuffer(session, name, role, value));
  const destinations = graph.outputs.map((output): Destination => {
    const { name, role, value } = output;
    if (role === 'result') return { value, place: wholeBuffer(session, name, 'result', value) };
    const input = graph.inputs.find((candidate) => candidate.name === name);
    // A program that gives first values writes what it never reads.
    if (input === undefined) return { value, place: wholeBuffer(session, name, 'state', value) };
    return { value, place: placeOf(frame, input.value), old: input.value, indirect: indirect.has(name) };
  });
  prepareLoops(frame);
  claim(frame, destinations);
  return frame;
}

const wholeBuffer = (
  session: Session,
  name: string,
  role: 'batch' | 'scalar' | 'param' | 'state' | 'result',
  value: Value,
): Place => ({
  buffer: createBuffer(session, name, role, value.type.dtype, shapeOf(value)),
  prefix: [],
  sizes: [],
});

function emptyFrame(session: Session, graph: Graph, depth: number): Frame {
  const producers = new Map<Value, Node>();
  for (const node of graph.nodes) for (const value of node.outputs) producers.set(value, node);
  const live = new Set<Node>();
  const visit = (value: Value): void => {
    const node = producers.get(value);
    if (node === undefined || live.has(node)) return;
    live.add(node);
    node.inputs.forEach(visit);
  };
  for (const { value } of graph.outputs) visit(value);
  return {
    graph,
    session,
    depth,
    producers,
    nodes: graph.nodes.filter((node) => live.has(node)),
    places: new Map(),
    aliases: new Map(),
    roots: new Set(),
    forced: new Set(),
    updates: [],
    kept: new Map(),
    assembled: new Map(),
  };
}

/** Gives every output its place; what is already elsewhere is copied there by a root of its own. */
function claim(frame: Frame, destinations: readonly Destination[]): void {
  for (const { value, place, old, indirect } of destinations) {
    if (value === old) continue;
    const producer = frame.producers.get(value);
    // A scatter adds to a whole buffer, never to a part of one.
    const scattered = producer?.op === 'scatter' && !isPointwise(producer) && place.prefix.length > 0;
    const direct = producer !== undefined && !scattered && !frame.places.has(value) && indirect !== true;
    let source = value;
    if (indirect === true) {
      if (!frame.producers.has(value)) source = copyOf(frame, value);
      frame.forced.add(source);
    }
    const target = direct ? value : copyOf(frame, source);
    frame.places.set(target, place);
    frame.updates.push({ value: target, old, place });
  }
}

function copyOf(frame: Frame, value: Value): Value {
  const copy: Value = { id: value.id, type: value.type };
  const node: Node = {
    op: 'detach',
    inputs: [value],
    outputs: [copy],
    attributes: {},
    origin: frame.producers.get(value)?.origin ?? {},
  };
  frame.nodes.push(node);
  frame.producers.set(copy, node);
  return copy;
}

/** The state a loop carries, all of it over time: slot t is what step t reads, slot t + 1 what it leaves (mirrored when reversed). */
function prepareLoops(frame: Frame): void {
  // What is asked for has a place of its own: a step that makes it writes to both, rather than that all is copied in the end.
  const asked = new Set(frame.graph.outputs.map(({ value }) => value));
  for (const [at, node] of frame.nodes.entries()) {
    if (node.op !== 'loop') continue;
    const trips = Number(node.attributes.trips);
    const inputs = [...node.inputs];
    for (let k = 0; k < node.attributes.carried; k++) {
      const last = node.outputs[k];
      const buffer = createBuffer(frame.session, `v${last.id}.carried`, 'temporary', last.type.dtype, [
        trips + 1,
        ...shapeOf(last),
      ]);
      const [start, end] = node.attributes.reverse ? [trips, 0] : [0, trips];
      const initial = copyOf(frame, inputs[k]);
      frame.nodes.pop();
      inputs[k] = initial;
      const slot = (position: number): Place => ({ buffer, prefix: [constantAt(position)], sizes: [trips + 1] });
      frame.places.set(initial, slot(start));
      frame.places.set(last, slot(end));
      frame.updates.push({ value: initial, old: undefined, place: slot(start) });
    }
    for (let k = node.attributes.carried; k < node.outputs.length; k++) {
      const slots = carriedSlots(node, k);
      if (slots?.isMade === true && asked.has(node.outputs[k])) continue;
      const carrier = slots === undefined ? undefined : frame.places.get(node.outputs[slots.carried]);
      if (slots !== undefined && carrier !== undefined)
        frame.places.set(node.outputs[k], {
          buffer: carrier.buffer,
          prefix: [],
          sizes: [],
          window: { axis: 0, start: slots.start, size: trips + 1 },
        });
    }
    const prepared: Node = { ...node, inputs };
    frame.nodes[at] = prepared;
    for (const value of node.outputs) frame.producers.set(value, prepared);
  }
  // The copies of initial values were only registered as producers: put each before its loop.
  for (let at = frame.nodes.length - 1; at >= 0; at--) {
    const node = frame.nodes[at];
    if (node.op !== 'loop') continue;
    const copies = node.inputs.slice(0, node.attributes.carried).flatMap((value) => frame.producers.get(value) ?? []);
    frame.nodes.splice(at, 0, ...copies);
  }
}

/** Where a loop's stacked result already is, when every step of it is a carried value before or after the step (`isMade`: by it). */
function carriedSlots(
  { attributes: { body, carried, reverse } }: Extract<Node, { op: 'loop' }>,
  output: number,
): { readonly carried: number; readonly start: number; readonly isMade: boolean } | undefined {
  const { value } = body.outputs[output];
  const before = body.inputs.findIndex((input, at) => at < carried && input.value === value);
  if (before >= 0) return { carried: before, start: reverse ? 1 : 0, isMade: false };
  const after = body.outputs.findIndex((other, at) => at < carried && other.value === value);
  return after < 0 ? undefined : { carried: after, start: reverse ? 0 : 1, isMade: true };
}

/** Cuts a frame's work into groups of one root each, in an order of definition. */
export function planFrame(frame: Frame): Plan {
  for (;;) {
    try {
      chooseRoots(frame);
      const groups: Group[] = [];
      for (const node of frame.nodes) {
        if (node.op === 'loop') groups.push(planLoop(frame, node));
        else if (frame.roots.has(node.outputs[0]) && !frame.assembled.has(node.outputs[0]))
          groups.push(createGroup(frame, node.outputs[0]));
      }
      return { frame, groups };
    } catch (error) {
      if (!(error instanceof NeedsRoot) || error.frame !== frame || frame.forced.has(error.value)) throw error;
      frame.forced.add(error.value);
    }
  }
}

function planLoop(frame: Frame, node: Extract<Node, { op: 'loop' }>): Group {
  const { trips, carried, scanned, reverse, body } = node.attributes;
  const axis: Axis = { name: frame.depth === 0 ? 't' : `t${frame.depth + 1}`, size: Number(trips) };
  const position = axisAt(axis);
  const inner = emptyFrame(frame.session, body, frame.depth + 1);
  const later: Affine = combine([{ at: position, scale: 1 }], 1);
  body.inputs.forEach(({ value }, at) => {
    const operand = node.inputs[at];
    if (at < carried) inner.places.set(value, slotOf(placeOf(frame, operand), reverse ? later : position));
    else
      inner.aliases.set(value, {
        frame,
        value: operand,
        prefix: at < carried + scanned ? [position] : [],
      } satisfies Alias);
  });
  prepareLoops(inner);
  claim(
    inner,
    body.outputs.flatMap(({ value }, at): Destination[] => {
      if (at < carried) return [{ value, place: slotOf(placeOf(frame, node.inputs[at]), reverse ? position : later) }];
      const whole = placeOf(frame, node.outputs[at]);
      if (whole.window !== undefined) return [];
      return [
        {
          value,
          place: { buffer: whole.buffer, prefix: [...whole.prefix, position], sizes: [...whole.sizes, axis.size] },
        },
      ];
    }),
  );
  const plan = planFrame(inner);
  const reads = plan.groups.flatMap((group) => outsideReads(group).filter((read) => read.frame !== inner));
  for (const operand of node.inputs.slice(0, carried)) reads.push({ frame, value: operand, index: [], shape: [] });
  const root = {
    value: node.outputs[0] ?? node.inputs[0],
    node,
    axes: [],
    index: [],
    reduce: [],
    inner: [],
    reads,
    waits: waitsOf(frame, node),
  };
  return { kind: 'loop', roots: [root], outer: [], loop: { axis, reverse, body: plan, reads } satisfies Loop };
}

/** The same stack at another position. */
const slotOf = (place: Place, position: Affine): Place => ({
  ...place,
  prefix: [...place.prefix.slice(0, -1), position],
});
