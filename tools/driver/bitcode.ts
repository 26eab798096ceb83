/**
 * Bitcode files through llvm-bindings, an optional peer: for ahead-of-time builds with LLVM's own tools. For a text it
 * cannot read it hands out a module that ends the process when touched, so the work is done in a process of its own.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withTypedPointers } from '../../compiler/targets/llvm/typed-pointers.ts';
import { DeviceError } from '../../runtime/program.ts';

/** Where llvm-bindings is, if it is installed. */
export function findBindings(): string | undefined {
  try {
    return createRequire(import.meta.url).resolve('llvm-bindings');
  } catch {
    return undefined;
  }
}

const faulty = 3;

/** Reads, verifies and writes a module; the arguments are llvm-bindings, the text and the bitcode. */
const script = `
const [bindings, source, target] = process.argv.slice(1);
const llvm = require(bindings);
const module_ = llvm.parseIRFile(source, new llvm.SMDiagnostic(), new llvm.LLVMContext());
if (module_.getFunction('step') === null) process.exit(1);
if (llvm.verifyModule(module_)) process.exit(${faulty});
llvm.WriteBitcodeToFile(module_, target);
`;

/** Verifies a module of the cpu target and writes it as bitcode. Throws DeviceError. */
export function writeBitcode(text: string, path: string): void {
  const bindings = findBindings();
  if (bindings === undefined) {
    throw new DeviceError(
      'Writing bitcode needs the package llvm-bindings, which is not installed here: install LLVM 14 and cmake (Debian: `apt install llvm-14-dev cmake`), then run `npm install --no-save --save-optional llvm-bindings@0.4.2` (it compiles for a few minutes).',
    );
  }
  const folder = mkdtempSync(join(tmpdir(), 'nacre-bitcode-'));
  try {
    const source = join(folder, 'module.ll');
    writeFileSync(source, withTypedPointers(text));
    const { status, stderr } = spawnSync(process.execPath, ['-e', script, bindings, source, path], {
      encoding: 'utf8',
    });
    if (status === faulty) throw new DeviceError(`LLVM finds a fault in the module: ${stderr.trim()}`);
    if (status !== 0) throw new DeviceError('llvm-bindings cannot read the module.');
  } finally {
    rmSync(folder, { recursive: true });
  }
}
