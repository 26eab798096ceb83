/**
 * libLLVM through its C API: host description, and IR text → passes → machine code → addresses in this process.
 * Every object is disposed by whoever made it, except where LLVM takes it over (said at the call).
 */
import { DeviceError } from '../program.ts';
import type { FoundLlvm, Koffi } from './cpu-library.ts';

type Native = (...values: readonly unknown[]) => unknown;
type NativeFunction = Native & { readonly async: Native };

/** The same call on a worker thread, while this one goes on. */
const later = (native: NativeFunction, ...values: readonly unknown[]): Promise<unknown> =>
  new Promise(
    (resolve, reject) =>
      void native.async(...values, (error: unknown, result: unknown) => (error ? reject(error) : resolve(result))),
  );

/** A pointer as koffi hands it over; null where LLVM says so. */
type Pointer = bigint | null;

export interface Host {
  readonly triple: string;
  readonly architecture: 'x86_64' | 'aarch64';
  readonly cpu: string;
  /** LLVM's list: +avx512f,-sse4a,… */
  readonly features: string;
}

export interface Llvm extends FoundLlvm {
  readonly host: Host;
  /** Compiles modules side by side on worker threads and links them; `addressOf` finds their functions until `close`. */
  compile(texts: readonly string[], name: string): Promise<CompiledModule>;
  /** The module after the passes, and its machine code: for `nacre ir` and for people who tune. */
  show(text: string, form: 'optimized' | 'assembly'): Promise<string>;
}

export interface CompiledModule {
  addressOf(name: string): bigint;
  close(): void;
  /** Milliseconds until all machine code was there. */
  readonly milliseconds: number;
}

/**
 * The text has its vectors and loop structure already, so a few passes do: inline the math helpers, registers out of
 * stack slots, common values, simple loops. Measured here against default<O2>: same speed, a third of the time.
 */
function passes(version: number): string {
  // From 18 on it ends the process where one round does not settle everything, unless told not to look.
  const combine = version >= 18 ? 'instcombine<no-verify-fixpoint>' : 'instcombine';
  return `always-inline,function(sroa,early-cse<memssa>,${combine},simplifycfg,loop-mssa(licm),early-cse,${combine},simplifycfg)`;
}

/** Names of the JIT's parts by machine. */
const backends = { x86_64: 'X86', aarch64: 'AArch64' } as const;

const codegen = { default: 2, assembly: 0, object: 1 } as const;

/** How code says where something is. */
const addressing = { near: { relocation: 2, model: 3 }, anywhere: { relocation: 1, model: 6 } } as const;

