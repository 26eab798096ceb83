/**
 * Any GPU through WebGPU. Everything a session holds lies in one buffer of words, the heap: params and states, what programs
 * own, and at its end the arena of temporaries that all programs share. A run is one submit: its launches in one pass, then the
 * copy of its results to where they can be read.
 */
import { DeviceError, DeviceLost, elementBytes } from '../program.ts';
import type { ElementType, Executable, Field, ProgramBuffer, ProgramStep, Session, TypedArray } from '../program.ts';
import { assertFits, assertSame, notGiven, outOfRange } from './checks.ts';
import { unrolled } from './launches.ts';
import { openAdapter, type WebGpuDescription } from './webgpu-adapter.ts';
import { subgroupThreadsOf } from './webgpu-subgroups.ts';
import { arrayOf, constantWords, fromWords, toWords } from './webgpu-words.ts';

/**
 * A program for WebGPU as plain data. Each kernel is a WGSL module with the entry point `main` and at most three bindings: 0 the heap,
 * 1 its launch (the place of each buffer in words, then each argument, all of 4 bytes), 2 the flag word.
 */
export interface WebGpuProgram {
  readonly name: string;
  readonly kernels: readonly { readonly name: string; readonly code: string; readonly grid: number }[];
  readonly steps: readonly ProgramStep[];
  readonly buffers: readonly ProgramBuffer[];
  /** Bytes of the arena, every element a word. */
  readonly arena: number;
}

export interface WebGpuSession extends Session {
  readonly description: WebGpuDescription;
  readonly limits: GPUSupportedLimits;
  /** Threads that may hand each other values; 1 where they cannot. */
  readonly subgroupThreads: number;
  load(program: WebGpuProgram): Promise<WebGpuExecutable>;
}

export interface WebGpuExecutable extends Executable {
  /** Kernels started in one run; all of them are one submit. */
  readonly dispatches: number;
}

/** Bytes between what different launches are told: offsets into a uniform buffer must be multiples of it. */
const recordSize = 256;
/** Places in the heap are multiples of so many words. */
const alignment = 16;
const widestGrid = 65_535;
/** The first words of the heap belong to nobody. */
const firstPlace = alignment;

type Element = Exclude<ElementType, 'f64'>;

const aligned = (words: number): number => Math.ceil(words / alignment) * alignment;
const sizeOf = ({ shape }: Field): number => shape.reduce((product, length) => product * length, 1);

function elementOf({ name, dtype }: Field): Element {
  if (dtype === 'f64') throw new DeviceError(`${name} is f64, which WebGPU does not have.`);
  return dtype;
}

