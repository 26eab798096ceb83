/** Programs as plain data for other tools: what the texts say, without a parser. */
import type { ProgramAnalysis } from '../../compiler/analyze/analyze.ts';
import { showPlace } from '../../compiler/base/source.ts';
import type { Graph, Origin, Value } from '../../compiler/graph/graph.ts';
import type { LoopProgram, Step } from '../../compiler/loop/loop.ts';
import { printStep } from '../../compiler/loop/text.ts';
import type { TileProgram, TileStep } from '../../compiler/tile/tile.ts';
import { show } from '../../compiler/types/dim.ts';

const valueAsJson = ({ id, type }: Value): unknown => ({
  id,
  dtype: type.dtype,
  shape: type.shape.map((size) => (typeof size === 'number' ? size : show(size))),
});

function originAsJson({ path, span, place }: Origin): Record<string, string> {
  const where = span === undefined ? place : showPlace(span);
  return { ...(path !== undefined && { path }), ...(where !== undefined && { place: where }) };
}

export function graphAsJson(graph: Graph): unknown {
  return {
    name: graph.name,
    inputs: graph.inputs.map(({ name, role, value }) => ({ name, role, value: valueAsJson(value) })),
    nodes: graph.nodes.map((node) => ({
      op: node.op,
      inputs: node.inputs.map(({ id }) => id),
      outputs: node.outputs.map(valueAsJson),
      attributes:
        node.op === 'loop' ? { ...node.attributes, body: graphAsJson(node.attributes.body) } : node.attributes,
      ...originAsJson(node.origin),
    })),
    outputs: graph.outputs.map(({ name, role, value }) => ({ name, role, value: value.id })),
  };
}

/** Kernels with what they cost; their expressions as the text that reads back. */
export function loopAsJson(program: LoopProgram, analysis: ProgramAnalysis): unknown {
  const costs = new Map(analysis.kernels.map((kernel) => [kernel.kernel, kernel]));
  const stepAsJson = (step: Step): unknown => {
    if (step.kind === 'repeat')
      return { repeat: step.axis.name, trips: step.axis.size, reverse: step.reverse, body: step.body.map(stepAsJson) };
    const found = costs.get(step);
    const lines: string[] = [];
    printStep(step, '', lines);
    return {
      kernel: step.name,
      phase: found?.phase,
      segments: step.segments.map(({ kind }) => kind),
      flops: found?.cost.flops,
      reads: Object.fromEntries([...(found?.cost.reads ?? [])].map(([buffer, bytes]) => [buffer.name, bytes])),
      writes: Object.fromEntries([...(found?.cost.writes ?? [])].map(([buffer, bytes]) => [buffer.name, bytes])),
      origins: step.origins.map(originAsJson),
      text: lines.join('\n'),
    };
  };
  return { name: program.name, buffers: program.buffers, steps: program.steps.map(stepAsJson) };
}

/** Buffers with their places, and launches. */
export function tileAsJson(program: TileProgram): unknown {
  const stepAsJson = (step: TileStep): unknown =>
    step.kind === 'repeat'
      ? { repeat: step.index.name, trips: step.trips, reverse: step.reverse, body: step.body.map(stepAsJson) }
      : {
          kernel: step.kernel.name,
          grid: step.kernel.grid,
          workgroup: step.kernel.workgroup,
          buffers: step.buffers,
          scratch: step.kernel.scratch.map(({ name, dtype, size }) => ({ name, dtype, size })),
        };
  return { name: program.name, arena: program.arena, buffers: program.buffers, steps: program.steps.map(stepAsJson) };
}
