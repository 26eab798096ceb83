/** What the machine can do at most: multiply-adds in registers, and copying memory; both as Tile programs of our own. */
import * as tile from '../compiler/tile/build.ts';
import type { TileBuffer, TileKernel, TileProgram } from '../compiler/tile/tile.ts';
import { emitLlvm } from '../compiler/targets/llvm/step.ts';
import { capabilitiesOf } from '../compiler/targets/llvm/features.ts';
import type { Capabilities } from '../compiler/targets/target.ts';
import { describeCpu, openCpuSession } from '../runtime/devices/cpu.ts';
import type { Measurement } from './measure.ts';
import { timeRuns } from './time.ts';

const rounds = 2_000_000;

/** GFLOP/s of independent fused multiply-adds that never leave the registers, all threads together. */
export async function measurePeak(threads: number): Promise<Measurement> {
  const { vectorLanes: lanes, vectorRegisters } = await capabilities(threads);
  const chains = Math.min(24, vectorRegisters - 4);
  const body = tile.block();
  const out = tile.parameter('out', 'f32', threads * 64, 'write');
  const item = tile.register('item', 'index');
  // The factor comes from memory, so that nothing can be computed beforehand.
  const factor = tile.parameter('factor', 'f32', 16, 'read');
  const x = body.let('x', tile.splat(tile.load(factor, 0), lanes));
  const sums = Array.from({ length: chains }, (_, at) => body.var(`sum${at}`, tile.number(at, 'f32', lanes)));
  body.for('round', 0, rounds, 1, () => sums.forEach((sum) => body.assign(sum, tile.fma(tile.read(sum), x, x))));
  const total = sums.map((sum) => tile.read(sum)).reduce((a, b) => tile.add(a, b));
  body.store(out, tile.mul(tile.read(item), 64), total);
  const ms = await timeKernel(threads, {
    name: 'peak',
    parameters: [factor, out],
    body: body.statements,
    grid: threads,
    item,
  });
  return { ms, rate: (2 * rounds * chains * lanes * threads) / ms / 1e6 };
}

const copied = 32 * 2 ** 20;

/** GB/s read plus written when 128 MiB are copied to another place. */
export async function measureCopy(threads: number): Promise<Measurement> {
  const { vectorLanes: lanes } = await capabilities(threads);
  const from = tile.parameter('from', 'f32', copied, 'read');
  const to = tile.parameter('to', 'f32', copied, 'write');
  const item = tile.register('item', 'index');
  const body = tile.block();
  const share = copied / 64;
  body.for('at', 0, share, lanes, (at) => {
    const place = tile.add(tile.mul(tile.read(item), share), at);
    body.store(to, place, tile.load(from, place, lanes));
  });
  const ms = await timeKernel(threads, { name: 'copy', parameters: [from, to], body: body.statements, grid: 64, item });
  return { ms, rate: (2 * 4 * copied) / ms / 1e6 };
}

async function capabilities(threads: number): Promise<Capabilities> {
  const { features = '', architecture = 'x86_64' } = await describeCpu();
  return capabilitiesOf({ architecture, features }, threads);
}

async function timeKernel(
  threads: number,
  given: Pick<TileKernel, 'name' | 'parameters' | 'body' | 'grid' | 'item'>,
): Promise<number> {
  const kernel: TileKernel = {
    ...given,
    arguments: [],
    scratch: [],
    workgroup: 1,
    thread: tile.register('thread', 'index'),
  };
  const buffers = kernel.parameters.map((memory): TileBuffer => ({
    name: memory.name,
    role: memory.access === 'write' ? 'state' : 'param',
    dtype: memory.dtype,
    shape: [memory.size],
  }));
  const program: TileProgram = {
    name: kernel.name,
    buffers,
    arena: 0,
    steps: [{ kind: 'launch', kernel, buffers: buffers.map(({ name }) => name), arguments: [] }],
  };
  const session = await openCpuSession({ threads });
  const { parts, scratch } = emitLlvm(program);
  const executable = await session.load({ name: program.name, llvm: parts, scratch, buffers, arena: 0 });
  const ms = await timeRuns(() => executable.run(new Map()), 5);
  session.close();
  return ms;
}
