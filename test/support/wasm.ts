/** The wasm target in tests. */
import { encodeModule } from '../../compiler/targets/wasm/encode.ts';
import { relaxedProbe } from '../../compiler/targets/wasm/features.ts';
import { emitWasm } from '../../compiler/targets/wasm/step.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import type { WasmProgram } from '../../runtime/devices/wasm.ts';

/** Does this engine have relaxed SIMD? */
export const relaxedHere = WebAssembly.validate(relaxedProbe());

export function wasmProgram(tile: TileProgram, options: { relaxed: boolean; shared: boolean }): WasmProgram {
  const { code, scratch } = emitWasm(tile, options);
  return { name: tile.name, code: encodeModule(code), scratch, buffers: tile.buffers, arena: tile.arena };
}
