/**
 * Runs a graph on plain numbers: the meaning of Tensor IR, the `reference` target, and the oracle of everything below.
 */
import { ops } from '../ops/index.ts';
import { showType } from '../ops/rules.ts';
import { concrete, product, sameShape } from '../types/dim.ts';
import type { Graph, NodeOf, OpName, Value } from './graph.ts';
import { IndexOutOfRange, TensorTooLarge } from './op.ts';
import type { Arithmetic, Interpretation, Tensor } from './op.ts';

/**
 * Results by output name, from tensors by input name. Tensors are not changed; results may share memory with inputs.
 */
export function interpretGraph(
  graph: Graph,
  inputs: ReadonlyMap<string, Tensor>,
  arithmetic: Arithmetic,
): Map<string, Tensor> {
  const tensors = graph.inputs.map(({ name, value }) => {
    const tensor = inputs.get(name);
    if (tensor === undefined) throw new Error(`the input ${name} was not given`);
    if (!sameShape(tensor.type.shape, value.type.shape))
      throw new Error(`the input ${name} is ${showType(tensor.type)}, not ${showType(value.type)}`);
    if (tensor.data.length !== product(concrete(tensor.type.shape)))
      throw new Error(`the input ${name} has ${tensor.data.length} elements, not those of ${showType(tensor.type)}`);
    return tensor;
  });
  const context: Interpretation = { ...arithmetic, run: (body, operands) => run(body, operands, context) };
  const results = context.run(graph, tensors);
  return new Map(graph.outputs.map(({ name }, place) => [name, results[place]]));
}

function run(graph: Graph, inputs: readonly Tensor[], context: Interpretation): Tensor[] {
  const tensors = new Map<Value, Tensor>();
  graph.inputs.forEach(({ value }, place) => tensors.set(value, inputs[place]));
  const read = (value: Value): Tensor => {
    const tensor = tensors.get(value);
    if (tensor === undefined) throw new Error(`%${value.id} is used before it is computed`);
    return tensor;
  };
  const last = lastUses(graph);
  for (const node of graph.nodes) {
    const results = runNode(node, node.inputs.map(read), context);
    node.outputs.forEach((value, place) => tensors.set(value, results[place]));
    for (const value of last.get(node.outputs[0]) ?? []) tensors.delete(value);
  }
  return graph.outputs.map(({ value }) => read(value));
}

function runNode<Name extends OpName>(
  node: NodeOf<Name>,
  inputs: readonly Tensor[],
  context: Interpretation,
): Tensor[] {
  try {
    return ops[node.op].interpret(
      inputs,
      node.attributes,
      node.outputs.map(({ type }) => type),
      context,
    );
  } catch (error) {
    if (error instanceof IndexOutOfRange && error.origin === undefined)
      throw new IndexOutOfRange(error.index, error.size, node.origin);
    if (error instanceof TensorTooLarge && error.origin === undefined)
      throw new TensorTooLarge(error.type, node.origin);
    throw error;
  }
}

const lastUsesOf = new WeakMap<Graph, Map<Value, Value[]>>();

/** For each node (by its first result), the values nobody reads after it: a long graph keeps only what is alive. */
function lastUses(graph: Graph): Map<Value, Value[]> {
  const known = lastUsesOf.get(graph);
  if (known !== undefined) return known;
  const seen = new Set<Value>(graph.outputs.map(({ value }) => value));
  const result = new Map<Value, Value[]>();
  for (const node of [...graph.nodes].reverse()) {
    const dying = [...new Set([...node.inputs, ...node.outputs])].filter((value) => !seen.has(value));
    for (const value of dying) seen.add(value);
    result.set(node.outputs[0], dying);
  }
  lastUsesOf.set(graph, result);
  return result;
}
