/**
 * How many threads next to each other are sure to be of one subgroup. WebGPU says how small subgroups may be, but not which threads
 * of a workgroup they hold: that is tried out, once per session.
 */

const threads = 256;

/** Asked of a device that has the feature; 1 where its subgroups are not made of neighbours. */
export async function subgroupThreadsOf(device: GPUDevice, smallest: number): Promise<number> {
  const code = `enable subgroups;
@group(0) @binding(0) var<storage, read_write> others: array<u32>;
@compute @workgroup_size(${threads})
fn main(@builtin(local_invocation_index) local: u32) {
  var wrong = 0u;
${distancesBelow(smallest)
  .map((distance) => `  wrong |= subgroupShuffleXor(local, ${distance}u) ^ (local ^ ${distance}u);`)
  .join('\n')}
  others[local] = wrong;
}
`;
  const size = 4 * threads;
  const others = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const pipeline = await device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module: device.createShaderModule({ label: 'subgroups', code }), entryPoint: 'main' },
  });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(
    0,
    device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer: others } }],
    }),
  );
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(others, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const wrong = new Uint32Array(staging.getMappedRange()).some((word) => word !== 0);
  others.destroy();
  staging.destroy();
  return wrong ? 1 : smallest;
}

const distancesBelow = (size: number): number[] => Array.from({ length: Math.log2(size) }, (_, bit) => 2 ** bit);
