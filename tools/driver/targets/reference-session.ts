/** The reference target: the Tensor IR interpreter as a session. Always there, exact, slow. */
import type { Graph } from '../../../compiler/graph/graph.ts';
import type { Tensor } from '../../../compiler/graph/op.ts';
import { blank } from '../../../compiler/ops/numeric.ts';
import { optimize } from '../../../compiler/optimize/index.ts';
import { concrete } from '../../../compiler/types/dim.ts';
import type { Dtype } from '../../../compiler/types/dtype.ts';
import type { TensorType } from '../../../compiler/types/tensor.ts';
import { DeviceError, type Executable, type Field, type Session, type TypedArray } from '../../../runtime/program.ts';
import { fromHalfBits, halfBits } from '../../../runtime/halves.ts';
import { assertFits, assertSame, isClosed, notGiven } from '../../../runtime/devices/checks.ts';
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
    ready();
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new DeviceError(`No loaded program has a param or state ${name}.`);
    return tensor;
  };
  let closed = false;
  const ready = (): void => {
    if (closed) throw new DeviceError('The session is closed.');
  };
  return {
    target: 'reference',
    fields,
    read: async (name) => toArray(held(name)),
    write(name, data) {
      keep(name, given(name, held(name).type, data));
    },
    close() {
      closed = true;
      tensors.clear();
    },
    load(source) {
      ready();
      const graph = optimize(source);
      const kept = [
        ...graph.inputs.filter(({ role }) => role === 'param' || role === 'state'),
        ...graph.outputs.filter(({ role }) => role === 'update'),
      ];
      assertSame(
        fields,
        kept.map(({ name, value }) => fieldOf(name, value.type)),
        graph.name,
      );
      for (const { name, value } of kept) {
        if (!tensors.has(name))
          keep(
            name,
            explained(graph.name, () => blank(value.type)),
          );
      }
      let open = true;
      return {
        inputs: graph.inputs
          .filter(({ role }) => role === 'batch' || role === 'scalar')
          .map(({ name, value }) => fieldOf(name, value.type)),
        results: graph.outputs
          .filter(({ role }) => role === 'result')
          .map(({ name, value }) => fieldOf(name, value.type)),
        async run(inputsGiven) {
          if (!open) throw isClosed(graph.name);
          const inputs = new Map(
            graph.inputs.map(({ name, role, value }): [string, Tensor] => {
              const data = inputsGiven.get(name);
              if (role === 'param' || role === 'state') return [name, held(name)];
              if (data === undefined) throw notGiven(graph.name, name);
              return [name, given(`The input ${name} of ${graph.name}`, value.type, data)];
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
          return results;
        },
        async close() {
          open = false;
        },
      };
    },
  };
}

/** What was given, where it is as many elements of the same type. */
function given(name: string, type: TensorType, data: TypedArray): Tensor {
  assertFits(name, toArray(blank(type)), data);
  const { dtype } = type;
  const isHalf = dtype === 'f16' || dtype === 'bf16';
  return { type, data: Float64Array.from(data, isHalf ? (bits) => fromHalfBits(dtype, bits) : undefined) };
}

const fieldOf = (name: string, type: TensorType): Field => ({ name, dtype: type.dtype, shape: concrete(type.shape) });

const arrays: Record<Dtype, (data: Float64Array) => TypedArray> = {
  f32: (data) => Float32Array.from(data),
  f64: (data) => data.slice(),
  f16: (data) => Uint16Array.from(data, (value) => halfBits('f16', value)),
  bf16: (data) => Uint16Array.from(data, (value) => halfBits('bf16', value)),
  i32: (data) => Int32Array.from(data),
  u32: (data) => Uint32Array.from(data),
  i8: (data) => Int8Array.from(data),
  u8: (data) => Uint8Array.from(data),
  bool: (data) => Uint8Array.from(data),
};

const toArray = ({ type, data }: Tensor): TypedArray => arrays[type.dtype](data);