export async function openWebGpuSession(): Promise<WebGpuSession> {
  const { adapter, description } = await openAdapter();
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: adapter.features.has('subgroups') ? ['subgroups'] : [],
    requiredLimits: { maxStorageBufferBindingSize, maxBufferSize },
  });
  const smallest = device.features.has('subgroups') ? adapter.info.subgroupMinSize : 1;
  const subgroupThreads = smallest > 1 ? await subgroupThreadsOf(device, smallest) : 1;
  let broken: DeviceError | undefined;
  let closed = false;
  void device.lost.then(({ message }) => {
    if (!closed) broken = new DeviceLost(`The GPU was lost: ${firstLine(message)}`);
  });
  device.addEventListener('uncapturederror', ({ error }) => {
    broken ??= new DeviceError(`The GPU refused what it was given: ${firstLine(error.message)}`);
  });
  const ready = (): void => {
    if (closed) throw new DeviceError('The session is closed.');
    if (broken !== undefined) throw broken;
  };

  const layout = device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'storage' } },
      { binding: 1, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true } },
      { binding: 2, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'storage' } },
    ],
  });
  const pipelineLayout = device.createPipelineLayout({ bindGroupLayouts: [layout] });
  const pipelines = new Map<string, Promise<GPUComputePipeline>>();
  const pipelineOf = (name: string, code: string): Promise<GPUComputePipeline> => {
    const known =
      pipelines.get(code) ??
      device
        .createComputePipelineAsync({
          label: name,
          layout: pipelineLayout,
          compute: { module: device.createShaderModule({ label: name, code }), entryPoint: 'main' },
        })
        .catch((error: unknown) => {
          throw new DeviceError(`The GPU does not take the kernel ${name}: ${firstLine(String(error))}`);
        });
    pipelines.set(code, known);
    return known;
  };

  const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const flag = device.createBuffer({ size: 4, usage: storage });
  let heap = device.createBuffer({ size: 4 * firstPlace, usage: storage });
  /** Words up to which the heap is given away, and words of the largest arena, which follows. */
  let given = firstPlace;
  let arena = 0;

  const fields = new Map<string, Field>();
  const shared = new Map<string, number>();

  const allocate = (words: number): number => {
    const place = given;
    given += aligned(words);
    return place;
  };

  /** Makes the heap as large as it has to be; what was in it stays, but for temporaries. */
  const grow = (kept: number, program: WebGpuProgram): void => {
    const size = 4 * (given + arena);
    if (size <= heap.size) return;
    if (size > description.largestBinding) throw tooLarge(program, size, 4 * kept, description);
    const before = heap;
    heap = device.createBuffer({ size, usage: storage });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(before, 0, heap, 0, Math.min(before.size, 4 * kept));
    device.queue.submit([encoder.finish()]);
    before.destroy();
  };

  const readWords = async (offset: number, size: number): Promise<Uint32Array> => {
    const staging = device.createBuffer({
      size: Math.max(4, size),
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    const encoder = device.createCommandEncoder();
    if (size > 0) encoder.copyBufferToBuffer(heap, offset, staging, 0, size);
    device.queue.submit([encoder.finish()]);
    const [words] = await mapped(staging, [size]);
    return words;
  };

  /** The words of a buffer that is mapped for this, in pieces; the buffer is gone afterwards. */
  const mapped = async (staging: GPUBuffer, sizes: readonly number[]): Promise<Uint32Array[]> => {
    await staging.mapAsync(GPUMapMode.READ).catch(async (error: unknown) => {
      // A loss may be told of only after what failed by it.
      await new Promise((resolve) => setTimeout(resolve));
      throw broken ?? new DeviceError(`The GPU gave nothing back: ${firstLine(String(error))}`);
    });
    const words = new Uint32Array(staging.getMappedRange().slice(0));
    staging.destroy();
    let at = 0;
    return sizes.map((size) => words.subarray(at / 4, (at += size) / 4));
  };

  const load = async (program: WebGpuProgram): Promise<WebGpuExecutable> => {
    ready();
    const kept = given;
    const places = new Map<string, number>();
    // Results lie side by side: one copy takes them all.
    const order = [...program.buffers].sort((a, b) => Number(a.role === 'result') - Number(b.role === 'result'));
    for (const buffer of order) {
      if (buffer.role === 'temporary') continue;
      const isKept = buffer.role === 'param' || buffer.role === 'state';
      if (isKept) assertSame(fields.get(buffer.name), buffer, program.name);
      const place = (isKept ? shared.get(buffer.name) : undefined) ?? allocate(sizeOf(buffer));
      places.set(buffer.name, place);
      if (!isKept) continue;
      shared.set(buffer.name, place);
      fields.set(buffer.name, { name: buffer.name, dtype: buffer.dtype, shape: buffer.shape });
    }
    arena = Math.max(arena, Math.ceil(program.arena / 4));
    grow(kept, program);
    for (const { name, dtype, data } of program.buffers)
      if (data !== undefined)
        device.queue.writeBuffer(
          heap,
          4 * (places.get(name) ?? 0),
          constantWords(elementOf({ name, dtype, shape: [] }), data),
        );
    const compiled = await Promise.all(program.kernels.map(({ name, code }) => pipelineOf(name, code)));
    const offsets = new Map(program.buffers.map(({ name, offset }) => [name, (offset ?? 0) / 4]));
    const launches = unrolled(program.steps).filter(({ kernel }) => program.kernels[kernel].grid > 0);
    const longest = Math.max(1, ...launches.map(({ buffers, values }) => buffers.length + values.length));
    const record = Math.ceil((4 * longest) / recordSize) * recordSize;
    const told = device.createBuffer({
      size: record * Math.max(1, launches.length),
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    const inputs = program.buffers.filter(({ role }) => role === 'batch' || role === 'scalar');
    const results = order.filter(({ role }) => role === 'result');
    const placeOf = (name: string): number => places.get(name) ?? given + (offsets.get(name) ?? 0);
    let bound: { readonly heap: GPUBuffer; readonly arena: number; readonly group: GPUBindGroup } | undefined;
    /** What launches are told depends on where the arena lies, which moves as programs are loaded. */
    const bind = (): GPUBindGroup => {
      if (bound !== undefined && bound.heap === heap && bound.arena === given) return bound.group;
      const records = new Uint32Array((record / 4) * Math.max(1, launches.length));
      launches.forEach(({ buffers, values }, at) =>
        records.set([...buffers.map(placeOf), ...values], (record / 4) * at),
      );
      device.queue.writeBuffer(told, 0, records);
      const group = device.createBindGroup({
        layout,
        entries: [
          { binding: 0, resource: { buffer: heap } },
          { binding: 1, resource: { buffer: told, size: record } },
          { binding: 2, resource: { buffer: flag } },
        ],
      });
      bound = { heap, arena: given, group };
      return group;
    };
    return {
      inputs,
      results,
      dispatches: launches.length,
      async run(inputsGiven) {
        ready();
        const group = bind();
        for (const input of inputs) {
          const data = inputsGiven.get(input.name);
          if (data === undefined) throw notGiven(program.name, input.name);
          const dtype = elementOf(input);
          assertFits(
            `The input ${input.name} of ${program.name}`,
            { constructor: arrayOf[dtype], length: sizeOf(input) },
            data,
          );
          device.queue.writeBuffer(heap, 4 * placeOf(input.name), toWords[dtype](data));
        }
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        launches.forEach(({ kernel }, at) => {
          const { grid } = program.kernels[kernel];
          pass.setPipeline(compiled[kernel]);
          pass.setBindGroup(0, group, [record * at]);
          pass.dispatchWorkgroups(Math.min(grid, widestGrid), Math.ceil(grid / widestGrid));
        });
        pass.end();
        const first = results.length === 0 ? 0 : placeOf(results[0].name);
        const last =
          results.length === 0 ? 0 : placeOf(results[results.length - 1].name) + sizeOf(results[results.length - 1]);
        const size = 4 * (last - first);
        const staging = device.createBuffer({
          size: size + 4,
          usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
        });
        if (size > 0) encoder.copyBufferToBuffer(heap, 4 * first, staging, 0, size);
        encoder.copyBufferToBuffer(flag, 0, staging, size, 4);
        device.queue.submit([encoder.finish()]);
        const [words, raised] = await mapped(staging, [size, 4]);
        ready();
        if (raised[0] !== 0) {
          device.queue.writeBuffer(flag, 0, new Uint32Array(1));
          throw outOfRange(program.name);
        }
        return new Map(
          results.map((result): [string, TypedArray] => {
            const at = placeOf(result.name) - first;
            return [result.name, fromWords[elementOf(result)](words.subarray(at, at + sizeOf(result)))];
          }),
        );
      },
    };
  };

  const fieldAt = (name: string): { field: Field; place: number } => {
    const [field, place] = [fields.get(name), shared.get(name)];
    if (field === undefined || place === undefined)
      throw new DeviceError(`No loaded program has a param or state ${name}.`);
    return { field, place };
  };

  return {
    target: 'webgpu',
    queues: true,
    description,
    limits: device.limits,
    subgroupThreads,
    fields,
    load,
    async read(name) {
      ready();
      const { field, place } = fieldAt(name);
      return fromWords[elementOf(field)](await readWords(4 * place, 4 * sizeOf(field)));
    },
    write(name, data) {
      ready();
      const { field, place } = fieldAt(name);
      const dtype = elementOf(field);
      assertFits(name, { constructor: arrayOf[dtype], length: sizeOf(field) }, data);
      device.queue.writeBuffer(heap, 4 * place, toWords[dtype](data));
    },
    close() {
      if (closed) return;
      closed = true;
      device.destroy();
    },
  };
}

const firstLine = (text: string): string => text.trim().split('\n')[0];

/** Says what takes the room, and how large a batch would fit. */
function tooLarge(
  program: WebGpuProgram,
  size: number,
  kept: number,
  { name, largestBinding }: WebGpuDescription,
): DeviceError {
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const largest = program.buffers.reduce((most, buffer) => (sizeOf(buffer) > sizeOf(most) ? buffer : most));
  const batch = program.buffers.find(({ role, shape }) => role === 'batch' && shape.length > 0)?.shape[0];
  const fitting = batch === undefined ? 0 : Math.floor((batch * (largestBinding - kept)) / (size - kept));
  return new DeviceError(
    `${program.name} needs ${mib(size)}, and the GPU (${name}) lets a program use ${mib(largestBinding)} at once. Its largest buffer is ${largest.name}: ${largest.dtype}[${largest.shape.join(', ')}], ${mib(sizeOf(largest) * Math.max(4, elementBytes[largest.dtype]))}.${fitting > 0 ? ` A batch of ${fitting} fits.` : ''}`,
  );
}
