/**
 * Any GPU through WebGPU. Everything a session holds lies in one buffer of words, the heap, and where the GPU has f16 in a second
 * one of halves: what lasts, and at their ends what a program needs while it runs. A run is one submit: its launches in one pass, then
 * the copies of its results to where they can be read.
 */
import { elementCount } from '../../common/elements.ts';
import { DeviceError, DeviceLost } from '../program.ts';
import type { ElementType, Executable, Field, ProgramBuffer, ProgramStep, TypedArray } from '../program.ts';
import { type Area, isLasting, layOut, placeIn, runningParts } from './area.ts';
import { assertFits, assertShared, isClosed, notGiven, outOfRange } from './checks.ts';
import { unrolled } from './launches.ts';
import { assertRoom, newBuffers, type Room, type RoomySession } from './room.ts';
import { openAdapter, type WebGpuDescription } from './webgpu-adapter.ts';
import { subgroupThreadsOf } from './webgpu-subgroups.ts';
import { arrayOf, constantElements, fromElements, toElements } from './webgpu-elements.ts';
import { Heap } from './webgpu-heap.ts';

/**
 * A program for WebGPU as plain data. Each kernel is a WGSL module with the entry point `main` and at most four bindings: 0 the heap,
 * 1 its launch (the place of each buffer in its heap, then each argument, all of 4 bytes), 2 the flag word, 3 the heap of halves.
 */
export interface WebGpuProgram {
  readonly name: string;
  readonly kernels: readonly { readonly name: string; readonly code: string; readonly grid: number }[];
  readonly steps: readonly ProgramStep[];
  readonly buffers: readonly ProgramBuffer[];
  /** Bytes of the arena, every element a word. */
  readonly arena: number;
  /** Where f16 lies in halves: bytes of the arena of its temporaries. */
  readonly halves?: number;
}

export interface WebGpuSession extends RoomySession<WebGpuProgram> {
  readonly description: WebGpuDescription;
  readonly limits: GPUSupportedLimits;
  /** Threads that may hand each other values; 1 where they cannot. */
  readonly subgroupThreads: number;
  /** It has f16: a program may have it in halves. */
  readonly halves: boolean;
  load(program: WebGpuProgram): Promise<WebGpuExecutable>;
}

export interface WebGpuExecutable extends Executable {
  /** Kernels started in one run; all of them are one submit. */
  readonly dispatches: number;
}

/** Bytes between what different launches are told: offsets into a uniform buffer must be multiples of it. */
const recordSize = 256;
const widestGrid = 65_535;

type Element = Exclude<ElementType, 'f64'>;

/** In elements of the heap. */
interface Place {
  readonly heap: Heap;
  readonly at: number;
}

/** Does it lie in the heap of halves? */
const isHalf = ({ halves }: WebGpuProgram, { dtype }: Field): boolean => halves !== undefined && dtype === 'f16';
const sizeOf = ({ shape }: Field): number => elementCount(shape);

function elementOf({ name, dtype }: Field): Element {
  if (dtype === 'f64') throw new DeviceError(`${name} is f64, which WebGPU does not have.`);
  return dtype;
}

