/** The processor that this runs on, as the compiler wants to know it. */
import { availableParallelism } from 'node:os';
import { capabilitiesOf, type CpuHost, instructionsOf } from '../../compiler/targets/llvm/features.ts';
import type { Instructions } from '../../compiler/targets/llvm/writer.ts';
import type { Capabilities } from '../../compiler/targets/target.ts';
import { describeCpu } from '../../runtime/devices/cpu.ts';

/** Of this machine's processor. */
export async function hostCapabilities(threads = availableParallelism()): Promise<Capabilities> {
  return capabilitiesOf(await hostProcessor(), threads);
}

/** Of a common one where there is no libLLVM to tell. */
export async function hostProcessor(): Promise<CpuHost> {
  const { features = '+avx2,+fma', architecture = 'x86_64', l1, l2 } = await describeCpu();
  return { architecture, features, l1, l2 };
}

/** The instructions this machine has. */
export async function hostInstructions(): Promise<Instructions> {
  const { features = '', architecture = 'x86_64' } = await describeCpu();
  return instructionsOf({ architecture, features });
}
