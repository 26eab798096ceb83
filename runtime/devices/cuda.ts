/**
 * NVIDIA GPUs through the driver. A run is one CUDA graph, recorded when the program first runs: inputs are copied in from pinned
 * memory, kernels run, results and the flag word are copied out. Runs queue: the next is begun while one is under way, and so
 * each program has that pinned memory twice, in turns.
 */
import { DeviceError } from '../program.ts';
import type { Executable, Field, ProgramBuffer, ProgramStep, TypedArray } from '../program.ts';
import { assertSame, notGiven, outOfRange } from './checks.ts';
import { constantElements, fill } from './constants.ts';
import { loadKoffi } from './cpu-library.ts';
import { allocate, viewAs, type NativeMemory } from './cpu-memory.ts';
import { type CudaDescription, type Handle, openCudaDriver } from './cuda-driver.ts';
import { unrolled } from './launches.ts';
import { assertRoom, elementSize as bytesOf, type Room, type RoomySession, wantedBy } from './room.ts';

/** A program for CUDA as plain data. Each kernel takes its buffers, then the counters of its repeats (int), then the flag word. */
export interface CudaProgram {
  readonly name: string;
  /** What nvcc or NVRTC made: a cubin, or PTX that ends with a zero. */
  readonly image: Uint8Array;
  readonly kernels: readonly { readonly name: string; readonly grid: number; readonly block: number }[];
  readonly steps: readonly ProgramStep[];
  readonly buffers: readonly ProgramBuffer[];
  /** Bytes of the memory that holds all temporaries, at their offsets. */
  readonly arena: number;
}

export interface CudaSession extends RoomySession<Pick<CudaProgram, 'buffers' | 'arena'>> {
  readonly description: CudaDescription;
  load(program: CudaProgram): Promise<Executable>;
}

/** Where what a run is given and what it gives lie: not touched while it is under way. */
interface Slot {
  readonly hosts: ReadonlyMap<string, NativeMemory>;
  readonly raised: NativeMemory;
  /** Happens when the run is done. */
  readonly event: Handle;
  recorded?: { readonly graph: Handle; readonly arena: Handle };
  /** Takes the results of the run that was begun here last, if nobody has; waits for it. */
  collect?(): void;
}

/** Results, and whether an index was out of range. */
interface Outcome {
  readonly results: ReadonlyMap<string, TypedArray>;
  readonly raised: boolean;
}

/** How many runs of a program may be under way. */
const slotsOfEach = 2;

/** Milliseconds in which the GPU is asked again and again; after them it is asked every millisecond. */
const impatient = 2;

export async function describeCuda(): Promise<CudaDescription> {
  return openCudaDriver(await loadKoffi('cuda')).description;
}

