/** Mixed precision on whole networks: how far gradients move, that later passes keep to the casts, and what it saves. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { fuse } from '../../compiler/fuse/fuse.ts';
import type { Graph, Precision, Value } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { parseGraph } from '../../compiler/graph/parse-text.ts';
import { printGraph } from '../../compiler/graph/text.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';
import { optimize } from '../../compiler/optimize/index.ts';
import { policy } from '../../compiler/optimize/precision-policy.ts';
import { dtypeBytes } from '../../compiler/types/dtype.ts';
import { gpt, mlp } from '../fuse/networks.ts';
import { expectSame } from '../fuse/support.ts';
import { networks } from '../support/networks.ts';
import { numbers } from '../support/numbers.ts';
import { draw, opNames } from '../support/samples.ts';

const mixed = (dtype: 'f16' | 'bf16'): Precision => ({ products: dtype, storage: dtype, except: [] });
const tf32: Precision = { products: 'tf32', storage: 'f32', except: [] };
const storing = (dtype: 'f16' | 'bf16'): Precision => ({ products: 'f32', storage: dtype, except: [] });

function inputsOf(graph: Graph): Map<string, Tensor> {
  const next = numbers(3);
  return new Map(graph.inputs.map(({ name, value }) => [name, draw(value.type, next, { range: [-0.5, 0.5] })]));
}

/** ‖found − wanted‖ / ‖wanted‖ over all results. */
function distance(found: ReadonlyMap<string, Tensor>, wanted: ReadonlyMap<string, Tensor>): number {
  let [error, size] = [0, 0];
  for (const [name, { data }] of wanted)
    data.forEach((value, at) => {
      const other = found.get(name)?.data[at] ?? NaN;
      error += (other - value) ** 2;
      size += value ** 2;
    });
  return Math.sqrt(error / size);
}

const run = (graph: Graph): Map<string, Tensor> => interpretGraph(graph, inputsOf(graph), { precision: 'as-written' });

test('the policy says what becomes of every op, once but for the two kinds of contraction', () => {
  const listed = policy.flatMap(({ ops }) => ops);
  expect([...new Set(listed)].sort()).toEqual([...opNames].sort());
  expect(listed.length - new Set(listed).size).toBe(1);
});

test('the page shows the policy as it is', () => {
  const page = readFileSync(new URL('../../docs/precision.md', import.meta.url), 'utf8');
  for (const { what, treatment, why } of policy) expect(page).toContain(`| ${what} | ${treatment} | ${why} |`);
});

describe.each(Object.entries(networks))('%s', (_, build) => {
  const exact = run(build());
  test.each([
    ['mixed(f16)', mixed('f16'), 1e-2],
    ['mixed(bf16)', mixed('bf16'), 1e-1],
    ['mixed(tf32)', tf32, 1e-2],
    ['f32 storing f16', storing('f16'), 1e-2],
    ['f32 storing bf16', storing('bf16'), 1e-1],
  ] as const)('%s', (_name, precision, bound) => {
    const graph: Graph = { ...build(), precision };
    const cast = optimize(graph, { after: 'insert-casts', verify: true });
    const moved = distance(run(cast), exact);
    expect(moved).toBeLessThan(bound);
    expect(moved).toBeGreaterThan(bound * 1e-3);
    // Sums in another order may fall on the other side of a tie: at most a few roundings differ.
    const optimized = optimize(graph, { verify: true });
    expect(distance(run(optimized), run(cast))).toBeLessThan(bound / 10);
    expectSame(optimized, inputsOf(graph), bound / 10);
  });
});

test('a graph keeps its precision through its text', () => {
  const graph: Graph = {
    ...networks.mlp(),
    precision: { products: 'f32', storage: 'f16', except: ['model.norm', 'a'] },
  };
  expect(parseGraph(printGraph(graph))).toEqual(graph);
  expect(() => parseGraph('graph g precision u8 storing f16 { }')).toThrow('products are not rounded to u8');
  expect(() => parseGraph('graph g precision bf16 storing f32 { }')).toThrow('f32 is not stored instead of f32');
});

test('nothing is rounded where all is excepted', () => {
  const graph = networks.mlp();
  const nodes = graph.nodes.map((node) => ({ ...node, origin: { path: 'model.part' } }));
  const precision: Precision = { ...mixed('bf16'), except: ['model'] };
  expect(run(optimize({ ...graph, nodes, precision }))).toEqual(run(optimize(graph)));
});

test.each(['bf16', 'tf32'] as const)(
  'what waits for the backward pass is read as it is stored, and rounded: %s',
  (products) => {
    const build = createBuilder('waiting');
    const input = (name: string): Value => build.input(name, 'batch', { dtype: 'f32', shape: [16, 16] });
    const round = (value: Value): Value =>
      products === 'tf32' ? build.unary('tf32', value) : build.cast(build.cast(value, products), 'f32');
    const sum = round(build.matmul(input('x'), input('w')));
    const forward = build.matmul(round(input('a')), sum);
    build.output('y', 'result', build.matmul(round(forward), build.node('after', [sum, forward], {})[0]));
    const graph = build.finish();
    const kept = fuse(graph).program.buffers.filter(({ role }) => role === 'temporary');
    // The first product, whose sum is read twice, and the second.
    expect(kept.map(({ dtype }) => dtype)).toEqual(products === 'tf32' ? ['f32', 'f32'] : ['bf16', 'bf16']);
    const loop = printLoop(fuse(graph).program);
    expect(loop.match(products === 'tf32' ? /tf32\(%/g : / f32\(%/g)).toHaveLength(products === 'tf32' ? 4 : 3);
    expectSame(graph, inputsOf(graph));
  },
);

/** Bytes of what a step keeps of its batch between its kernels. */
function activationBytes(graph: Graph, batch: number): number {
  const { program } = fuse(optimize(graph));
  return program.buffers
    .filter(({ role, shape }) => role === 'temporary' && shape[0] === batch)
    .reduce((sum, { dtype, shape }) => sum + dtypeBytes[dtype] * shape.reduce((a, b) => a * b, 1), 0);
}

test.each([
  ['mlp', mlp(64, [784, 256, 128, 10]), 64, 0.6],
  // Softmax and norms keep more than half of theirs.
  ['gpt', gpt(2, 16, 64, 96, 4, 65), 16, 0.65],
] as const)('activations of %s are halved, nearly', (_, graph, batch, share) => {
  const whole = activationBytes(graph, batch);
  for (const dtype of ['bf16', 'f16'] as const)
    expect(activationBytes({ ...graph, precision: mixed(dtype) }, batch)).toBeLessThan(share * whole);
});
