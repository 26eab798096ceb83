/** The reference target: the Tensor IR interpreter as a session. Always there, exact, slow. */
import type { Graph } from '../../../compiler/graph/graph.ts';
import type { Tensor } from '../../../compiler/graph/op.ts';
import { blank } from '../../../compiler/ops/numeric.ts';
import { optimize } from '../../../compiler/optimize/index.ts';
import { concrete } from '../../../compiler/types/dim.ts';
import type { Dtype } from '../../../compiler/types/dtype.ts';
import type { TensorType } from '../../../compiler/types/tensor.ts';
import { DeviceError, type Executable, type Field, type Session, type TypedArray } from '../../../runtime/program.ts';
import { explained, interpret } from '../interpret.ts';

export interface ReferenceSession extends Session {
  load(graph: Graph): Executable;
}

export function openReferenceSession(): ReferenceSession {
  const tensors = new Map<string, Tensor>();
  const fields = new Map<string, Field>();
  const keep = (name: string, tensor: Tensor): void => {
    tensors.set(name, tensor);
    fields.set(name, fieldOf(name, tensor.type));
  };
  const held = (name: string): Tensor => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new DeviceError(`\`${name}\` has no value yet.`);
    return tensor;
  };
  return {
    target: 'reference',
    fields,
    read: async (name) => toArray(held(name)),
    write(name, data) {
      const field = fields.get(name);
      if (field === undefined) throw new DeviceError(`There is no \`${name}\` in this session.`);
      keep(name, { type: { dtype: field.dtype, shape: field.shape }, data: Float64Array.from(data) });
    },
    close: () => tensors.clear(),
    load(source) {
      const graph = optimize(source);
      const kept = [
        ...graph.inputs.filter(({ role }) => role === 'param' || role === 'state'),
        ...graph.outputs.filter(({ role }) => role === 'update'),
      ];
      for (const { name, value } of kept)
        if (!tensors.has(name))
          keep(
            name,
            explained(graph.name, () => blank(value.type)),
          );
      return {
        inputs: graph.inputs
          .filter(({ role }) => role === 'batch' || role === 'scalar')
          .map(({ name, value }) => fieldOf(name, value.type)),
        results: graph.outputs
          .filter(({ role }) => role === 'result')
          .map(({ name, value }) => fieldOf(name, value.type)),
        run(given) {
          const inputs = new Map(
            graph.inputs.map(({ name, role, value }): [string, Tensor] => {
              const data = given.get(name);
              if (role === 'param' || role === 'state') return [name, held(name)];
              if (data === undefined) throw new DeviceError(`The input \`${name}\` was not given.`);
              return [name, { type: value.type, data: Float64Array.from(data) }];
            }),
          );
          const outputs = interpret(graph, inputs, 'as-written');
          const results = new Map<string, TypedArray>();
          for (const { name, role } of graph.outputs) {
            const tensor = outputs.get(name);
            if (tensor === undefined) throw new Error(`the interpreter left out ${name}`);
            if (role === 'update') keep(name, tensor);
            else results.set(name, toArray(tensor));
          }
          return Promise.resolve(results);
        },
      };
    },
  };
}

const fieldOf = (name: string, type: TensorType): Field => ({ name, dtype: type.dtype, shape: concrete(type.shape) });

const arrays: Record<Exclude<Dtype, 'f16' | 'bf16'>, (data: Float64Array) => TypedArray> = {
  f32: (data) => Float32Array.from(data),
  f64: (data) => data.slice(),
  i32: (data) => Int32Array.from(data),
  u32: (data) => Uint32Array.from(data),
  i8: (data) => Int8Array.from(data),
  u8: (data) => Uint8Array.from(data),
  bool: (data) => Uint8Array.from(data),
};

function toArray({ type, data }: Tensor): TypedArray {
  if (type.dtype === 'f16' || type.dtype === 'bf16')
    throw new DeviceError('Half-precision tensors cannot leave the reference target yet; cast them to f32.');
  return arrays[type.dtype](data);
}
