/** What each pass does to a small graph, as text: cases/NAME.case holds before, `--`, after. BLESS=1 writes the latter. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import { parseGraph } from '../../compiler/graph/parse-text.ts';
import { printGraph } from '../../compiler/graph/text.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import { optimize, passes } from '../../compiler/optimize/index.ts';
import { draw, numbers } from '../support/samples.ts';

test.each(passes.map((pass) => [pass.name, pass] as const))('%s', (name, pass) => {
  const path = join(import.meta.dirname, 'cases', `${name}.case`);
  const [before, expected] = readFileSync(path, 'utf8').split('--\n');
  const graph = parseGraph(before);
  const after = pass.run(graph);
  for (const one of [graph, after]) expect(verifyGraph(one)).toEqual([]);

  const next = numbers(1);
  const inputs = new Map(graph.inputs.map((input) => [input.name, draw(input.value.type, next)]));
  const [results, same] = [graph, after].map((one) => interpretGraph(one, inputs, { precision: 'f64' }));
  for (const [output, { data }] of results)
    data.forEach((value, place) => expect(same.get(output)?.data[place]).toBeCloseTo(value, 9));

  const text = printGraph(after);
  if (process.env.BLESS === '1') writeFileSync(path, `${before}--\n${text}`);
  else expect(text).toBe(expected);
});

test('optimize stops after the pass that is named, and knows only its passes', () => {
  const graph = parseGraph(
    readFileSync(join(import.meta.dirname, 'cases', 'remove-dead.case'), 'utf8').split('--\n')[0],
  );
  expect(printGraph(optimize(graph, { after: 'simplify' }))).toBe(printGraph(passes[0].run(graph)));
  expect(() => optimize(graph, { after: 'polish' })).toThrow('no pass is called polish');
});
