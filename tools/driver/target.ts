/**
 * Targets that a trainer can run on: a session that holds the weights, and how a graph becomes something it executes.
 * Native libraries load here, when a target is opened, and nowhere else.
 */
import { availableParallelism } from 'node:os';
import {
  type Compiler,
  type CudaText,
  compileFor,
  foreignDtype,
  forCpu,
  forWasm,
  forWebGpu,
} from '../../compiler/devices.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import type { Capabilities } from '../../compiler/targets/target.ts';
import { DeviceError, type Executable, type Session } from '../../runtime/program.ts';
import type { TargetName } from './target-name.ts';

export interface Target {
  readonly session: Session;
  load(graph: Graph): Promise<Executable>;
  /** What `auto` took, what would be faster here, and how to get it. */
  readonly notice?: string;
}

export interface TargetOptions {
  /** CPU threads; all there are by default. */
  readonly threads?: number;
  /** Passes of the compiler to leave out. */
  readonly without?: readonly string[];
  /** CUDA: products by 128 threads, where the GPU has them and they are right. */
  readonly wide?: boolean;
}

type Open = (options: Required<TargetOptions>) => Promise<Target>;

/** Opens a target. Throws DeviceError. */
export function openTarget(
  name: TargetName,
  { threads = availableParallelism(), without = [], wide = process.env['NACRE_WGMMA'] !== 'off' }: TargetOptions = {},
): Promise<Target> {
  return opening[name]({ threads, without, wide });
}

const opening: Record<TargetName, Open> = {
  /** Machine code where libLLVM is found, which names an NVIDIA GPU; else that GPU; else WebAssembly, which is everywhere. */
  async auto(options) {
    try {
      return { ...(await opening.cpu(options)), notice: await onCpu(options.threads) };
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      const { describeCuda } = await import('../../runtime/devices/cuda.ts');
      const gpu = await describeCuda().catch(() => undefined);
      if (gpu !== undefined) return { ...(await opening.cuda(options)), notice: `Target cuda: the ${gpu.name}.` };
      const notice = `Target wasm: WebAssembly. Machine code is several times as fast: ${error.message.replace(', or use `--target wasm`', '')}`;
      return { ...(await opening.wasm(options)), notice };
    }
  },
  async cpu({ threads, without }) {
    const { openCpuSession, describeCpu } = await import('../../runtime/devices/cpu.ts');
    const session = await openCpuSession({ threads });
    const { features = '', architecture = 'x86_64', l1, l2 } = await describeCpu();
    return compiling(session, forCpu({ architecture, features, l1, l2 }, threads), without, (program) =>
      session.load(program),
    );
  },
  async cuda({ without, wide }) {
    const [{ openCudaSession }, { architectureOf, compileCuda }, { compilerOn }] = await Promise.all([
      import('../../runtime/devices/cuda.ts'),
      import('./cuda-compile.ts'),
      import('./cuda-wide.ts'),
    ]);
    const session = await openCudaSession();
    const { major, minor } = session.description;
    const load = async ({ source, ...program }: CudaText): Promise<Executable> =>
      session.load({ ...program, image: await compileCuda(source, architectureOf(major, minor), program.name) });
    const { compiler, ...said } = await compilerOn(session.description, wide, load);
    return { ...compiling(session, compiler, without, load), ...said };
  },
  async webgpu({ without }) {
    const { openWebGpuSession } = await import('../../runtime/devices/webgpu.ts');
    const session = await openWebGpuSession();
    return compiling(session, forWebGpu(session), without, (program) => session.load(program));
  },
  async wasm({ threads, without }) {
    const [{ openWasmSession }, { hasRelaxedSimd }] = await Promise.all([
      import('../../runtime/devices/wasm.ts'),
      import('../../runtime/devices/wasm-features.ts'),
    ]);
    const session = await openWasmSession({ threads });
    return compiling(session, forWasm(session.threads, hasRelaxedSimd()), without, (program) => session.load(program));
  },
  async reference() {
    const { openReferenceSession } = await import('./reference.ts');
    const session = openReferenceSession();
    return { session, load: (graph) => Promise.resolve(session.load(graph)) };
  },
};

const compiling = <Program>(
  session: Session,
  compiler: Compiler<Program>,
  without: readonly string[],
  load: (program: Program) => Promise<Executable>,
): Target => ({
  session,
  async load(graph) {
    refuseDtypes(graph, compiler.capabilities, session.target);
    return load(compileFor(compiler, graph, without));
  },
});

/** What `auto` says where it takes the processor. */
async function onCpu(threads: number): Promise<string> {
  const took = `Target cpu: machine code, ${threads === 1 ? 'one thread' : `${threads} threads`}.`;
  const { describeCuda } = await import('../../runtime/devices/cuda.ts');
  return describeCuda().then(
    ({ name }) => `${took} The ${name} here is usually faster: --target cuda.`,
    () => took,
  );
}

/** An element type that the target has no code for is the user's to change, so it is said where it comes from. */
export function refuseDtypes(graph: Graph, capabilities: Capabilities, target: string): void {
  const found = foreignDtype(graph, capabilities);
  if (found !== undefined)
    throw new DeviceError(
      `${found.where} computes in ${found.dtype}, which the ${target} target does not: use \`--target reference\`, or f32.`,
    );
}
