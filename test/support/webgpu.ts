/** WebGPU in tests: on SwiftShader, which Debian's chromium-common carries, unless VK_ICD_FILENAMES says otherwise. */
import { existsSync } from 'node:fs';
import { compile } from '../../compiler/pipeline.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { capabilitiesOf, type WebGpuFeatures } from '../../compiler/targets/wgsl/features.ts';
import { emitWgsl } from '../../compiler/targets/wgsl/step.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import { openWebGpuSession, type WebGpuProgram, type WebGpuSession } from '../../runtime/devices/webgpu.ts';

const swiftshader = '/usr/lib/chromium/vk_swiftshader_icd.json';
if (existsSync(swiftshader)) process.env['VK_ICD_FILENAMES'] ??= swiftshader;

/** Why WebGPU tests cannot run here; undefined where they can. */
export const webgpuProblem: string | undefined = await openWebGpuSession().then(
  (session) => {
    session.close();
    return undefined;
  },
  (error: unknown) => String(error),
);

export const webgpuProgram = (tile: TileProgram): WebGpuProgram => ({
  name: tile.name,
  ...emitWgsl(tile),
  buffers: tile.buffers,
  arena: tile.arena,
  ...(tile.halves !== undefined && { halves: tile.halves }),
});

/** For this adapter, or as for one without some of what it has. */
export const compileFor = (
  { limits, subgroupThreads, halves }: WebGpuSession,
  graph: Graph,
  less: Partial<WebGpuFeatures> = {},
): TileProgram => compile(graph, capabilitiesOf(limits, { subgroupThreads, halves, ...less }), { verify: true }).tile;
