/** WebAssembly, in Node and in a page. */
import { forWasm } from '../../../compiler/targets/wasm/compiler.ts';
import { openWasmSession } from '../../../runtime/devices/wasm.ts';
import { type BuiltWasm, ending, openBuilt } from '../../../runtime/devices/wasm-built.ts';
import { hasRelaxedSimd } from '../../../runtime/devices/wasm-features.ts';
import { type CodeBackend, compileOn, compiling } from './backend.ts';

const same = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, place) => byte === b[place]);

export const wasm: CodeBackend = {
  openBuilt,
  compiler: async (threads) => forWasm(threads, hasRelaxedSimd()),
  async open({ threads, without }) {
    const session = await openWasmSession({ threads });
    return compiling(session, forWasm(session.threads, hasRelaxedSimd()), without, (program) => session.load(program));
  },
  async builder(threads) {
    const [plain, relaxed] = [forWasm(threads, false), forWasm(threads, true)];
    return async (graph, key) => {
      const { code, ...rest } = compileOn('wasm', plain, graph);
      const faster = compileOn('wasm', relaxed, graph).code;
      const program: BuiltWasm = { ...rest, file: `${key}${ending}` };
      const file = { name: program.file, bytes: code };
      if (same(code, faster)) return { program, files: [file] };
      const other = { name: `${key}.relaxed${ending}`, bytes: faster };
      return { program: { ...program, relaxed: other.name }, files: [file, other] };
    };
  },
};
