/**
 * A graph as the program of a device: the one list of what there is to compile for. A new target is a folder in `targets/`, a
 * device in `runtime/devices/`, and an entry here and in `tools/driver/target.ts`.
 */
import type { NativeProgram } from '../runtime/devices/cpu.ts';
import type { CudaProgram } from '../runtime/devices/cuda.ts';
import type { WasmProgram } from '../runtime/devices/wasm.ts';
import type { WebGpuProgram } from '../runtime/devices/webgpu.ts';
import { showPlace } from './base/source.ts';
import type { Graph } from './graph/graph.ts';
import { compile } from './pipeline.ts';
import { capabilitiesOf as capabilitiesOfGpu } from './targets/cuda/features.ts';
import { emitCuda } from './targets/cuda/step.ts';
import { capabilitiesOf as capabilitiesOfCpu, type CpuHost, instructionsOf } from './targets/llvm/features.ts';
import { emitLlvm } from './targets/llvm/step.ts';
import type { Capabilities } from './targets/target.ts';
import { encodeModule } from './targets/wasm/encode.ts';
import { capabilitiesOf as capabilitiesOfWasm } from './targets/wasm/features.ts';
import { emitWasm } from './targets/wasm/step.ts';
import { printModule } from './targets/wasm/text.ts';
import { capabilitiesOf as capabilitiesOfWebGpu, type WebGpuFeatures } from './targets/wgsl/features.ts';
import { emitWgsl } from './targets/wgsl/step.ts';
import type { TileProgram } from './tile/tile.ts';

export interface Compiler<Program> {
  readonly capabilities: Capabilities;
  program(tile: TileProgram): Program;
  /** The code for people to read. */
  text(tile: TileProgram): string;
}

/** A CUDA program whose kernels are still text: nvcc makes the image of it. */
export type CudaText = Omit<CudaProgram, 'image'> & { readonly source: string };

const parts = ({
  name,
  buffers,
  arena,
  halves,
}: TileProgram): Pick<TileProgram, 'name' | 'buffers' | 'arena' | 'halves'> => ({
  name,
  buffers,
  arena,
  ...(halves !== undefined && { halves }),
});

/** Machine code through LLVM, for a processor as libLLVM describes it. */
export function forCpu(host: CpuHost, threads: number): Compiler<NativeProgram> {
  const instructions = instructionsOf(host);
  return {
    capabilities: capabilitiesOfCpu(host, threads),
    program(tile) {
      const { parts: llvm, scratch } = emitLlvm(tile, instructions);
      return { ...parts(tile), llvm, scratch };
    },
    text: (tile) => emitLlvm(tile, instructions).text,
  };
}

/** CUDA C++, for GPUs with so many multiprocessors, and `wide` for those on which 128 threads multiply together. */
export const forCuda = (multiprocessors?: number, wide = false): Compiler<CudaText> => ({
  capabilities: capabilitiesOfGpu(multiprocessors, wide),
  program: (tile) => ({ ...parts(tile), ...emitCuda(tile) }),
  text: (tile) => emitCuda(tile).source,
});

/** WGSL, within the limits that every WebGPU adapter has, and in subgroups where this one has them. */
export const forWebGpu = (features?: WebGpuFeatures): Compiler<WebGpuProgram> => ({
  capabilities: capabilitiesOfWebGpu(undefined, features),
  program: (tile) => ({ ...parts(tile), ...emitWgsl(tile) }),
  text: (tile) =>
    emitWgsl(tile)
      .kernels.map(({ code }) => code)
      .join('\n'),
});

/** WebAssembly; `relaxed` for engines that have relaxed SIMD. */
export function forWasm(threads: number, relaxed: boolean): Compiler<WasmProgram> {
  const options = { relaxed };
  return {
    capabilities: capabilitiesOfWasm(threads),
    program(tile) {
      const { code, scratch } = emitWasm(tile, options);
      return { ...parts(tile), ...encodeModule(code), scratch };
    },
    text: (tile) => printModule(emitWasm(tile, options).code),
  };
}

/** The program of a graph. `without`: passes to leave out. */
export function compileFor<Program>(
  { capabilities, program }: Compiler<Program>,
  graph: Graph,
  without: readonly string[] = [],
): Program {
  return program(compile(graph, capabilities, { without }).tile);
}

/** Where a graph computes in an element type that a target has no code for, which is the user's to change. */
export function foreignDtype(graph: Graph, { dtypes }: Capabilities): { dtype: string; where: string } | undefined {
  for (const { outputs, origin } of graph.nodes)
    for (const { type } of outputs)
      if (!dtypes.includes(type.dtype))
        return { dtype: type.dtype, where: origin.span === undefined ? graph.name : showPlace(origin.span) };
  return undefined;
}
