/**
 * Targets that a trainer can run on: a session that holds the weights, and how a graph becomes something it executes.
 * Native libraries load here, when a target is opened, and nowhere else.
 */
import { availableParallelism } from 'node:os';
import { showPlace } from '../../compiler/base/source.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import type { Capabilities } from '../../compiler/targets/target.ts';
import { DeviceError, type Executable, type Session } from '../../runtime/program.ts';

export const targets = ['auto', 'cpu', 'cuda', 'webgpu', 'wasm', 'reference'] as const;
export type TargetName = (typeof targets)[number];

export interface Target {
  readonly session: Session;
  load(graph: Graph): Promise<Executable>;
  /** Why `auto` did not take something faster, and how to get it. */
  readonly notice?: string;
}

export interface TargetOptions {
  /** CPU threads; all there are by default. */
  readonly threads?: number;
  /** Passes of the compiler to leave out. */
  readonly without?: readonly string[];
}

/** Opens a target; `auto` is the cpu where libLLVM is found, else wasm, which is everywhere. Throws DeviceError. */
export async function openTarget(name: TargetName, options: TargetOptions = {}): Promise<Target> {
  switch (name) {
    case 'cpu':
      return openCpuTarget(options);
    case 'cuda':
      return openCudaTarget(options);
    case 'webgpu':
      return openWebGpuTarget(options);
    case 'wasm':
      return openWasmTarget(options);
    case 'reference':
      return openReferenceTarget();
    case 'auto':
      try {
        return await openCpuTarget(options);
      } catch (error) {
        if (!(error instanceof DeviceError)) throw error;
        return {
          ...(await openWasmTarget(options)),
          notice: `Training in WebAssembly; machine code would be two to five times as fast. ${error.message}`,
        };
      }
  }
}

async function openCpuTarget({ threads = availableParallelism(), without = [] }: TargetOptions): Promise<Target> {
  const [{ openCpuSession, describeCpu }, { compile }, { emitLlvm }, { capabilitiesOf, instructionsOf }] =
    await Promise.all([
      import('../../runtime/devices/cpu.ts'),
      import('../../compiler/pipeline.ts'),
      import('../../compiler/targets/llvm/step.ts'),
      import('../../compiler/targets/llvm/features.ts'),
    ]);
  const session = await openCpuSession({ threads });
  const { features = '', architecture = 'x86_64', l1, l2 } = await describeCpu();
  const caches = { ...(l1 !== undefined && { l1 }), ...(l2 !== undefined && { l2 }) };
  const capabilities = capabilitiesOf({ architecture, features, ...caches }, threads);
  return {
    session,
    async load(graph) {
      refuseDtypes(graph, capabilities, session.target);
      const { tile } = compile(graph, capabilities, { without });
      const { parts, scratch } = emitLlvm(tile, instructionsOf({ architecture, features }));
      return session.load({ name: tile.name, llvm: parts, scratch, buffers: tile.buffers, arena: tile.arena });
    },
  };
}

async function openCudaTarget({ without = [] }: TargetOptions): Promise<Target> {
  const [{ openCudaSession }, { compile }, { emitCuda }, { capabilitiesOf }, { architectureOf, compileCuda }] =
    await Promise.all([
      import('../../runtime/devices/cuda.ts'),
      import('../../compiler/pipeline.ts'),
      import('../../compiler/targets/cuda/step.ts'),
      import('../../compiler/targets/cuda/features.ts'),
      import('./cuda-compile.ts'),
    ]);
  const session = await openCudaSession();
  const { major, minor, multiprocessors } = session.description;
  const capabilities = capabilitiesOf(multiprocessors);
  return {
    session,
    async load(graph) {
      refuseDtypes(graph, capabilities, session.target);
      const { tile } = compile(graph, capabilities, { without });
      const { source, kernels, steps } = emitCuda(tile);
      const image = await compileCuda(source, architectureOf(major, minor), tile.name);
      return session.load({ name: tile.name, image, kernels, steps, buffers: tile.buffers, arena: tile.arena });
    },
  };
}

async function openWebGpuTarget({ without = [] }: TargetOptions): Promise<Target> {
  const [{ openWebGpuSession }, { compile }, { emitWgsl }, { capabilitiesOf }] = await Promise.all([
    import('../../runtime/devices/webgpu.ts'),
    import('../../compiler/pipeline.ts'),
    import('../../compiler/targets/wgsl/step.ts'),
    import('../../compiler/targets/wgsl/features.ts'),
  ]);
  const session = await openWebGpuSession();
  const capabilities = capabilitiesOf(session.limits);
  return {
    session,
    load(graph) {
      refuseDtypes(graph, capabilities, session.target);
      const { tile } = compile(graph, capabilities, { without });
      return session.load({ name: tile.name, ...emitWgsl(tile), buffers: tile.buffers, arena: tile.arena });
    },
  };
}

async function openWasmTarget({ threads = availableParallelism(), without = [] }: TargetOptions): Promise<Target> {
  const [{ openWasmSession }, { compile }, { emitWasm }, { encodeModule }, { capabilitiesOf, relaxedProbe }] =
    await Promise.all([
      import('../../runtime/devices/wasm.ts'),
      import('../../compiler/pipeline.ts'),
      import('../../compiler/targets/wasm/step.ts'),
      import('../../compiler/targets/wasm/encode.ts'),
      import('../../compiler/targets/wasm/features.ts'),
    ]);
  const session = await openWasmSession({ threads });
  const capabilities = capabilitiesOf(session.threads);
  const options = { relaxed: WebAssembly.validate(relaxedProbe()), shared: session.threads > 1 };
  return {
    session,
    load(graph) {
      refuseDtypes(graph, capabilities, session.target);
      const { tile } = compile(graph, capabilities, { without });
      const { code, scratch } = emitWasm(tile, options);
      return session.load({
        name: tile.name,
        code: encodeModule(code),
        scratch,
        buffers: tile.buffers,
        arena: tile.arena,
      });
    },
  };
}

/** An element type that the target has no code for is the user's to change, so it is said where it comes from. */
export function refuseDtypes(graph: Graph, { dtypes }: Capabilities, target: string): void {
  for (const { outputs, origin } of graph.nodes)
    for (const { type } of outputs) {
      if (dtypes.includes(type.dtype)) continue;
      const where = origin.span === undefined ? graph.name : showPlace(origin.span);
      throw new DeviceError(
        `${where} computes in ${type.dtype}, which the ${target} target does not: use \`--target reference\`, or f32.`,
      );
    }
}

async function openReferenceTarget(): Promise<Target> {
  const { openReferenceSession } = await import('./reference.ts');
  const session = openReferenceSession();
  return { session, load: (graph) => Promise.resolve(session.load(graph)) };
}
