/** Single operations of the language through the whole compiler: matrix product, softmax, layer norm. */
import { createBuilder } from '../compiler/ops/builder.ts';
import type { Builder } from '../compiler/graph/build.ts';
import type { Graph, Value } from '../compiler/graph/graph.ts';
import { openTarget } from '../tools/driver/target.ts';
import type { Measurement } from './measure.ts';
import { timeRuns } from './time.ts';

const rows = 4096;
const columns = 1024;

export async function measureKernel(what: string, threads: number): Promise<Measurement> {
  const size = Number(what.split('-')[1]);
  const graph = what === 'softmax' ? rowwise(softmax) : what === 'layernorm' ? rowwise(layerNorm) : matmul(size);
  const target = await openTarget('cpu', { threads });
  const executable = await target.load(graph);
  for (const { name } of target.session.fields.values())
    target.session.write(
      name,
      target.session.read(name).map((_, at) => ((at * 7919) % 1000) / 1000 - 0.5),
    );
  const ms = await timeRuns(() => executable.run(new Map()));
  target.session.close();
  return { ms, rate: what.startsWith('matmul') ? (2 * size ** 3) / ms / 1e6 : (2 * 4 * rows * columns) / ms / 1e6 };
}

/** Operands and result live on the device as parameters, so that only the operation is timed. */
function matmul(size: number): Graph {
  const build = createBuilder('matmul');
  const type = { dtype: 'f32', shape: [size, size] } as const;
  const a = build.input('a', 'param', type);
  const b = build.input('b', 'param', type);
  build.output('c', 'update', build.matmul(a, b));
  return build.finish();
}

function rowwise(compute: (build: Builder, x: Value) => Value): Graph {
  const build = createBuilder('rows');
  const x = build.input('x', 'param', { dtype: 'f32', shape: [rows, columns] });
  build.output('y', 'update', compute(build, x));
  return build.finish();
}

function kept(build: Builder, monoid: 'sum' | 'max', x: Value): Value {
  return build.broadcast(build.reshape(build.reduce(monoid, x, [1]), [rows, 1]), [rows, columns]);
}

function softmax(build: Builder, x: Value): Value {
  const e = build.unary('exp', build.binary('sub', x, kept(build, 'max', x)));
  // One division a row, as in the standard library.
  const sums = build.reshape(build.reduce('sum', e, [1]), [rows, 1]);
  const inverse = build.binary('div', build.constant(1, 'f32', [rows, 1]), sums);
  return build.binary('mul', e, build.broadcast(inverse, [rows, columns]));
}

function layerNorm(build: Builder, x: Value): Value {
  const all = (value: number): Value => build.constant(value, 'f32', [rows, columns]);
  const centred = build.binary('sub', x, build.binary('div', kept(build, 'sum', x), all(columns)));
  const variance = build.binary('div', kept(build, 'sum', build.binary('mul', centred, centred)), all(columns));
  const scale = build.broadcast(build.input('scale', 'param', { dtype: 'f32', shape: [columns] }), [rows, columns]);
  const shift = build.broadcast(build.input('shift', 'param', { dtype: 'f32', shape: [columns] }), [rows, columns]);
  const normalized = build.binary('mul', centred, build.unary('rsqrt', build.binary('add', variance, all(1e-5))));
  return build.binary('add', build.binary('mul', normalized, scale), shift);
}
