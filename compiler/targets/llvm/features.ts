/** What a CPU can do, from what LLVM says about the host: how wide vectors are and how many registers hold them. */
import type { Dtype } from '../../types/dtype.ts';
import type { Capabilities } from '../target.ts';
import type { Instructions } from './writer.ts';

/** A CPU as the runtime describes it. */
export interface CpuHost {
  readonly architecture: 'x86_64' | 'aarch64';
  /** LLVM's list of what it has (+) and has not (-): "+avx2,-avx512f,…". */
  readonly features: string;
  /** Bytes of the first and second data cache of one core, where they are known. */
  readonly l1?: number;
  readonly l2?: number;
}

/** f64 is left to the reference: its transcendental functions have no native code. */
const nativeDtypes: readonly Dtype[] = ['f32', 'f16', 'bf16', 'i32', 'u32', 'i8', 'u8', 'bool'];

export function capabilitiesOf(host: CpuHost, threads: number): Capabilities {
  const features = new Set(host.features.split(','));
  const { lanes, registers } = vectors(host.architecture, (name) => features.has(`+${name}`));
  return {
    vectorLanes: lanes,
    vectorRegisters: registers,
    workgroupThreads: 1,
    subgroupThreads: 1,
    nearMemory: host.l1 ?? 32 * 1024,
    cache: host.l2 ?? 1024 * 1024,
    units: threads,
    smallestElement: 1,
    halvesApart: false,
    dtypes: nativeDtypes,
    matrices: [],
    wideMatrices: [],
    dotsBytes: instructionsOf(host).dotsBytes,
  };
}

/** Between f16 and f32: F16C on x86, always on ARM. Bytes: AVX-512 VNNI. */
export function instructionsOf({ architecture, features }: CpuHost): Instructions {
  const has = new Set(features.split(','));
  return {
    convertsHalves: architecture === 'aarch64' || has.has('+f16c'),
    dotsBytes: architecture === 'x86_64' && has.has('+avx512vnni') && has.has('+avx512vl'),
  };
}

/** The features that a processor has to have for the instructions in a text, which LLVM takes apart for no other. */
export const featuresIn = (llvm: string, { architecture }: Pick<CpuHost, 'architecture'>): readonly string[] =>
  architecture !== 'x86_64'
    ? []
    : [
        ...(llvm.includes('@llvm.x86.avx512.vpdpbusd') ? ['avx512vnni', 'avx512vl'] : []),
        ...(/ half\b| x half>/.test(llvm) ? ['f16c'] : []),
      ];

function vectors(
  architecture: CpuHost['architecture'],
  has: (feature: string) => boolean,
): { lanes: number; registers: number } {
  if (architecture === 'aarch64') return { lanes: 4, registers: 32 };
  if (has('avx512f') && has('avx512bw') && has('avx512vl')) return { lanes: 16, registers: 32 };
  return has('avx2') && has('fma') ? { lanes: 8, registers: 16 } : { lanes: 4, registers: 16 };
}
