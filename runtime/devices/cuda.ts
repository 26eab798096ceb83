/**
 * NVIDIA GPUs through the driver. A run is one CUDA graph, recorded when the program first runs: inputs are copied in from pinned
 * memory, kernels run, results and the flag word are copied out. Runs queue: the next is begun while one is under way, and so
 * each program has that pinned memory twice, in turns.
 */
import { DeviceError } from '../program.ts';
import type { Executable, Field, ProgramBuffer, ProgramStep, TypedArray } from '../program.ts';
import { type Area, isLasting, layOut, placeIn, runningParts } from './area.ts';
import { assertShared, isClosed, notGiven, outOfRange } from './checks.ts';
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
  recorded?: { readonly graph: Handle; readonly area: Handle };
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
  const held = new Set<Handle>();
  const pinned = new Set<NativeMemory>();
  /** What there is to be given back of each program. */
  const closing = new Set<() => void>();
  const newMemory = (bytes: number, purpose: string): Handle => {
    const address = driver.allocate(bytes, purpose);
    held.add(address);
    return address;
  };
  const free = (address: Handle): void => {
    driver.free(address);
    held.delete(address);
  };
  const newPinned = (bytes: number, purpose: string): NativeMemory => {
    const memory = allocate(koffi, bytes, purpose);
    driver.pin(memory.address, Math.max(1, bytes));
    pinned.add(memory);
    return memory;
  };
  const unpin = (memory: NativeMemory): void => {
    driver.unpin(memory.address);
    pinned.delete(memory);
  };
  const flag = newMemory(4, 'the flag word');
  const lowered = newPinned(4, 'the flag word');
  /** What programs need while they run. */
  let running = { address: newMemory(0, 'what programs need while they run'), bytes: 0 };
  /** The program that ran there last: its constants are there still. */
  let holder: Handle | undefined;
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

  const makeRunning = (bytes: number, program: string): void => {
    if (bytes <= running.bytes) return;
    // Runs that are under way have what is there still.
    driver.wait();
    free(running.address);
    running = { address: 0n, bytes: 0 };
    running = { address: newMemory(bytes, `what ${program} needs while it runs`), bytes };
    holder = undefined;
  };
  const areaOf = ({ buffers, arena }: Pick<CudaProgram, 'buffers' | 'arena'>): Area =>
    layOut(runningParts(buffers, arena, bytesOf));
  const rooms = (program: Pick<CudaProgram, 'buffers' | 'arena'>): Room[] => {
    const { free: left, total } = driver.memory();
    return [
      {
        all: total,
        taken: total - left,
        wanted: wantedBy(program, shared) + Math.max(0, areaOf(program).bytes - running.bytes),
        limit: 'the GPU has',
        buffers: program.buffers,
        bytesOf,
      },
    ];
  };
  const load = async (program: CudaProgram): Promise<Executable> => {
    ready();
    assertRoom(program, rooms(program));
    assertShared(fields, program);
    const module = driver.loadModule(program.image, program.name);
    const slots: Slot[] = [];
    const close = (): void => {
      for (const { hosts, raised, event, recorded } of slots) {
        if (recorded !== undefined) driver.drop(recorded.graph);
        driver.dropEvent(event);
        for (const host of [...hosts.values(), raised]) unpin(host);
      }
      driver.unloadModule(module);
      closing.delete(close);
    };
    closing.add(close);
    const kernels = program.kernels.map(({ name, ...size }) => ({ ...size, handle: driver.functionOf(module, name) }));
    const area = areaOf(program);
    makeRunning(area.bytes, program.name);
    for (const buffer of program.buffers.filter(isLasting)) {
      const { name, dtype, shape } = buffer;
      if (!shared.has(name)) shared.set(name, newMemory(bytesOf(buffer), `${name} of ${program.name}`));
      fields.set(name, { name, dtype, shape });
    }
    const constants = program.buffers.filter((buffer) => buffer.role === 'constant' && bytesOf(buffer) > 0);
    const inputs = program.buffers.filter(({ role }) => role === 'batch' || role === 'scalar');
    const results = program.buffers.filter(({ role }) => role === 'result');
    const hostOf = ({ hosts, raised }: Slot, { name }: Field): NativeMemory => hosts.get(name) ?? raised;
    for (let count = 0; count < slotsOfEach; count++) {
      const hosts = [...inputs, ...constants, ...results].map((buffer): [string, NativeMemory] => [
        buffer.name,
        newPinned(bytesOf(buffer), `${buffer.name} of ${program.name}`),
      ]);
      const slot = { hosts: new Map(hosts), raised: newPinned(4, 'the flag word'), event: driver.newEvent() };
      for (const constant of constants) constantElements(constant, viewAs(hostOf(slot, constant), constant.dtype));
      slots.push(slot);
    }
    const deviceOf = (buffer: ProgramBuffer): Handle =>
      (isLasting(buffer) ? shared.get(buffer.name) : undefined) ?? running.address + BigInt(placeIn(area, buffer));
    const byName = new Map(program.buffers.map((buffer) => [buffer.name, buffer]));
    const addressOf = (name: string): Handle => {
      const buffer = byName.get(name);
      if (buffer === undefined) throw new Error(`${program.name} has no ${name}`);
      return deviceOf(buffer);
    };
    const launches = unrolled(program.steps);
    const record = (slot: Slot): Handle =>
      driver.capture(() => {
        for (const input of inputs)
          if (bytesOf(input) > 0) driver.copyIn(deviceOf(input), hostOf(slot, input).address, bytesOf(input));
        for (const { kernel, buffers, values } of launches) {
          const { grid, block, handle } = kernels[kernel];
          if (grid === 0) continue;
          const words = BigUint64Array.from([...buffers.map(addressOf), ...values.map(BigInt), flag]);
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
        if (!closing.has(close)) throw isClosed(program.name);
        const slot = slots[begun++ % slots.length];
        slot.collect?.();
        for (const input of inputs) {
          const data = given.get(input.name);
          if (data === undefined) throw notGiven(program.name, input.name);
          fill(`The input ${input.name} of ${program.name}`, viewAs(hostOf(slot, input), input.dtype), data);
        }
        // Where there was no memory for a larger one there is none at all.
        makeRunning(area.bytes, program.name);
        if (holder !== module)
          for (const constant of constants)
            driver.copyIn(deviceOf(constant), hostOf(slot, constant).address, bytesOf(constant));
        holder = module;
        if (slot.recorded?.area !== running.address) {
          if (slot.recorded !== undefined) driver.drop(slot.recorded.graph);
          slot.recorded = { graph: record(slot), area: running.address };
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
      async close() {
        if (!closing.has(close)) return;
        driver.settle();
        close();
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
      pinned.forEach(unpin);
      held.forEach(free);
    },
  };
}