export async function openWebGpuSession(): Promise<WebGpuSession> {
  const { adapter, description } = await openAdapter();
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const device = await adapter
    .requestDevice({
      requiredFeatures: (['subgroups', 'shader-f16'] as const).filter((name) => adapter.features.has(name)),
      requiredLimits: { maxStorageBufferBindingSize, maxBufferSize },
    })
    .catch((error: unknown) => {
      throw new DeviceError(`The GPU (${description.name}) could not be opened: ${firstLine(String(error))}`);
    });
  const smallest = device.features.has('subgroups') ? adapter.info.subgroupMinSize : 1;
  const subgroupThreads = smallest > 1 ? await subgroupThreadsOf(device, smallest) : 1;
  const halves = device.features.has('shader-f16');
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
      { binding: 3, visibility: GPUShaderStage.COMPUTE, buffer: { type: 'storage' } },
    ],
  });
  const pipelineLayout = device.createPipelineLayout({ bindGroupLayouts: [layout] });
  /** By its code, and how many kernels have it. */
  const pipelines = new Map<string, { readonly pipeline: Promise<GPUComputePipeline>; users: number }>();
  const pipelineOf = (name: string, code: string): Promise<GPUComputePipeline> => {
    const known = pipelines.get(code) ?? {
      users: 0,
      pipeline: device
        .createComputePipelineAsync({
          label: name,
          layout: pipelineLayout,
          compute: { module: device.createShaderModule({ label: name, code }), entryPoint: 'main' },
        })
        .catch((error: unknown) => {
          throw new DeviceError(`The GPU does not take the kernel ${name}: ${firstLine(String(error))}`);
        }),
    };
    known.users++;
    pipelines.set(code, known);
    return known.pipeline;
  };
  const leavePipeline = (code: string): void => {
    const known = pipelines.get(code);
    if (known !== undefined && --known.users === 0) pipelines.delete(code);
  };

  const flag = device.createBuffer({
    size: 4,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
  });
  const heaps = [new Heap(device, 4), new Heap(device, 2)] as const;
  const [words, halfWords] = heaps;

  const fields = new Map<string, Field>();
  /** Where each param and state lies, and in which heap. */
  const shared = new Map<string, Place>();

  /** The bytes of a buffer that is mapped for this; the buffer is gone afterwards. */
  const mapped = async (staging: GPUBuffer): Promise<ArrayBuffer> => {
    await staging.mapAsync(GPUMapMode.READ).catch(async (error: unknown) => {
      // A loss may be told of only after what failed by it.
      await new Promise((resolve) => setTimeout(resolve));
      throw broken ?? new DeviceError(`The GPU gave nothing back: ${firstLine(String(error))}`);
    });
    const bytes = staging.getMappedRange().slice(0);
    staging.destroy();
    return bytes;
  };

  const heapsOf =
    (program: WebGpuProgram) =>
    (field: Field): Heap =>
      isHalf(program, field) ? halfWords : words;
  /** What of a program lies in a heap. */
  const partOf = (program: WebGpuProgram, heap: Heap): { buffers: ProgramBuffer[]; area: Area } => {
    const buffers = program.buffers.filter((buffer) => heapsOf(program)(buffer) === heap);
    const arena = (heap === words ? program.arena : program.halves) ?? 0;
    return { buffers, area: layOut(runningParts(buffers, arena, (field) => heap.bytes * sizeOf(field))) };
  };
  const rooms = (program: WebGpuProgram): Room[] =>
    heaps.map((heap) => {
      const taken = heap.bytes * heap.given;
      const { buffers, area } = partOf(program, heap);
      return {
        all: description.largestBinding,
        taken,
        wanted: heap.sizeWith(newBuffers({ buffers }, shared).map(sizeOf), area.bytes) - taken,
        limit: `the GPU (${description.name}) lets a program use at once`,
        buffers,
        bytesOf: (buffer) => heap.bytes * sizeOf(buffer),
      };
    });
  /** What the program that ran last told its launches: its constants are in the heaps still. */
  let holder: GPUBuffer | undefined;
  const load = async (program: WebGpuProgram): Promise<WebGpuExecutable> => {
    ready();
    assertRoom(program, rooms(program));
    const kept = heaps.map((heap) => heap.given);
    const heapOf = heapsOf(program);
    assertShared(fields, program);
    holder = undefined;
    for (const buffer of program.buffers.filter(isLasting)) {
      const { name, dtype, shape } = buffer;
      const heap = heapOf(buffer);
      if (!shared.has(name)) shared.set(name, { heap, at: heap.allocate(sizeOf(buffer)) });
      fields.set(name, { name, dtype, shape });
    }
    const areas = new Map(heaps.map((heap) => [heap, partOf(program, heap).area]));
    for (const [heap, { bytes }] of areas) heap.wantRunning(bytes);
    heaps.forEach((heap, at) => heap.grow(kept[at]));
    const byName = new Map(program.buffers.map((buffer) => [buffer.name, buffer]));
    const placeOf = (name: string): Place => {
      const buffer = byName.get(name);
      if (buffer === undefined) throw new Error(`${program.name} has no ${name}`);
      const known = isLasting(buffer) ? shared.get(name) : undefined;
      if (known !== undefined) return known;
      const heap = heapOf(buffer);
      const area = areas.get(heap);
      if (area === undefined) throw new Error('a heap of no session');
      return { heap, at: heap.given + placeIn(area, buffer) / heap.bytes };
    };
    const constants = program.buffers.flatMap(({ data, ...field }) =>
      data === undefined
        ? []
        : [{ name: field.name, elements: constantElements(elementOf(field), heapOf(field).bytes, data) }],
    );
    const compiled = await Promise.all(program.kernels.map(({ name, code }) => pipelineOf(name, code)));
    const launches = unrolled(program.steps).filter(({ kernel }) => program.kernels[kernel].grid > 0);
    const longest = Math.max(1, ...launches.map(({ buffers, values }) => buffers.length + values.length));
    const record = Math.ceil((4 * longest) / recordSize) * recordSize;
    const told = device.createBuffer({
      size: record * Math.max(1, launches.length),
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    const inputs = program.buffers.filter(({ role }) => role === 'batch' || role === 'scalar');
    const results = program.buffers.filter(({ role }) => role === 'result');
    /** What is read back: where each result begins, one after the other. */
    let resultBytes = 0;
    const begins = results.map((result): number => {
      const begin = resultBytes;
      resultBytes += heapOf(result).bytesOf(sizeOf(result));
      return begin;
    });
    let open = true;
    let bound: { readonly state: readonly unknown[]; readonly group: GPUBindGroup } | undefined;
    /** What launches are told depends on where the areas lie, which move as programs are loaded. */
    const bind = (): GPUBindGroup => {
      const state = heaps.flatMap(({ buffer, given }) => [buffer, given]);
      if (bound !== undefined && bound.state.every((one, at) => one === state[at])) return bound.group;
      const records = new Uint32Array((record / 4) * Math.max(1, launches.length));
      launches.forEach(({ buffers, values }, at) =>
        records.set([...buffers.map((name) => placeOf(name).at), ...values], (record / 4) * at),
      );
      device.queue.writeBuffer(told, 0, records);
      const group = device.createBindGroup({
        layout,
        entries: [
          { binding: 0, resource: { buffer: words.buffer } },
          { binding: 1, resource: { buffer: told, size: record } },
          { binding: 2, resource: { buffer: flag } },
          { binding: 3, resource: { buffer: halfWords.buffer } },
        ],
      });
      bound = { state, group };
      return group;
    };
    return {
      inputs,
      results,
      dispatches: launches.length,
      async run(inputsGiven) {
        ready();
        if (!open) throw isClosed(program.name);
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
          const { heap, at } = placeOf(input.name);
          heap.write(at, toElements(dtype, heap.bytes, data));
        }
        for (const { name, elements } of holder === told ? [] : constants) {
          const { heap, at } = placeOf(name);
          heap.write(at, elements);
        }
        holder = told;
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        launches.forEach(({ kernel }, at) => {
          const { grid } = program.kernels[kernel];
          pass.setPipeline(compiled[kernel]);
          pass.setBindGroup(0, group, [record * at]);
          pass.dispatchWorkgroups(Math.min(grid, widestGrid), Math.ceil(grid / widestGrid));
        });
        pass.end();
        const staging = device.createBuffer({
          size: resultBytes + 4,
          usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
        });
        results.forEach((result, which) => {
          const { heap, at } = placeOf(result.name);
          heap.copy(encoder, at, heap.bytesOf(sizeOf(result)), staging, begins[which]);
        });
        encoder.copyBufferToBuffer(flag, 0, staging, resultBytes, 4);
        device.queue.submit([encoder.finish()]);
        const bytes = await mapped(staging);
        ready();
        if (new Uint32Array(bytes, resultBytes)[0] !== 0) {
          device.queue.writeBuffer(flag, 0, new Uint32Array(1));
          throw outOfRange(program.name);
        }
        return new Map(
          results.map((result, which): [string, TypedArray] => [
            result.name,
            fromElements(elementOf(result), heapOf(result).bytes, bytes, begins[which], sizeOf(result)),
          ]),
        );
      },
      async close() {
        if (!open) return;
        open = false;
        program.kernels.forEach(({ code }) => leavePipeline(code));
        told.destroy();
      },
    };
  };

  const fieldAt = (name: string): { field: Field; place: Place } => {
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
    halves,
    fields,
    rooms,
    load,
    async read(name) {
      ready();
      const { field, place } = fieldAt(name);
      const { heap, at } = place;
      const size = heap.bytesOf(sizeOf(field));
      const staging = device.createBuffer({
        size: Math.max(4, size),
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
      const encoder = device.createCommandEncoder();
      heap.copy(encoder, at, size, staging, 0);
      device.queue.submit([encoder.finish()]);
      return fromElements(elementOf(field), heap.bytes, await mapped(staging), 0, sizeOf(field));
    },
    write(name, data) {
      ready();
      const { field, place } = fieldAt(name);
      const dtype = elementOf(field);
      assertFits(name, { constructor: arrayOf[dtype], length: sizeOf(field) }, data);
      place.heap.write(place.at, toElements(dtype, place.heap.bytes, data));
    },
    close() {
      if (closed) return;
      closed = true;
      device.destroy();
    },
  };
}

const firstLine = (text: string): string => text.trim().split('\n')[0];
