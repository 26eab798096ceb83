/** NVIDIA GPUs: nvcc compiles for the one that is there, or for all of them. */
import { type CudaText, forCuda } from '../../../compiler/targets/cuda/compiler.ts';
import { describeCuda, openCudaSession } from '../../../runtime/devices/cuda.ts';
import { type BuiltCuda, ending, openBuilt } from '../../../runtime/devices/cuda-built.ts';
import type { Executable } from '../../../runtime/program.ts';
import { type CodeBackend, compileOn, compiling } from './backend.ts';
import { architectureOf, compileCuda, compilePtx, needNvcc } from './cuda-compile.ts';
import { compilerOn } from './cuda-wide.ts';

export const cuda: CodeBackend = {
  openBuilt,
  compiler: async () => forCuda(),
  async open({ without, wide }) {
    const { major, minor } = await describeCuda();
    // Said now, and not by the first program: `auto` takes another target then.
    needNvcc();
    const session = await openCudaSession();
    const load = async ({ source, ...program }: CudaText): Promise<Executable> =>
      session.load({ ...program, image: await compileCuda(source, architectureOf(major, minor), program.name) });
    try {
      const { compiler, ...said } = await compilerOn(session.description, wide, load);
      return { ...compiling(session, compiler, without, load), ...said };
    } catch (error) {
      session.close();
      throw error;
    }
  },
  async builder() {
    const compiler = forCuda();
    return async (graph, key) => {
      const { source, ...rest } = compileOn('cuda', compiler, graph);
      const program: BuiltCuda = { ...rest, file: `${key}${ending}` };
      const ptx = await compilePtx(source, program.name);
      return { program, files: [{ name: program.file, bytes: ptx }] };
    };
  },
};
