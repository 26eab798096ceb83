/** Running Tile programs in tests and measurements: natively, where there is an LLVM. */
import { emitLlvm } from '../../compiler/targets/llvm/step.ts';
import type { Instructions } from '../../compiler/targets/llvm/writer.ts';
import { hostInstructions } from '../../tools/driver/host.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import type { CpuExecutable, CpuOptions, CpuSession, NativeProgram } from '../../runtime/devices/cpu.ts';
import { describeCpu, openCpuSession } from '../../runtime/devices/cpu.ts';
import type { TypedArray } from '../../runtime/program.ts';

/** Why native tests cannot run here; undefined where they can. */
export const nativeProblem: string | undefined = (await describeCpu()).problem;

const ours = await hostInstructions();

/** The program as the CPU device takes it. Temporaries must have offsets. */
export function nativeProgram(program: TileProgram, instructions: Instructions = ours): NativeProgram {
  const { parts, scratch } = emitLlvm(program, instructions);
  return { name: program.name, llvm: parts, scratch, arena: program.arena, buffers: program.buffers };
}

export async function loadNative(
  program: TileProgram,
  options: CpuOptions = { threads: 1, guard: true },
): Promise<{ session: CpuSession; executable: CpuExecutable }> {
  const session = await openCpuSession(options);
  return { session, executable: await session.load(nativeProgram(program)) };
}

/** Inputs, params and states by name in, results by name out, everything closed again. */
export async function runNative(
  program: TileProgram,
  inputs: Readonly<Record<string, TypedArray>>,
  options?: CpuOptions,
): Promise<ReadonlyMap<string, TypedArray>> {
  const { session, executable } = await loadNative(program, options);
  try {
    const given = Object.entries(inputs);
    for (const [name, data] of given) if (session.fields.has(name)) session.write(name, data);
    return await executable.run(new Map(given));
  } finally {
    session.close();
  }
}
