/** Any GPU, through WebGPU: in Node and in a page. */
import { forWebGpu } from '../../../compiler/targets/wgsl/compiler.ts';
import { openWebGpuSession } from '../../../runtime/devices/webgpu.ts';
import { type BuiltWebGpu, ending, openBuilt } from '../../../runtime/devices/webgpu-built.ts';
import { type CodeBackend, compileOn, compiling } from './backend.ts';
import { joined } from './pieces.ts';

export const webgpu: CodeBackend = {
  openBuilt,
  compiler: async () => forWebGpu(),
  async open({ without }) {
    const session = await openWebGpuSession();
    return compiling(session, forWebGpu(session), without, (program) => session.load(program));
  },
  async builder() {
    const compiler = forWebGpu();
    return async (graph, key) => {
      const { kernels, ...rest } = compileOn('webgpu', compiler, graph);
      const { text, pieces } = joined(kernels.map(({ code }) => code));
      const placed = kernels.map(({ name, grid }, at) => ({ name, grid, piece: pieces[at] }));
      const program: BuiltWebGpu = { ...rest, kernels: placed, file: `${key}${ending}` };
      return { program, files: [{ name: program.file, bytes: new TextEncoder().encode(text) }] };
    };
  },
};
