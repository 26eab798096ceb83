/** What each pass does to a small graph, as text, in a case file by its name. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import { parseGraph } from '../../compiler/graph/parse-text.ts';
import { printGraph } from '../../compiler/graph/text.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import { optimize, passes } from '../../compiler/optimize/index.ts';
import { casesOf, runCases } from '../support/cases.ts';
import { numbers } from '../support/numbers.ts';
import { draw } from '../support/samples.ts';

const fileOf = (pass: string): string => join(import.meta.dirname, 'cases', `${pass}.case`);

describe.each(passes)('$name', (pass) => {
  test('has a case', () => {
    expect(casesOf(fileOf(pass.name))).not.toEqual([]);
  });

  runCases(fileOf(pass.name), (before) => {
    const graph = parseGraph(before);
    const after = pass.run(graph);
    for (const one of [graph, after]) expect(verifyGraph(one)).toEqual([]);

    const next = numbers(1);
    const inputs = new Map(graph.inputs.map((input) => [input.name, draw(input.value.type, next)]));
    const [results, same] = [graph, after].map((one) => interpretGraph(one, inputs, { precision: 'f64' }));
    for (const [output, { data }] of results)
      data.forEach((value, place) => expect(same.get(output)?.data[place]).toBeCloseTo(value, 9));
    return printGraph(after);
  });
});

test('optimize stops after the pass that is named, and knows only its passes', () => {
  const [{ before }] = casesOf(fileOf('remove-dead'));
  const graph = parseGraph(before);
  expect(printGraph(optimize(graph, { after: 'simplify' }))).toBe(printGraph(passes[0].run(graph)));
  expect(() => optimize(graph, { after: 'polish' })).toThrow('no pass is called polish');
});
