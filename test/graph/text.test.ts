/** Tensor IR as text: readable, and read back exactly. */
import { describe, expect, test } from 'vitest';
import { GraphTextError, parseGraph } from '../../compiler/graph/parse-text.ts';
import { printGraph } from '../../compiler/graph/text.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import { at, pair } from '../../compiler/ops/affine.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { optimize } from '../../compiler/optimize/index.ts';
import { networks } from '../support/networks.ts';
import { eachSample, graphOf } from '../support/samples.ts';

test('a small graph reads like index notation', () => {
  const source = { name: 'tiny.model', text: '\n\n  fc(x)\n' };
  const build = createBuilder('step');
  const x = build.input('x', 'batch', { dtype: 'f32', shape: [4, 8] });
  const w = build.input('model.fc.weight', 'param', { dtype: 'f32', shape: [8, 2] });
  build.origin = { path: 'model.fc', span: { source, start: 4, end: 9 } };
  const y = build.matmul(x, w);
  build.origin = {};
  const window = build.contract([x], [[at(0), pair(1, 2, 2, -1, 3)]], [4, 3], [2]);
  const stretched = build.broadcast(build.constant([0.5, -Infinity], 'f32'), [4, 2]);
  build.output('y', 'result', build.binary('max', y, stretched));
  build.output(
    'a strange name',
    'result',
    build.view(window, [4], [at(0), { terms: [{ axis: 0, scale: -1 }], offset: 4, divisor: 2 }]),
  );
  build.output('model.fc.weight', 'update', w);
  expect(printGraph(build.finish())).toBe(`graph step {
  %0: f32[4, 8] = batch x
  %1: f32[8, 2] = param model.fc.weight
  %2[i, j]: f32[4, 2] = sum[k: 8] %0[i, k] * %1[k, j]  // model.fc @ tiny.model:3:3
  %3[i, j]: f32[4, 3] = sum[k: 2] %0[i, 2*j - k + 3]
  %4: f32[2] = constant([0.5, -inf])
  %5[i, j]: f32[4, 2] = %4[j]
  %6: f32[4, 2] = max(%2, %5)
  %7[i]: f32[4] = %3[i, (-i + 4)/2]
  result y = %6
  result "a strange name" = %7
  update model.fc.weight = %1
}
`);
});

describe('text reads back exactly', () => {
  eachSample((op, sample, place) => {
    test(`${op} ${place}`, () => {
      const graph = graphOf(op, sample);
      const back = parseGraph(printGraph(graph));
      expect(back).toEqual(graph);
      expect(verifyGraph(back)).toEqual([]);
    });
  });
  test.each(Object.entries(networks))('%s, as it is and optimized', (_, make) => {
    for (const graph of [make(), optimize(make())]) expect(parseGraph(printGraph(graph))).toEqual(graph);
  });
});

test.each([
  ['grph x {}', 'line 1: expected graph, found grph'],
  ['graph x {\n  %0: f32[2] = batch x\n  %1: f32[2] = add(%0, %2)\n}', 'line 3: %2 is used before it is defined'],
  ['graph x {\n  %0: f99[2] = batch x\n}', 'line 2: f99 is not an element type'],
  ['graph x {\n  %0: f32[2] = batch x\n  %0: f32[2] = neg(%0)\n}', 'line 3: %0 is defined twice'],
  ['graph x {\n  %0: f32[2] = batch x\n  %1: f32[2] = twist(%0)\n}', 'line 3: twist is not an op'],
  ['graph x {\n  %0: f32[2] = batch x\n  %1[i]: f32[2] = %0[j]\n}', 'line 3: j is not an axis here'],
  ['graph x {\n  %0: f32[2] = batch x\n  %1: f32[] = reduce.sum(%0)\n}', 'line 3: axes has to be a list of numbers'],
  [
    'graph x {\n  %0: f32[2] = batch x\n  %1: f32[] = reduce(%0, axes: [0])\n}',
    'line 3: expected .sum, .prod, .max or .min after the op',
  ],
  ['graph x {\n  §\n}', 'line 2: "§" means nothing here'],
  ['graph x {', 'line 1: expected a value, result or update, found the end'],
])('what is no graph is said: %j', (text, message) => {
  expect(() => parseGraph(text)).toThrow(GraphTextError);
  expect(() => parseGraph(text)).toThrow(message);
});
