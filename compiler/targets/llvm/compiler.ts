/** Machine code through LLVM. */
import type { NativeProgram } from '../../../runtime/devices/cpu.ts';
import { type Compiler, memoryOf } from '../target.ts';
import { capabilitiesOf, type CpuHost, instructionsOf } from './features.ts';
import { emitLlvm } from './step.ts';

/** For a processor as libLLVM describes it. */
export function forCpu(host: CpuHost, threads: number): Compiler<NativeProgram> {
  const instructions = instructionsOf(host);
  return {
    capabilities: capabilitiesOf(host, threads),
    program(tile) {
      const { parts: llvm, scratch } = emitLlvm(tile, instructions);
      return { ...memoryOf(tile), llvm, scratch };
    },
    text: (tile) => emitLlvm(tile, instructions).text,
  };
}