export function openLlvm(koffi: Koffi, found: FoundLlvm): Llvm {
  let library: ReturnType<Koffi['load']>;
  try {
    // From 16 on the JIT looks for functions of its own among those of the process.
    library = koffi.load(found.path, { global: found.version >= 16 });
  } catch (error) {
    throw new DeviceError(
      `libLLVM at ${found.path} cannot be loaded: ${error instanceof Error ? error.message : String(error)}.`,
    );
  }
  const native = (definition: string): NativeFunction => library.func(definition);
  const architecture = process.arch === 'x64' ? 'x86_64' : process.arch === 'arm64' ? 'aarch64' : undefined;
  if (architecture === undefined)
    throw new DeviceError(`The cpu target knows x86-64 and ARM64 processors, not ${process.arch}.`);
  const backend = backends[architecture];
  for (const part of ['TargetInfo', 'Target', 'TargetMC', 'AsmPrinter'])
    native(`void LLVMInitialize${backend}${part}()`)();
  // The constants of a long epilogue must not be hoisted over the loop before it: its accumulators fill the registers.
  const words = ['nacre', '-disable-machine-licm', '-disable-postra-machine-licm'];
  if (found.version === 14) words.push('-opaque-pointers');
  native('void LLVMParseCommandLineOptions(int count, const char **words, const char *overview)')(
    words.length,
    words,
    '',
  );
  const c = {
    contextCreate: native('void *LLVMOrcCreateNewThreadSafeContext()'),
    contextOf: native('void *LLVMOrcThreadSafeContextGetContext(void *context)'),
    contextDispose: native('void LLVMOrcDisposeThreadSafeContext(void *context)'),
    bufferCopy: native(
      'void *LLVMCreateMemoryBufferWithMemoryRangeCopy(const char *data, size_t size, const char *name)',
    ),
    parse: native('int LLVMParseIRInContext(void *context, void *buffer, _Out_ void **module, _Out_ void **message)'),
    setTarget: native('void LLVMSetTarget(void *module, const char *triple)'),
    setLayout: native('void LLVMSetModuleDataLayout(void *module, void *layout)'),
    moduleDispose: native('void LLVMDisposeModule(void *module)'),
    print: native('void *LLVMPrintModuleToString(void *module)'),
    messageDispose: native('void LLVMDisposeMessage(void *message)'),
    errorMessage: native('void *LLVMGetErrorMessage(void *error)'),
    errorDispose: native('void LLVMDisposeErrorMessage(void *message)'),
    defaultTriple: native('void *LLVMGetDefaultTargetTriple()'),
    hostName: native('void *LLVMGetHostCPUName()'),
    hostFeatures: native('void *LLVMGetHostCPUFeatures()'),
    targetOf: native('int LLVMGetTargetFromTriple(const char *triple, _Out_ void **target, _Out_ void **message)'),
    machineCreate: native(
      'void *LLVMCreateTargetMachine(void *target, const char *triple, const char *cpu, const char *features, int level, int reloc, int model)',
    ),
    machineDispose: native('void LLVMDisposeTargetMachine(void *machine)'),
    layoutOf: native('void *LLVMCreateTargetDataLayout(void *machine)'),
    layoutDispose: native('void LLVMDisposeTargetData(void *layout)'),
    optionsCreate: native('void *LLVMCreatePassBuilderOptions()'),
    optionsDispose: native('void LLVMDisposePassBuilderOptions(void *options)'),
    runPasses: native('void *LLVMRunPasses(void *module, const char *passes, void *machine, void *options)'),
    emit: native(
      'int LLVMTargetMachineEmitToMemoryBuffer(void *machine, void *module, int kind, _Out_ void **message, _Out_ void **buffer)',
    ),
    bufferStart: native('void *LLVMGetBufferStart(void *buffer)'),
    bufferSize: native('size_t LLVMGetBufferSize(void *buffer)'),
    bufferDispose: native('void LLVMDisposeMemoryBuffer(void *buffer)'),
    jitCreate: native('void *LLVMOrcCreateLLJIT(_Out_ void **jit, void *builder)'),
    jitDispose: native('void *LLVMOrcDisposeLLJIT(void *jit)'),
    jitLibrary: native('void *LLVMOrcLLJITGetMainJITDylib(void *jit)'),
    jitPrefix: native('int LLVMOrcLLJITGetGlobalPrefix(void *jit)'),
    processSymbols: native(
      'void *LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(_Out_ void **generator, char prefix, void *filter, void *context)',
    ),
    addGenerator: native('void LLVMOrcJITDylibAddGenerator(void *library, void *generator)'),
    addObject: native('void *LLVMOrcLLJITAddObjectFile(void *jit, void *library, void *buffer)'),
    lookup: native('void *LLVMOrcLLJITLookup(void *jit, _Out_ uint64_t *address, const char *name)'),
  };
  const text = (pointer: unknown): string => (pointer === null ? '' : String(koffi.decode(pointer, 'char', -1)));
  const owned = (pointer: unknown): string => {
    const copy = text(pointer);
    if (pointer !== null) c.messageDispose(pointer);
    return copy;
  };
  const check = (error: unknown, what: string): void => {
    if (error === null) return;
    const message = c.errorMessage(error);
    const copy = text(message);
    c.errorDispose(message);
    throw new DeviceError(`LLVM could not ${what}: ${copy}`);
  };

  const triple = owned(c.defaultTriple());
  const host: Host = { triple, architecture, cpu: owned(c.hostName()), features: owned(c.hostFeatures()) };

  // On Linux the JIT of LLVM 14 to 16 asks for memory for code and for its constants apart, and where they come to lie more than 2 GiB
  // from each other, as beside the memories of WebAssembly, it cuts the distance off in silence.
  const { relocation, model } =
    architecture === 'x86_64' && process.platform === 'linux' ? addressing.anywhere : addressing.near;
  const createMachine = (): unknown => {
    const target: [Pointer] = [null];
    const message: [Pointer] = [null];
    if (c.targetOf(triple, target, message) !== 0)
      throw new DeviceError(`LLVM knows no machine for ${triple}: ${owned(message[0])}`);
    // An LLVM older than the processor does not know its name and says "generic"; the features tell it the rest.
    return c.machineCreate(target[0], triple, host.cpu, host.features, codegen.default, relocation, model);
  };

  /** A module of a context from its text, for a machine. */
  const parse = async (context: unknown, machine: unknown, source: string, name: string): Promise<unknown> => {
    const bytes = Buffer.from(source, 'utf8');
    const module: [Pointer] = [null];
    const message: [Pointer] = [null];
    // The parser takes the buffer over.
    const buffer = c.bufferCopy(bytes, bytes.length, name);
    if ((await later(c.parse, c.contextOf(context), buffer, module, message)) !== 0)
      throw new DeviceError(`LLVM cannot read the module ${name}: ${owned(message[0])}`);
    const layout = c.layoutOf(machine);
    c.setTarget(module[0], triple);
    c.setLayout(module[0], layout);
    c.layoutDispose(layout);
    return module[0];
  };

  const optimize = async (module: unknown, machine: unknown): Promise<void> => {
    const options = c.optionsCreate();
    const error = await later(c.runPasses, module, passes(found.version), machine, options);
    c.optionsDispose(options);
    check(error, 'optimize the module');
  };

  const emit = async (module: unknown, machine: unknown, kind: number): Promise<unknown> => {
    const message: [Pointer] = [null];
    const buffer: [Pointer] = [null];
    if ((await later(c.emit, machine, module, kind, message, buffer)) !== 0)
      throw new DeviceError(`LLVM could not generate code: ${owned(message[0])}`);
    return buffer[0];
  };

  /** Parses and optimizes, and lets `work` use the module until it is done. */
  const withModule = async <T>(
    source: string,
    name: string,
    work: (module: unknown, machine: unknown) => Promise<T>,
  ): Promise<T> => {
    const context = c.contextCreate();
    const machine = createMachine();
    let module: unknown;
    try {
      module = await parse(context, machine, source, name);
      await optimize(module, machine);
      return await work(module, machine);
    } finally {
      if (module !== undefined) c.moduleDispose(module);
      c.machineDispose(machine);
      c.contextDispose(context);
    }
  };

  const link = (objects: readonly unknown[]): { readonly jit: unknown } => {
    const jit: [Pointer] = [null];
    check(c.jitCreate(jit, null), 'start its JIT');
    const main = c.jitLibrary(jit[0]);
    const generator: [Pointer] = [null];
    check(c.processSymbols(generator, c.jitPrefix(jit[0]), null, null), 'look into this process');
    c.addGenerator(main, generator[0]);
    // The JIT takes the buffers over.
    for (const object of objects) check(c.addObject(jit[0], main, object), 'link the module');
    return { jit: jit[0] };
  };

  // Whether it starts at all is to be known before something relies on it.
  check(c.jitDispose(link([]).jit), 'close its JIT');

  return {
    ...found,
    host,
    async compile(texts, name) {
      const start = performance.now();
      const objects = await Promise.all(
        texts.map((text) => withModule(text, name, (module, machine) => emit(module, machine, codegen.object))),
      );
      const milliseconds = performance.now() - start;
      const { jit } = link(objects);
      let open = true;
      const addressOf = (symbol: string): bigint => {
        const address: [bigint] = [0n];
        check(c.lookup(jit, address, symbol), `find ${symbol} in ${name}`);
        return BigInt(address[0]);
      };
      return {
        addressOf,
        milliseconds,
        close() {
          if (!open) return;
          open = false;
          check(c.jitDispose(jit), 'close its JIT');
        },
      };
    },
    show: (source, form) =>
      withModule(source, 'module', async (module, machine) => {
        if (form === 'optimized') return owned(c.print(module));
        const buffer = await emit(module, machine, codegen.assembly);
        const copy = String(koffi.decode(c.bufferStart(buffer), 'char', Number(c.bufferSize(buffer))));
        c.bufferDispose(buffer);
        return copy;
      }),
  };
}
