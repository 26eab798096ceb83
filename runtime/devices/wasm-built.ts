/** Programs of a built WebAssembly trainer: a module, and where it differs another for engines with relaxed SIMD. */
import { type BuiltProgram, type OpenBuilt, taking } from '../artefact.ts';
import { DeviceError } from '../program.ts';
import { openWasmSession } from './wasm.ts';
import { hasRelaxedSimd } from './wasm-features.ts';

export const ending = '.wasm';

export interface BuiltWasm extends BuiltProgram {
  readonly relaxed?: string;
  readonly sharing: number;
  readonly scratch: number;
}

export const openBuilt: OpenBuilt = async (threads) => {
  const session = await openWasmSession({ threads });
  const isRelaxed = hasRelaxedSimd();
  return taking<BuiltWasm>(session, async ({ file, relaxed, ...program }, read) =>
    session.load({ ...program, code: await read(isRelaxed ? (relaxed ?? file) : file) }).catch((error: unknown) => {
      if (!(error instanceof WebAssembly.CompileError)) throw error;
      throw new DeviceError(`${file} is damaged: build the trainer again.`);
    }),
  );
};
