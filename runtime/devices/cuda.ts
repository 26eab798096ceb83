/**
 * NVIDIA GPUs through the driver. A run is one CUDA graph, recorded when the program first runs: inputs are copied in from pinned
 * memory, kernels run, results and the flag word are copied out.
 */
import { DeviceError, elementBytes } from '../program.ts';
import type { Executable, Field, ProgramBuffer, ProgramStep, Session, TypedArray } from '../program.ts';
import { assertSame, notGiven, outOfRange } from './checks.ts';
import { constantElements, fill } from './constants.ts';
import { loadKoffi } from './cpu-library.ts';
import { allocate, viewAs, type NativeMemory } from './cpu-memory.ts';
import { type CudaDescription, type Handle, openCudaDriver } from './cuda-driver.ts';
import { unrolled } from './launches.ts';

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

export interface CudaSession extends Session {
  readonly description: CudaDescription;
  load(program: CudaProgram): Promise<Executable>;
}

const bytesOf = ({ dtype, shape }: Field): number =>
  shape.reduce((product, length) => product * length, elementBytes[dtype]);

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
  const raised = newPinned(4, 'the flag word');
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

  const load = async (program: CudaProgram): Promise<Executable> => {
    ready();
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
    const hosts = new Map(
      program.buffers
        .filter(({ role }) => role === 'batch' || role === 'scalar' || role === 'result')
        .map((buffer) => [buffer.name, newPinned(bytesOf(buffer), `${buffer.name} of ${program.name}`)]),
    );
    const inputs = program.buffers.filter(({ role }) => role === 'batch' || role === 'scalar');
    const results = program.buffers.filter(({ role }) => role === 'result');
    const hostOf = ({ name }: Field): NativeMemory => hosts.get(name) ?? raised;
    const deviceOf = ({ name }: Field): Handle => places.get(name) ?? flag;
    const offsets = new Map(program.buffers.map(({ name, offset }) => [name, BigInt(offset ?? 0)]));
    const launches = unrolled(program.steps);
    const record = (): Handle =>
      driver.capture(() => {
        for (const input of inputs)
          if (bytesOf(input) > 0) driver.copyIn(deviceOf(input), hostOf(input).address, bytesOf(input));
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
          if (bytesOf(result) > 0) driver.copyOut(hostOf(result).address, deviceOf(result), bytesOf(result));
        driver.copyOut(raised.address, flag, 4);
      });
    let recorded: { readonly graph: Handle; readonly arena: Handle } | undefined;
    closing.push(() => recorded !== undefined && driver.drop(recorded.graph));
    return {
      inputs,
      results,
      async run(given) {
        ready();
        for (const input of inputs) {
          const data = given.get(input.name);
          if (data === undefined) throw notGiven(program.name, input.name);
          fill(`The input ${input.name} of ${program.name}`, viewAs(hostOf(input), input.dtype), data);
        }
        if (recorded === undefined || recorded.arena !== arena.address) {
          if (recorded !== undefined) driver.drop(recorded.graph);
          recorded = { graph: record(), arena: arena.address };
        }
        driver.run(recorded.graph);
        driver.wait();
        if (raised.bytes[0] !== 0) {
          raised.bytes.fill(0);
          driver.copyIn(flag, raised.address, 4);
          driver.wait();
          throw outOfRange(program.name);
        }
        return new Map(results.map((result) => [result.name, viewAs(hostOf(result), result.dtype).slice()]));
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
    description: driver.description,
    fields,
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
      closing.forEach((close) => close());
      pinned.forEach(({ address }) => driver.unpin(address));
      held.forEach((address) => driver.free(address));
    },
  };
}
