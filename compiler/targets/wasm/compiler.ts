/** WebAssembly. */
import type { WasmProgram } from '../../../runtime/devices/wasm.ts';
import { type Compiler, memoryOf } from '../target.ts';
import { encodeModule } from './encode.ts';
import { capabilitiesOf } from './features.ts';
import { emitWasm } from './step.ts';
import { printModule } from './text.ts';

/** `relaxed`: for engines that have relaxed SIMD. */
export function forWasm(threads: number, relaxed: boolean): Compiler<WasmProgram> {
  const options = { relaxed };
  return {
    capabilities: capabilitiesOf(threads),
    program(tile) {
      const { code, scratch } = emitWasm(tile, options);
      return { ...memoryOf(tile), ...encodeModule(code), scratch };
    },
    text: (tile) => printModule(emitWasm(tile, options).code),
  };
}
