/**
 * On a GPU a launch costs more than what many kernels do. The segments of a step do not depend on each other, so their kernels become
 * one, where their workgroups are alike; a segment of several kernels takes part with the first, then the second, and so on.
 */
import type { Capabilities } from '../targets/target.ts';
import { mergeKernels } from '../tile/merge.ts';
import type { TileKernel, TileStep } from '../tile/tile.ts';
import { dtypeBytes } from '../types/dtype.ts';

export type Launch = Extract<TileStep, { kind: 'launch' }>;

/** What was merged already, by what it was made of: layers that are alike share it. */
export type Merged = Map<string, TileKernel>;

/** One kernel holds so many others, and so many parameters: more is slow to compile, and CUDA passes 4 KiB of them. */
const most = { kernels: 8, parameters: 96 } as const;

/** `segments`: the launches of each, in order. */
export function launchTogether(
  segments: readonly (readonly Launch[])[],
  merged: Merged,
  capabilities: Capabilities,
): readonly Launch[] {
  const rounds = Math.max(0, ...segments.map((launches) => launches.length));
  return Array.from({ length: rounds }, (_, round) =>
    groups(
      segments.flatMap((launches) => launches.slice(round, round + 1)),
      capabilities.nearMemory,
    ).map((group) => together(group, merged)),
  ).flat();
}

/** Bytes of workgroup memory. */
const sharedBytes = ({ scratch }: TileKernel): number =>
  scratch.reduce(
    (bytes, { space, size, dtype }) => bytes + (space === 'workgroup' ? size * Math.max(4, dtypeBytes[dtype]) : 0),
    0,
  );

function groups(launches: readonly Launch[], nearMemory: number): readonly (readonly Launch[])[] {
  const found: { readonly launches: Launch[]; bytes: number; parameters: number }[] = [];
  for (const launch of launches) {
    const { kernel } = launch;
    const bytes = sharedBytes(kernel);
    const parameters = kernel.parameters.length;
    const place = found.find(
      (group) =>
        group.launches[0].kernel.workgroup === kernel.workgroup &&
        group.launches.length < most.kernels &&
        group.bytes + bytes <= nearMemory &&
        group.parameters + parameters <= most.parameters,
    );
    if (place === undefined) found.push({ launches: [launch], bytes, parameters });
    else {
      place.launches.push(launch);
      place.bytes += bytes;
      place.parameters += parameters;
    }
  }
  return found.map((group) => group.launches);
}

function together(group: readonly Launch[], merged: Merged): Launch {
  if (group.length === 1) return group[0];
  const kernels = group.map(({ kernel }) => kernel);
  // Names of kernels are unique; no other begins with the first's and ends in this number.
  const key = kernels.map(({ name }) => name).join(' ');
  const kernel = merged.get(key) ?? mergeKernels(`${kernels[0].name}_and_${merged.size}`, kernels);
  merged.set(key, kernel);
  const buffers = group.flatMap((launch) => launch.buffers);
  return { kind: 'launch', kernel, buffers, arguments: group[0].arguments };
}
