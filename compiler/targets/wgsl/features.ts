/** What a WebGPU adapter can do, from its limits. */
import type { Dtype } from '../../types/dtype.ts';
import type { Capabilities } from '../target.ts';

/** Of the adapter's limits those that schedules look at; the defaults are what every adapter has. */
export interface WebGpuLimits {
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupStorageSize: number;
}

export interface WebGpuFeatures {
  /** Threads that are sure to be of one subgroup; 1 where the adapter has none, or where it is not known. */
  readonly subgroupThreads: number;
  /** It has shader-f16: elements of two bytes that are stored by themselves. */
  readonly halves: boolean;
}

export const defaultLimits: WebGpuLimits = {
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupStorageSize: 16 * 1024,
};

/** bf16 is kept in words and rounded as it should be, as is f16 where the adapter has none; f64 there is none. */
const dtypes: readonly Dtype[] = ['f32', 'f16', 'bf16', 'i32', 'u32', 'i8', 'u8', 'bool'];

export const capabilitiesOf = (
  limits: WebGpuLimits = defaultLimits,
  { subgroupThreads, halves }: WebGpuFeatures = { subgroupThreads: 1, halves: false },
): Capabilities => ({
  vectorLanes: 1,
  vectorRegisters: 16,
  workgroupThreads: Math.min(256, limits.maxComputeInvocationsPerWorkgroup),
  subgroupThreads,
  nearMemory: limits.maxComputeWorkgroupStorageSize,
  cache: 0,
  // WebGPU does not say; enough for a small GPU to be full, and no more than a large one needs.
  units: 32,
  smallestElement: 4,
  halvesApart: halves,
  dtypes,
  matrices: [],
  wideMatrices: [],
  dotsBytes: false,
});
