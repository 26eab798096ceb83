/** The verifier finds what a broken pass would leave behind. */
import { describe, expect, test } from 'vitest';
import type { Graph, Node } from '../../compiler/graph/graph.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import { networks } from '../support/networks.ts';

const graph = networks.lstm();
const replaced = (place: number, node: Node): Graph => ({
  ...graph,
  nodes: graph.nodes.map((old, at) => (at === place ? node : old)),
});
const placeOf = (op: Node['op']): number => graph.nodes.findIndex((node) => node.op === op);

test.each(Object.entries(networks))('%s is sound', (_, make) => {
  expect(verifyGraph(make())).toEqual([]);
});

describe('broken graphs', () => {
  const loop = graph.nodes[placeOf('loop')];
  const sum = graph.nodes[placeOf('reduce')];
  const cases: [string, Graph, string][] = [
    [
      'a node moved before its operand',
      { ...graph, nodes: [...graph.nodes].reverse() },
      'which is not defined before it',
    ],
    ['a node gone', { ...graph, nodes: graph.nodes.filter((node) => node !== loop) }, 'which is not defined before it'],
    [
      'a result of another type',
      replaced(placeOf('reduce'), {
        ...sum,
        outputs: sum.outputs.map((value) => ({ ...value, type: { dtype: 'f16', shape: [] } })),
      }),
      'but reduce gives a scalar f32',
    ],
    [
      'an operand of another type',
      replaced(placeOf('reduce'), { ...sum, inputs: [graph.inputs[3].value] }),
      'names axis 1',
    ],
    ['a node twice', { ...graph, nodes: [...graph.nodes, sum] }, 'is defined twice'],
    [
      'an id twice',
      {
        ...graph,
        inputs: graph.inputs.map((input, place) =>
          place === 1 ? { ...input, value: { ...input.value, id: 0 } } : input,
        ),
      },
      'two values are called %0',
    ],
    [
      'two inputs of one name',
      { ...graph, inputs: graph.inputs.map((input) => ({ ...input, name: 'x' })) },
      'two inputs are called x',
    ],
    [
      'an output of nothing',
      { ...graph, outputs: [{ name: 'y', role: 'result', value: { id: 9999, type: { dtype: 'f32', shape: [] } } }] },
      'the output y is %9999, which is not defined',
    ],
    [
      'a result with the name of an input',
      { ...graph, outputs: [{ name: 'x', role: 'result', value: sum.outputs[0] }] },
      'an input and a result are called x',
    ],
    [
      'a result with the name of an update',
      {
        ...graph,
        outputs: [
          { name: 'wx', role: 'update', value: graph.inputs[1].value },
          { name: 'wx', role: 'result', value: sum.outputs[0] },
        ],
      },
      'two outputs are called wx',
    ],
    [
      'an update of no state',
      { ...graph, outputs: [{ name: 'x', role: 'update', value: graph.inputs[0].value }] },
      'x is updated, but is no param or state',
    ],
    [
      'an update of another type',
      { ...graph, outputs: [{ name: 'wx', role: 'update', value: graph.inputs[0].value }] },
      'wx is f32[4, 20] and would become f32[3, 7, 4]',
    ],
  ];
  test.each(cases)('%s', (_, broken, message) => {
    expect(verifyGraph(broken).join('\n')).toContain(message);
  });
  test('a loop whose body reads what is outside', () => {
    if (loop.op !== 'loop') throw new Error('the LSTM has a loop');
    const [inner, ...rest] = loop.attributes.body.nodes;
    const body = {
      ...loop.attributes.body,
      nodes: [{ ...inner, inputs: [graph.inputs[0].value, ...inner.inputs.slice(1)] }, ...rest],
    };
    const broken = replaced(graph.nodes.indexOf(loop), { ...loop, attributes: { ...loop.attributes, body } });
    expect(verifyGraph(broken).join('\n')).toContain('lstm/lstm: contract reads %0, which is not defined before it');
  });
});
