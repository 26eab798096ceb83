/** NVIDIA's driver through its C API: the few calls a step needs. Handles and device addresses are numbers. */
import { existsSync } from 'node:fs';
import { DeviceError, DeviceMissing } from '../program.ts';
import { type Koffi, type Library, loadForGood } from './cpu-library.ts';

export type Handle = bigint;

/** What a machine has for the cuda target. */
export interface CudaDescription {
  readonly name: string;
  /** Compute capability: 8.0 of an A100, 9.0 of an H100. */
  readonly major: number;
  readonly minor: number;
  readonly multiprocessors: number;
}

export interface CudaDriver {
  readonly description: CudaDescription;
  loadModule(image: Uint8Array, program: string): Handle;
  functionOf(module: Handle, name: string): Handle;
  unloadModule(module: Handle): void;
  /** Bytes of the device's memory, whoever has it. */
  memory(): { readonly free: number; readonly total: number };
  /** Memory of the device, zeroed before anything that is asked for later. */
  allocate(bytes: number, purpose: string): Handle;
  free(address: Handle): void;
  /** Host memory at a fixed address that the device may copy to and from while this thread goes on. */
  pin(address: bigint, bytes: number): void;
  unpin(address: bigint): void;
  copyIn(to: Handle, from: bigint, bytes: number): void;
  copyOut(to: bigint, from: Handle, bytes: number): void;
  /** `parameters`: where the addresses of the arguments are listed. */
  launch(kernel: Handle, grid: number, block: number, parameters: bigint): void;
  /** Records what `act` asks for instead of doing it; the result can be run again and again. */
  capture(act: () => void): Handle;
  run(graph: Handle): void;
  drop(graph: Handle): void;
  newEvent(): Handle;
  dropEvent(event: Handle): void;
  /** The event happens when all is done that was asked for until now. */
  mark(event: Handle): void;
  hasHappened(event: Handle): boolean;
  /** Returns when it has. */
  waitFor(event: Handle): void;
  /** Returns when everything is done. */
  wait(): void;
  /** The same, whether it went well or not. */
  settle(): void;
}

const libraries = ['libcuda.so.1', '/usr/lib/x86_64-linux-gnu/libcuda.so.1', '/usr/lib/wsl/lib/libcuda.so.1'];
const attributes = { multiprocessors: 16, major: 75, minor: 76 } as const;
const threadLocal = 1;
/** An event that nobody asks when it was. */
const untimed = 2;
/** What has not happened yet. */
const notReady = 600;

let opened: CudaDriver | undefined;

/** Throws DeviceError where there is no driver or no GPU. NACRE_LIBCUDA names another library. */
export function openCudaDriver(koffi: Koffi): CudaDriver {
  opened ??= openDriver(koffi);
  return opened;
}

function findLibrary(koffi: Koffi): { readonly path: string; readonly library: Library } {
  const named = process.env['NACRE_LIBCUDA'];
  for (const path of named === undefined || named === '' ? libraries : [named]) {
    if (path.startsWith('/') && !existsSync(path)) continue;
    try {
      return { path, library: loadForGood(koffi, path) };
    } catch {
      // The next one may be there.
    }
  }
  throw new DeviceMissing(
    `The cuda target needs NVIDIA's driver, but ${named ? `NACRE_LIBCUDA names ${named}, which cannot be loaded` : 'libcuda.so.1 was not found on this machine'}: install the driver of your GPU.`,
  );
}

