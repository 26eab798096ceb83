/**
 * Data of f64 of which a program only takes a rounded copy come as that: no target but the reference has f64, and NumPy makes little else.
 *
 *   before   %0: f64[8, 2] = batch x        after   %0: f32[8, 2] = batch x
 *            %1: f32[8, 2] = cast(%0)               (uses of %1 read %0)
 *
 * Whoever gives the data rounds them as the cast would have: `chooseInputs`.
 */
import type { Graph, Node, Value } from '../graph/graph.ts';
import { copyNode, mapped, type ValueMap } from '../graph/rewrite.ts';
import { createBuilder } from '../ops/builder.ts';
import type { Dtype } from '../types/dtype.ts';

/** What a number of JavaScript becomes in an array of these as it does in a cast. */
const given: readonly Dtype[] = ['f32', 'i32'];

export function narrowInputs(graph: Graph): Graph {
  const narrow = new Map(
    graph.inputs.flatMap(({ role, value }): [Value, Dtype][] => {
      const dtype = role === 'batch' && value.type.dtype === 'f64' ? onlyCastTo(graph, value) : undefined;
      return dtype === undefined ? [] : [[value, dtype]];
    }),
  );
  if (narrow.size === 0) return graph;
  const build = createBuilder(graph.name);
  const values: ValueMap = new Map();
  for (const { name, role, value } of graph.inputs)
    values.set(value, build.input(name, role, { ...value.type, dtype: narrow.get(value) ?? value.type.dtype }));
  for (const node of graph.nodes)
    if (isCast(node) && narrow.has(node.inputs[0])) values.set(node.outputs[0], mapped(values, node.inputs[0]));
    else copyNode(build, node, values);
  for (const { name, role, value } of graph.outputs) build.output(name, role, mapped(values, value));
  return build.finish();
}

const isCast = ({ op }: Node): boolean => op === 'cast';

/** The one type that everything which reads the value casts it to. */
function onlyCastTo({ nodes, outputs }: Graph, value: Value): Dtype | undefined {
  const readers = nodes.filter(({ inputs }) => inputs.includes(value));
  const [dtype, ...others] = new Set(readers.map((node) => (isCast(node) ? node.outputs[0].type.dtype : undefined)));
  if (others.length > 0 || outputs.some((output) => output.value === value)) return undefined;
  return given.find((one) => one === dtype);
}
