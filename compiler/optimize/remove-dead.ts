/**
 * Drops what no output depends on, also inside loops: per-step results nobody reads, carried values that only feed
 * themselves, sequences and constants the body no longer reads. Inputs of the graph stay: they are its interface.
 *
 *   before   %3: f32[8] = exp(%1)                        after   %4: f32[8] = neg(%1)
 *            %4: f32[8] = neg(%1)                                result y = %4
 *            result y = %4
 */
import type { Node, NodeOf, Value } from '../graph/graph.ts';
import type { Pass } from './pass.ts';

export const removeDead: Pass = {
  name: 'remove-dead',
  doc: 'Drops what no output depends on, also inside loops.',
  tolerance: 0,
  run: (graph) => ({
    ...graph,
    nodes: liveNodes(
      graph.nodes,
      graph.outputs.map(({ value }) => value),
    ),
  }),
};

function liveNodes(nodes: readonly Node[], wanted: readonly Value[]): Node[] {
  const needed = new Set(wanted);
  const kept: Node[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((value) => needed.has(value))) continue;
    const live = node.op === 'loop' ? liveLoop(node, needed) : node;
    for (const value of live.inputs) needed.add(value);
    kept.push(live);
  }
  return kept.reverse();
}

/** The loop without the results, carried values and operands that no needed result depends on. */
function liveLoop(node: NodeOf<'loop'>, needed: ReadonlySet<Value>): NodeOf<'loop'> {
  const { carried, scanned, body } = node.attributes;
  const live = new Set([...node.outputs.keys()].filter((place) => needed.has(node.outputs[place])));
  for (;;) {
    const outputs = body.outputs.filter((_, place) => live.has(place));
    const nodes = liveNodes(
      body.nodes,
      outputs.map(({ value }) => value),
    );
    const read = new Set([...nodes.flatMap(({ inputs }) => inputs), ...outputs.map(({ value }) => value)]);
    const before = live.size;
    for (let place = 0; place < carried; place++) if (read.has(body.inputs[place].value)) live.add(place);
    if (live.size > before) continue;
    const keeps = (place: number): boolean => (place < carried ? live.has(place) : read.has(body.inputs[place].value));
    const count = (from: number, to: number): number =>
      [...node.inputs.keys()].filter((place) => place >= from && place < to && keeps(place)).length;
    return {
      ...node,
      inputs: node.inputs.filter((_, place) => keeps(place)),
      outputs: node.outputs.filter((_, place) => live.has(place)),
      attributes: {
        ...node.attributes,
        carried: count(0, carried),
        scanned: count(carried, carried + scanned),
        body: { ...body, inputs: body.inputs.filter((_, place) => keeps(place)), nodes, outputs },
      },
    };
  }
}