export async function openCudaSession(): Promise<CudaSession> {
  const koffi = await loadKoffi('cuda');
  const driver = openCudaDriver(koffi);
  const fields = new Map<string, Field>();
  const shared = new Map<string, Handle>();
  const held: Handle[] = [];
  const pinned: NativeMemory[] = [];
  const closing: (() => void)[] = [];
  const newMemory = (bytes: number, purpose: string): Handle => {
    const address = driver.allocate(bytes, purpose);
    held.push(address);
    return address;
  };
  const newPinned = (bytes: number, purpose: string): NativeMemory => {
    const memory = allocate(koffi, bytes, purpose);
    driver.pin(memory.address, Math.max(1, bytes));
    pinned.push(memory);
    return memory;
  };
  const flag = newMemory(4, 'the flag word');
  const lowered = newPinned(4, 'the flag word');
  let arena = { address: newMemory(0, 'the arena'), bytes: 0 };
  let closed = false;
  const ready = (): void => {
    if (closed) throw new DeviceError('The session is closed.');
  };
  const exchange = (field: Field, purpose: string, copy: (host: NativeMemory) => void): TypedArray => {
    const host = allocate(koffi, bytesOf(field), purpose);
    copy(host);
    driver.wait();
    return viewAs(host, field.dtype);
  };

  const rooms = (program: Pick<CudaProgram, 'buffers' | 'arena'>): Room[] => {
    const { free, total } = driver.memory();
    const arenaBytes = program.arena > arena.bytes ? program.arena : 0;
    return [
      {
        all: total,
        taken: total - free,
        wanted: wantedBy(program, shared) + arenaBytes,
        limit: 'the GPU has',
        buffers: program.buffers,
        bytesOf,
      },
    ];
  };
  const load = async (program: CudaProgram): Promise<Executable> => {
    ready();
    assertRoom(program, rooms(program));
    const module = driver.loadModule(program.image, program.name);
    closing.push(() => driver.unloadModule(module));
    const kernels = program.kernels.map(({ name, ...size }) => ({ ...size, handle: driver.functionOf(module, name) }));
    if (arena.bytes < program.arena)
      arena = { address: newMemory(program.arena, `the temporaries of ${program.name}`), bytes: program.arena };
    const places = new Map<string, Handle>();
    for (const buffer of program.buffers) {
      if (buffer.role === 'temporary') continue;
      const purpose = `${buffer.name} of ${program.name}`;
      const isKept = buffer.role === 'param' || buffer.role === 'state';
      if (isKept) assertSame(fields.get(buffer.name), buffer, program.name);
      const address = (isKept ? shared.get(buffer.name) : undefined) ?? newMemory(bytesOf(buffer), purpose);
      places.set(buffer.name, address);
      if (isKept) {
        shared.set(buffer.name, address);
        fields.set(buffer.name, { name: buffer.name, dtype: buffer.dtype, shape: buffer.shape });
      }
      if (buffer.data !== undefined)
        exchange(buffer, purpose, (host) => {
          constantElements(buffer, viewAs(host, buffer.dtype));
          driver.copyIn(address, host.address, bytesOf(buffer));
        });
    }
    const inputs = program.buffers.filter(({ role }) => role === 'batch' || role === 'scalar');
    const results = program.buffers.filter(({ role }) => role === 'result');
    const slots = Array.from({ length: slotsOfEach }, (): Slot => {
      const hosts = [...inputs, ...results].map((buffer): [string, NativeMemory] => [
        buffer.name,
        newPinned(bytesOf(buffer), `${buffer.name} of ${program.name}`),
      ]);
      const slot = { hosts: new Map(hosts), raised: newPinned(4, 'the flag word'), event: driver.newEvent() };
      closing.push(() => driver.dropEvent(slot.event));
      return slot;
    });
    const hostOf = ({ hosts, raised }: Slot, { name }: Field): NativeMemory => hosts.get(name) ?? raised;
    const deviceOf = ({ name }: Field): Handle => places.get(name) ?? flag;
    const offsets = new Map(program.buffers.map(({ name, offset }) => [name, BigInt(offset ?? 0)]));
    const launches = unrolled(program.steps);
    const record = (slot: Slot): Handle =>
      driver.capture(() => {
        for (const input of inputs)
          if (bytesOf(input) > 0) driver.copyIn(deviceOf(input), hostOf(slot, input).address, bytesOf(input));
        for (const { kernel, buffers, values } of launches) {
          const { grid, block, handle } = kernels[kernel];
          if (grid === 0) continue;
          const addresses = buffers.map((name) => places.get(name) ?? arena.address + (offsets.get(name) ?? 0n));
          const words = BigUint64Array.from([...addresses, ...values.map(BigInt), flag]);
          // The driver copies the arguments while it records; the list of their addresses follows them.
          const list = new BigUint64Array(2 * words.length);
          const base = koffi.address(list.buffer);
          list.set(words);
          words.forEach((_, at) => (list[words.length + at] = base + BigInt(8 * at)));
          driver.launch(handle, grid, block, base + BigInt(8 * words.length));
        }
        for (const result of results)
          if (bytesOf(result) > 0) driver.copyOut(hostOf(slot, result).address, deviceOf(result), bytesOf(result));
        driver.copyOut(slot.raised.address, flag, 4);
      });
    closing.push(() => slots.forEach(({ recorded }) => recorded !== undefined && driver.drop(recorded.graph)));
    const outcomeOf = (slot: Slot): Outcome => ({
      results: new Map(results.map((result) => [result.name, viewAs(hostOf(slot, result), result.dtype).slice()])),
      raised: slot.raised.bytes[0] !== 0,
    });
    let begun = 0;
    return {
      inputs,
      results,
      async run(given) {
        ready();
        const slot = slots[begun++ % slots.length];
        slot.collect?.();
        for (const input of inputs) {
          const data = given.get(input.name);
          if (data === undefined) throw notGiven(program.name, input.name);
          fill(`The input ${input.name} of ${program.name}`, viewAs(hostOf(slot, input), input.dtype), data);
        }
        if (slot.recorded?.arena !== arena.address) {
          if (slot.recorded !== undefined) driver.drop(slot.recorded.graph);
          slot.recorded = { graph: record(slot), arena: arena.address };
        }
        driver.run(slot.recorded.graph);
        driver.mark(slot.event);
        let outcome: Outcome | undefined;
        // Whoever is first: the run that needs the place next, or this one when it is told that it is done.
        slot.collect = () => {
          if (outcome !== undefined) return;
          driver.waitFor(slot.event);
          outcome = outcomeOf(slot);
        };
        for (const from = performance.now(); outcome === undefined && !driver.hasHappened(slot.event); ready())
          await new Promise<void>((resolve) =>
            performance.now() - from < impatient ? setImmediate(resolve) : setTimeout(resolve, 1),
          );
        outcome ??= outcomeOf(slot);
        if (outcome.raised) {
          // Runs that were begun meanwhile find it raised too.
          driver.copyIn(flag, lowered.address, 4);
          throw outOfRange(program.name);
        }
        return outcome.results;
      },
    };
  };

  const fieldAt = (name: string): { field: Field; address: Handle } => {
    const [field, address] = [fields.get(name), shared.get(name)];
    if (field === undefined || address === undefined)
      throw new DeviceError(`No loaded program has a param or state ${name}.`);
    return { field, address };
  };

  return {
    target: 'cuda',
    queues: true,
    description: driver.description,
    fields,
    rooms,
    load,
    async read(name) {
      ready();
      const { field, address } = fieldAt(name);
      return exchange(field, name, (host) => driver.copyOut(host.address, address, bytesOf(field))).slice();
    },
    write(name, data) {
      ready();
      const { field, address } = fieldAt(name);
      exchange(field, name, (host) => {
        fill(name, viewAs(host, field.dtype), data);
        driver.copyIn(address, host.address, bytesOf(field));
      });
    },
    close() {
      if (closed) return;
      closed = true;
      driver.settle();
      closing.forEach((close) => close());
      pinned.forEach(({ address }) => driver.unpin(address));
      held.forEach((address) => driver.free(address));
    },
  };
}