function openDriver(koffi: Koffi): CudaDriver {
  const { path, library } = findLibrary(koffi);
  const native = (definition: string): ((...values: readonly unknown[]) => number) => {
    try {
      return library.func(definition);
    } catch {
      const name = /\w+(?=\()/.exec(definition)?.[0];
      const set = process.env['NACRE_LIBCUDA'] ? ', or unset NACRE_LIBCUDA, which names this one' : '';
      throw new DeviceMissing(
        `The cuda target needs NVIDIA's driver, but ${path} has no ${name}: it is another library, or a driver too old. Install driver 470 or newer${set}.`,
      );
    }
  };
  const c = {
    init: native('int cuInit(unsigned int flags)'),
    errorText: native('int cuGetErrorString(int error, uint64_t text)'),
    count: native('int cuDeviceGetCount(uint64_t count)'),
    device: native('int cuDeviceGet(uint64_t device, int ordinal)'),
    name: native('int cuDeviceGetName(uint64_t name, int length, int device)'),
    attribute: native('int cuDeviceGetAttribute(uint64_t value, int attribute, int device)'),
    retain: native('int cuDevicePrimaryCtxRetain(uint64_t context, int device)'),
    use: native('int cuCtxSetCurrent(uint64_t context)'),
    stream: native('int cuStreamCreate(uint64_t stream, unsigned int flags)'),
    loadModule: native('int cuModuleLoadData(uint64_t module, uint64_t image)'),
    function: native('int cuModuleGetFunction(uint64_t function, uint64_t module, const char *name)'),
    unload: native('int cuModuleUnload(uint64_t module)'),
    memory: native('int cuMemGetInfo_v2(uint64_t free, uint64_t total)'),
    allocate: native('int cuMemAlloc_v2(uint64_t address, size_t bytes)'),
    free: native('int cuMemFree_v2(uint64_t address)'),
    clear: native('int cuMemsetD8Async(uint64_t address, unsigned char value, size_t bytes, uint64_t stream)'),
    pin: native('int cuMemHostRegister_v2(uint64_t address, size_t bytes, unsigned int flags)'),
    unpin: native('int cuMemHostUnregister(uint64_t address)'),
    copyIn: native('int cuMemcpyHtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, uint64_t stream)'),
    copyOut: native('int cuMemcpyDtoHAsync_v2(uint64_t to, uint64_t from, size_t bytes, uint64_t stream)'),
    launch: native(
      'int cuLaunchKernel(uint64_t function, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx, unsigned int by, unsigned int bz, unsigned int shared, uint64_t stream, uint64_t parameters, uint64_t extra)',
    ),
    begin: native('int cuStreamBeginCapture_v2(uint64_t stream, int mode)'),
    end: native('int cuStreamEndCapture(uint64_t stream, uint64_t graph)'),
    instantiate: native('int cuGraphInstantiateWithFlags(uint64_t instance, uint64_t graph, unsigned long long flags)'),
    dropGraph: native('int cuGraphDestroy(uint64_t graph)'),
    run: native('int cuGraphLaunch(uint64_t instance, uint64_t stream)'),
    drop: native('int cuGraphExecDestroy(uint64_t instance)'),
    wait: native('int cuStreamSynchronize(uint64_t stream)'),
    newEvent: native('int cuEventCreate(uint64_t event, unsigned int flags)'),
    dropEvent: native('int cuEventDestroy_v2(uint64_t event)'),
    mark: native('int cuEventRecord(uint64_t event, uint64_t stream)'),
    ask: native('int cuEventQuery(uint64_t event)'),
    waitFor: native('int cuEventSynchronize(uint64_t event)'),
  };
  const cell = new BigUint64Array(1);
  const cellAddress = koffi.address(cell.buffer);
  const words = new Int32Array(cell.buffer);
  const textOf = (error: number): string => {
    if (c.errorText(error, cellAddress) !== 0 || cell[0] === 0n) return `error ${error}`;
    return String(koffi.decode(cell[0], 'char', -1));
  };
  const check = (error: number, what: string): void => {
    if (error !== 0) throw new DeviceError(`The GPU failed while ${what}: ${textOf(error)}.`);
  };
  const made = (error: number, what: string): Handle => {
    check(error, what);
    return cell[0];
  };

  const failed = c.init(0);
  if (failed !== 0 || c.count(cellAddress) !== 0 || words[0] === 0)
    throw new DeviceMissing(`The cuda target found no NVIDIA GPU${failed === 0 ? '' : ` (${textOf(failed)})`}.`);
  check(c.device(cellAddress, 0), 'being opened');
  const device = words[0];
  const attribute = (which: number): number => {
    check(c.attribute(cellAddress, which, device), 'being asked what it is');
    return words[0];
  };
  const name = new Uint8Array(128);
  check(c.name(koffi.address(name.buffer), name.length, device), 'being asked its name');
  const description = {
    name: new TextDecoder().decode(name.subarray(0, name.indexOf(0))),
    major: attribute(attributes.major),
    minor: attribute(attributes.minor),
    multiprocessors: attribute(attributes.multiprocessors),
  };
  const context = made(c.retain(cellAddress, device), 'being opened');
  check(c.use(context), 'being opened');
  const stream = made(c.stream(cellAddress, 1), 'making a stream');

  return {
    description,
    loadModule(image, program) {
      const error = c.loadModule(cellAddress, koffi.address(image.buffer as ArrayBuffer) + BigInt(image.byteOffset));
      if (error === 209 || error === 222 || error === 218)
        throw new DeviceError(
          `${program} was built for another GPU than this one (${description.name}, compute capability ${description.major}.${description.minor}), or by a CUDA newer than its driver: ${textOf(error)}. Build it here, or update the driver.`,
        );
      return made(error, `loading the kernels of ${program}`);
    },
    functionOf: (module, kernel) => made(c.function(cellAddress, module, kernel), `looking for the kernel ${kernel}`),
    unloadModule: (module) => void c.unload(module),
    memory() {
      const sizes = new BigUint64Array(2);
      const address = koffi.address(sizes.buffer);
      check(c.memory(address, address + 8n), 'asked for its memory');
      return { free: Number(sizes[0]), total: Number(sizes[1]) };
    },
    allocate(bytes, purpose) {
      const size = Math.max(256, bytes);
      const error = c.allocate(cellAddress, size);
      if (error === 2)
        throw new DeviceError(
          `There is not enough memory on the GPU for ${purpose}: ${(size / 2 ** 20).toFixed(0)} MiB are needed. Take a smaller batch.`,
        );
      const address = made(error, `making room for ${purpose}`);
      check(c.clear(address, 0, size, stream), `clearing ${purpose}`);
      return address;
    },
    free: (address) => void c.free(address),
    // Copies work from memory that could not be pinned too, only slower.
    pin: (address, bytes) => void c.pin(address, bytes, 0),
    unpin: (address) => void c.unpin(address),
    copyIn: (to, from, bytes) => check(c.copyIn(to, from, bytes, stream), 'copying to it'),
    copyOut: (to, from, bytes) => check(c.copyOut(to, from, bytes, stream), 'copying from it'),
    launch: (kernel, grid, block, parameters) =>
      check(c.launch(kernel, grid, 1, 1, block, 1, 1, 0, stream, parameters, 0n), 'starting a kernel'),
    capture(act) {
      check(c.begin(stream, threadLocal), 'recording a step');
      act();
      const graph = made(c.end(stream, cellAddress), 'recording a step');
      const instance = made(c.instantiate(cellAddress, graph, 0), 'recording a step');
      c.dropGraph(graph);
      return instance;
    },
    run: (graph) => check(c.run(graph, stream), 'starting a step'),
    drop: (graph) => void c.drop(graph),
    newEvent: () => made(c.newEvent(cellAddress, untimed), 'making an event'),
    dropEvent: (event) => void c.dropEvent(event),
    mark: (event) => check(c.mark(event, stream), 'starting a step'),
    hasHappened(event) {
      const answer = c.ask(event);
      if (answer !== notReady) check(answer, 'running a step');
      return answer !== notReady;
    },
    waitFor: (event) => check(c.waitFor(event), 'running a step'),
    wait: () => check(c.wait(stream), 'running a step'),
    settle: () => void c.wait(stream),
  };
}
