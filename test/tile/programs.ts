/** Small Tile programs for tests. */
import { add, block, load, mul, parameter, read, register } from '../../compiler/tile/build.ts';
import { planMemory } from '../../compiler/tile/plan-memory.ts';
import type { TileExpression, TileKernel, TileProgram, TileStep } from '../../compiler/tile/tile.ts';
import type { Dtype } from '../../compiler/types/dtype.ts';

/** A launch of a kernel, of one item where it says no more; its buffers have the names of the parameters where none are given. */
export const launch = (
  kernel: Pick<TileKernel, 'name' | 'parameters' | 'body'> & Partial<TileKernel>,
  buffers = kernel.parameters.map(({ name }) => name),
): Extract<TileStep, { kind: 'launch' }> => ({
  kind: 'launch',
  buffers,
  arguments: [],
  kernel: {
    arguments: [],
    scratch: [],
    grid: 1,
    item: register('item', 'index'),
    workgroup: 1,
    thread: register('thread', 'index'),
    ...kernel,
  },
});

/** y[i] = value(x₀[i], x₁[i], …) over `size` elements, `lanes` at a time, on a grid of `items`. */
export function elementwise(
  dtypes: readonly Dtype[],
  size: number,
  lanes: number,
  value: (...operands: readonly TileExpression[]) => TileExpression,
  items = 1,
): TileProgram {
  const inputs = dtypes.map((dtype, place) => parameter(`x${place}`, dtype, size, 'read'));
  const item = register('item', 'index');
  const each = size / items;
  const code = block();
  let out = parameter('y', 'f32', size, 'write');
  code.for('i', 0, each, lanes, (i) => {
    const at = code.let('at', add(mul(read(item), each), i));
    const result = value(...inputs.map((input) => code.let('x', load(input, at, lanes))));
    const { dtype } = result.type;
    if (dtype === 'index') throw new Error('an index cannot be stored');
    out = parameter('y', dtype, size, 'write');
    code.store(out, at, result);
  });
  return {
    name: 'elementwise',
    arena: 0,
    buffers: [
      ...inputs.map((input) => ({ name: input.name, role: 'batch' as const, dtype: input.dtype, shape: [size] })),
      { name: 'y', role: 'result', dtype: out.dtype, shape: [size] },
    ],
    steps: [launch({ name: 'elementwise', parameters: [...inputs, out], grid: items, item, body: code.statements })],
  };
}

/** Several programs as one, to be compiled once: the buffers of the second are named `1.x0`, `1.y` and so on. `smallest`: bytes of an element at least. */
export function together(programs: readonly TileProgram[], smallest = 1): TileProgram {
  const halvesApart = programs.some(({ halves }) => halves !== undefined);
  const joined: TileProgram = {
    name: 'together',
    arena: 0,
    buffers: programs.flatMap(({ buffers }, place) =>
      buffers.map(({ offset: _, ...buffer }) => ({ ...buffer, name: `${place}.${buffer.name}` })),
    ),
    steps: programs.flatMap(({ steps }, place) => {
      const kernels = new Map<TileKernel, TileKernel>();
      return steps.map((step) => renamed(step, place, kernels));
    }),
  };
  return planMemory(joined, smallest, halvesApart);
}

function renamed(step: TileStep, place: number, kernels: Map<TileKernel, TileKernel>): TileStep {
  if (step.kind === 'repeat') return { ...step, body: step.body.map((inner) => renamed(inner, place, kernels)) };
  const kernel = kernels.get(step.kernel) ?? { ...step.kernel, name: `${step.kernel.name}${place}` };
  kernels.set(step.kernel, kernel);
  return { ...step, kernel, buffers: step.buffers.map((name) => `${place}.${name}`) };
}
