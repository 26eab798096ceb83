/** Single operations as the language has them, through the whole compiler: matrix product, softmax, layer norm. */
import { Diagnostics } from '../compiler/base/diagnostics.ts';
import { applyValue, createContext } from '../compiler/elaborate/evaluate.ts';
import { instantiate } from '../compiler/elaborate/instances.ts';
import { find } from '../compiler/elaborate/scope.ts';
import { int, tensor } from '../compiler/elaborate/value.ts';
import type { Graph, Value } from '../compiler/graph/graph.ts';
import { createBuilder } from '../compiler/ops/builder.ts';
import { type MatrixDtype, matrixDtypes } from '../compiler/targets/target.ts';
import { openProject } from '../tools/driver/project.ts';
import { openTarget } from '../tools/driver/target.ts';
import type { TargetName } from '../tools/driver/targets/index.ts';
import { jobFile } from './jobs.ts';
import type { Measurement } from './measure.ts';
import { timeRuns } from './time.ts';

const rows = 4096;
const columns = 1024;

export async function measureKernel(what: string, threads: number, on: TargetName): Promise<Measurement> {
  const size = Number(what.split('-')[1]);
  const isProduct = what.startsWith('matmul');
  const [, , type, form] = what.split('-');
  const rounded = matrixDtypes.find((dtype) => dtype === type);
  const graph = rounded
    ? productIn(rounded, size)
    : isProduct
      ? await graphOf(
          'Product',
          [size],
          [
            [size, size],
            [size, size],
          ],
        )
      : await graphOf(what === 'softmax' ? 'Softmax' : 'Norm', [], [[rows, columns]]);
  const target = await openTarget(on, { threads, wide: form !== 'mma' });
  const executable = await target.load(graph);
  for (const { name } of target.session.fields.values()) {
    const values = (await target.session.read(name)).map((_, at) => ((at * 7919) % 1000) / 1000 - 0.5);
    target.session.write(name, values);
  }
  const ms = await timeRuns(() => executable.run(new Map()));
  target.session.close();
  return { ms, rate: isProduct ? (2 * size ** 3) / ms / 1e6 : (2 * 4 * rows * columns) / ms / 1e6 };
}

/** Operands as tensor cores take them, summed in f32: of two bytes, as the result is then too, or f32 and rounded to TF32. */
export function productIn(dtype: MatrixDtype, size: number): Graph {
  const build = createBuilder(`product_${dtype}`);
  const shape = [size, size];
  const operand = (name: string): Value =>
    dtype === 'tf32'
      ? build.unary('tf32', build.input(name, 'param', { dtype: 'f32', shape }))
      : build.input(name, 'param', { dtype, shape });
  build.output('result', 'update', build.matmul(operand('operand0'), operand('operand1')));
  return build.finish();
}

/** A layer of rows.model applied once. Operands and result live on the device, so that only the operation is timed. */
async function graphOf(name: string, hyper: readonly number[], shapes: readonly (readonly number[])[]): Promise<Graph> {
  const { program } = await openProject(jobFile('rows'));
  const binding = find(program.entry.scope, name);
  if (binding?.kind !== 'value' || binding.value.kind !== 'layer') throw new Error(`rows.model has no layer ${name}`);
  const build = createBuilder(name);
  const diagnostics = new Diagnostics();
  const context = createContext(build, diagnostics);
  const { span } = binding.value.declaration;
  const layer = instantiate(
    context,
    binding.value,
    hyper.map((value) => ({ value: int(value), span })),
    span,
  );
  layer.name = 'layer';
  const operands = shapes.map((shape, at) => tensor(build.input(`operand${at}`, 'param', { dtype: 'f32', shape })));
  const result = applyValue(context, layer, operands, span);
  if (result.kind !== 'tensor' || !diagnostics.isEmpty) throw new Error(`rows.model's ${name} is wrong`);
  build.output('result', 'update', result.value);
  return build.finish();
}
