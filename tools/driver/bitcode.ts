/**
 * Bitcode files through llvm-bindings, an optional peer: for ahead-of-time builds with LLVM's own tools. Its reader gives
 * an empty module for a text it cannot read, so what comes back is looked at before it is believed.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withTypedPointers } from '../../compiler/targets/llvm/typed-pointers.ts';
import { DeviceError } from '../../runtime/program.ts';

/** What is used of llvm-bindings 0.4.2. */
interface Bindings {
  readonly LLVMContext: new () => object;
  readonly SMDiagnostic: new () => object;
  parseIRFile(path: string, diagnostic: object, context: object): BoundModule;
  verifyModule(module: BoundModule): boolean;
  WriteBitcodeToFile(module: BoundModule, path: string): void;
}

interface BoundModule {
  getFunction(name: string): object | null;
}

/** llvm-bindings, or undefined where it is not installed. */
export async function loadBindings(): Promise<Bindings | undefined> {
  const name = 'llvm-bindings';
  try {
    const module = (await import(name)) as Bindings & { readonly default?: Bindings };
    return module.default ?? module;
  } catch {
    return undefined;
  }
}

/** Verifies a module of the cpu target and writes it as bitcode. Throws DeviceError. */
export async function writeBitcode(text: string, path: string): Promise<void> {
  const bindings = await loadBindings();
  if (bindings === undefined) {
    throw new DeviceError(
      'Writing bitcode needs the package llvm-bindings, which is not installed here: install LLVM 14 and cmake (Debian: `apt install llvm-14-dev cmake`), then run `npm install llvm-bindings@0.4.2` (it compiles for a few minutes).',
    );
  }
  const folder = mkdtempSync(join(tmpdir(), 'nacre-bitcode-'));
  try {
    const source = join(folder, 'module.ll');
    writeFileSync(source, withTypedPointers(text));
    const module = bindings.parseIRFile(source, new bindings.SMDiagnostic(), new bindings.LLVMContext());
    if (module.getFunction('step') === null) throw new DeviceError('llvm-bindings cannot read the module.');
    if (bindings.verifyModule(module))
      throw new DeviceError('LLVM finds a fault in the module; it was written to the error output.');
    bindings.WriteBitcodeToFile(module, path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
