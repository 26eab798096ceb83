/**
 * A program that says how large the numbers are that another rounds to two bytes: for the error message of a run whose
 * numbers do not fit. Changes no state.
 */
import type { Graph, Origin, Value } from '../graph/graph.ts';
import { copyNode, mapped, nodesBehind, type ValueMap } from '../graph/rewrite.ts';
import { createBuilder } from '../ops/builder.ts';

/** A rounding of the program, in its order; its result `name` is the largest size of the numbers rounded. */
export interface Probe {
  readonly name: string;
  readonly dtype: 'f16' | 'bf16';
  readonly origin: Origin;
}

/** Of a graph with its casts in place. Those inside loops are not looked at. */
export function probeCasts(graph: Graph): { readonly graph: Graph; readonly probes: readonly Probe[] } {
  const build = createBuilder(`${graph.name}.probe`);
  const values: ValueMap = new Map();
  for (const { name, role, value } of graph.inputs) values.set(value, build.input(name, role, value.type));
  const probes: Probe[] = [];
  for (const node of graph.nodes) {
    copyNode(build, node, values);
    const dtype = node.op === 'cast' && node.inputs[0].type.dtype === 'f32' ? node.attributes.dtype : 'f32';
    if (dtype !== 'f16' && dtype !== 'bf16') continue;
    const name = `probe.${probes.length}`;
    probes.push({ name, dtype, origin: node.origin });
    build.output(name, 'result', peak(mapped(values, node.inputs[0])));
  }
  const probed = build.finish();
  return {
    graph: {
      ...probed,
      nodes: nodesBehind(
        probed.nodes,
        probed.outputs.map(({ value }) => value),
      ),
    },
    probes,
  };

  function peak(value: Value): Value {
    return build.reduce(
      'max',
      build.unary('abs', value),
      value.type.shape.map((_, axis) => axis),
    );
  }
}
