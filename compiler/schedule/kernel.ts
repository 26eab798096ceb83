/** One segment becomes one kernel: parameters in order of first use, scratch as it is asked for, a body, a grid. */
import { elementCount } from '../../common/elements.ts';
import type { Axis, Buffer, Segment } from '../loop/loop.ts';
import type { Capabilities } from '../targets/target.ts';
import { parameter, read, register, scratch } from '../tile/build.ts';
import { tidy } from '../tile/tidy.ts';
import type { Memory, Register, TileKernel } from '../tile/tile.ts';
import { ownBuffers } from '../loop/build.ts';
import { emitChain } from './chain.ts';
import { emitContraction } from './contract.ts';
import { emitRegion } from './region.ts';
import { rootsOf, storesOf, walk } from './rewrite.ts';
import { emitScatter } from './scatter.ts';
import { bind, type Kernel, newPlace, newScope, type Scope } from './scope.ts';
import { emitTeamChain } from './team-chain.ts';
import { emitTeamContraction } from './team-contract.ts';
import { emitTeamRegion } from './team-region.ts';
import { emitTeamScatter } from './team-scatter.ts';
import type { Extent } from './team.ts';

/** A kernel for a segment inside `repeats`; undefined where there is nothing to do. */
export function makeKernel(
  name: string,
  segment: Segment,
  repeats: readonly { readonly axis: Axis; readonly index: Register }[],
  capabilities: Capabilities,
): TileKernel | undefined {
  const uses = buffersOf(segment);
  const memories = new Map<Buffer, Memory>();
  [...uses].forEach(([buffer, access], at) =>
    memories.set(buffer, parameter(`p${at}`, buffer.dtype, elementCount(buffer.shape), access)),
  );
  const scratches: Memory[] = [];
  let numbers = 0;
  const item = register('item', 'index');
  const thread = register('thread', 'index');
  const kernel: Kernel = {
    root: newPlace(0),
    masksElements: capabilities.workgroupThreads > 1,
    item: read(item),
    thread: read(thread),
    next: () => numbers++,
    memory(buffer) {
      const memory = memories.get(buffer);
      if (memory === undefined) throw new Error(`kernel ${name} touches ${buffer.name}, which is none of its buffers`);
      return memory;
    },
    scratch(dtype, shape) {
      const memory = scratch(`s${scratches.length}`, dtype, elementCount(shape));
      const buffer: Buffer = { name: memory.name, role: 'temporary', dtype, shape };
      scratches.push(memory);
      memories.set(buffer, memory);
      return buffer;
    },
    shared(dtype, size) {
      const memory = scratch(`s${scratches.length}`, dtype, size, 'workgroup');
      scratches.push(memory);
      return memory;
    },
    lay: (buffer, memory) => void memories.set(buffer, memory),
    kept: new Map(),
  };
  let scope = newScope(kernel);
  for (const { axis, index } of repeats) scope = bind(scope, axis, read(index));
  const { grid, workgroup } = emit(scope, segment, capabilities);
  if (grid === 0) return undefined;
  return tidy({
    name,
    parameters: [...uses.keys()].map((buffer) => kernel.memory(buffer)),
    arguments: repeats.map(({ index }) => index),
    scratch: scratches,
    grid,
    item,
    workgroup,
    thread,
    body: kernel.root.statements,
  });
}

function emit(scope: Scope, segment: Segment, capabilities: Capabilities): Extent {
  if (capabilities.workgroupThreads > 1) return emitTeam(scope, segment, capabilities);
  const { item } = scope.kernel;
  switch (segment.kind) {
    case 'region':
      return { grid: emitRegion(scope, item, segment, capabilities), workgroup: 1 };
    case 'contraction':
      return { grid: emitContraction(scope, item, segment, capabilities), workgroup: 1 };
    case 'scatter':
      return { grid: emitScatter(scope, item, segment, capabilities), workgroup: 1 };
    case 'chain':
      return { grid: emitChain(scope, item, segment, capabilities), workgroup: 1 };
  }
}

function emitTeam(scope: Scope, segment: Segment, capabilities: Capabilities): Extent {
  switch (segment.kind) {
    case 'region':
      return emitTeamRegion(scope, segment, capabilities);
    case 'contraction':
      return emitTeamContraction(scope, segment, capabilities);
    case 'scatter':
      return emitTeamScatter(scope, segment);
    case 'chain':
      return emitTeamChain(scope, segment, capabilities);
  }
}

/** The buffers a segment touches, in order of first use, and how. */
export function buffersOf(segment: Segment): ReadonlyMap<Buffer, Memory['access']> {
  const uses = new Map<Buffer, Memory['access']>();
  const note = (buffer: Buffer, access: 'read' | 'write'): void => {
    const known = uses.get(buffer);
    uses.set(buffer, known === undefined || known === access ? access : 'read-write');
  };
  const stores = storesOf(segment);
  const roots = [
    ...rootsOf(segment),
    ...stores.flatMap((store) => store.access.index.flatMap((at) => (at.kind === 'computed' ? [at.value] : []))),
  ];
  walk(roots, (of) => {
    if (of.kind === 'load') note(of.access.buffer, 'read');
  });
  for (const store of stores) note(store.access.buffer, 'write');
  if (segment.kind === 'scatter') uses.set(segment.target, 'read-write');
  if (segment.kind === 'chain') for (const own of ownBuffers(segment)) uses.delete(own);
  return uses;
}
