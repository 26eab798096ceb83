/** The processor, through LLVM. */
import { forCpu } from '../../../compiler/targets/llvm/compiler.ts';
import { featuresIn } from '../../../compiler/targets/llvm/features.ts';
import { openCpuSession } from '../../../runtime/devices/cpu.ts';
import { type BuiltCpu, ending, openBuilt } from '../../../runtime/devices/cpu-built.ts';
import { hostProcessor } from '../host.ts';
import { type CodeBackend, compileOn, compiling } from './backend.ts';
import { joined } from './pieces.ts';

export const cpu: CodeBackend = {
  openBuilt,
  compiler: async (threads) => forCpu(await hostProcessor(), threads),
  async open({ threads, without }) {
    const session = await openCpuSession({ threads });
    return compiling(session, forCpu(await hostProcessor(), threads), without, (program) => session.load(program));
  },
  async builder(threads) {
    const host = await hostProcessor();
    const compiler = forCpu(host, threads);
    return async (graph, key) => {
      const { llvm, ...rest } = compileOn('cpu', compiler, graph);
      const { text, pieces } = joined(llvm);
      const program: BuiltCpu = { ...rest, pieces, needs: featuresIn(text, host), file: `${key}${ending}` };
      return { program, files: [{ name: program.file, bytes: new TextEncoder().encode(text) }] };
    };
  },
};
