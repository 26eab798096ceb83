/** The wasm target in tests. */
import { encodeModule } from '../../compiler/targets/wasm/encode.ts';
import { emitWasm } from '../../compiler/targets/wasm/step.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import type { WasmProgram } from '../../runtime/devices/wasm.ts';
import { hasRelaxedSimd } from '../../runtime/devices/wasm-features.ts';

export function wasmProgram(tile: TileProgram): WasmProgram {
  const { code, scratch } = emitWasm(tile, { relaxed: hasRelaxedSimd() });
  return { name: tile.name, ...encodeModule(code), scratch, buffers: tile.buffers, arena: tile.arena };
}
