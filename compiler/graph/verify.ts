/** What must hold of every graph, checked after every pass in tests. */
import { ops } from '../ops/index.ts';
import { sameType, showType } from '../ops/rules.ts';
import type { TensorType } from '../types/tensor.ts';
import type { Graph, NodeOf, OpName, Value } from './graph.ts';
import { OpTypeError } from './op.ts';

/** Sentences about what is wrong with the graph; none when it is sound. */
export function verifyGraph(graph: Graph): string[] {
  const problems: string[] = [];
  verify(graph, graph.name, problems, new Set(), false);
  return problems;
}

function verify(graph: Graph, where: string, problems: string[], ids: Set<number>, isBody: boolean): void {
  const complain = (message: string): void => void problems.push(`${where}: ${message}`);
  const defined = new Set<Value>();
  const define = (value: Value): void => {
    if (defined.has(value)) complain(`%${value.id} is defined twice`);
    else if (ids.has(value.id)) complain(`two values are called %${value.id}`);
    defined.add(value);
    ids.add(value.id);
  };
  const inputs = new Map<string, Graph['inputs'][number]>();
  for (const input of graph.inputs) {
    if (inputs.has(input.name)) complain(`two inputs are called ${input.name}`);
    inputs.set(input.name, input);
    define(input.value);
  }
  for (const node of graph.nodes) {
    for (const value of node.inputs)
      if (!defined.has(value)) complain(`${node.op} reads %${value.id}, which is not defined before it`);
    const types = typesOf(node, complain);
    if (types !== undefined && types.length !== node.outputs.length)
      complain(`${node.op} has ${node.outputs.length} results instead of ${types.length}`);
    node.outputs.forEach((value, place) => {
      const type = types?.[place];
      if (type !== undefined && !sameType(type, value.type))
        complain(`%${value.id} is ${showType(value.type)}, but ${node.op} gives ${showType(type)}`);
      define(value);
    });
    if (node.op === 'loop') verify(node.attributes.body, `${where}/${node.attributes.body.name}`, problems, ids, true);
  }
  const outputs = new Set<string>();
  for (const { name, role, value } of graph.outputs) {
    if (!defined.has(value)) complain(`the output ${name} is %${value.id}, which is not defined`);
    // A body's inputs and outputs go by their places. A program's are memory: one for each name.
    if (isBody) continue;
    if (outputs.has(name)) complain(`two outputs are called ${name}`);
    outputs.add(name);
    const input = inputs.get(name);
    if (role === 'result') {
      if (input !== undefined) complain(`an input and a result are called ${name}`);
      continue;
    }
    // First values are only written.
    if (input === undefined) continue;
    if (input.role !== 'param' && input.role !== 'state') complain(`${name} is updated, but is no param or state`);
    else if (!sameType(input.value.type, value.type))
      complain(`${name} is ${showType(input.value.type)} and would become ${showType(value.type)}`);
  }
}

function typesOf<Name extends OpName>(
  node: NodeOf<Name>,
  complain: (message: string) => void,
): TensorType[] | undefined {
  try {
    return ops[node.op].type(
      node.inputs.map(({ type }) => type),
      node.attributes,
    );
  } catch (error) {
    if (!(error instanceof OpTypeError)) throw error;
    complain(error.message);
    return undefined;
  }
}
