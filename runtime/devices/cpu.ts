/**
 * The native CPU: LLVM text compiled in this process, buffers shared by name between the programs of a session, one
 * native call per run.
 */
import { availableParallelism, totalmem } from 'node:os';
import { DeviceError, DeviceMissing } from '../program.ts';
import type { Executable, Field, ProgramBuffer, TypedArray } from '../program.ts';
import { type Area, fillGaps, isLasting, layOut, overrun, placeIn, runningParts } from './area.ts';
import { assertShared, isClosed, notGiven, outOfRange } from './checks.ts';
import { constantElements, fill } from './constants.ts';
import { syncLayout } from './cpu-barrier.ts';
import { dataCaches, findLlvm, findOpenMp, llvmHint, loadKoffi } from './cpu-library.ts';
import type { Koffi } from './cpu-library.ts';
import { openLlvm } from './cpu-llvm.ts';
import type { CompiledModule, Llvm } from './cpu-llvm.ts';
import { allocate, viewAs } from './cpu-memory.ts';
import type { NativeMemory } from './cpu-memory.ts';
import { openThreads, teamWords } from './cpu-threads.ts';
import type { Threads } from './cpu-threads.ts';
import { assertRoom, elementSize, type Room, type RoomySession, wantedBy } from './room.ts';

/** A program for the CPU as plain data; the compiler's TileProgram and LLVM module give it. */
export interface NativeProgram {
  readonly name: string;
  /**
   * Modules that are linked together. The last defines @step(i64 thread, i64 threads, ptr buffers, ptr scratch, ptr sync)
   * and declares @wait(ptr, i64); the flag word lies in `sync` (cpu-barrier.ts).
   */
  readonly llvm: readonly string[];
  readonly buffers: readonly ProgramBuffer[];
  /** Bytes of the memory that holds all temporaries, at their offsets. */
  readonly arena: number;
  /** Bytes of scratch memory per thread. */
  readonly scratch: number;
}

export interface CpuSession extends RoomySession<NativeProgram> {
  /** Bytes of native memory that its programs hold now. */
  allocated(): number;
  load(program: NativeProgram): Promise<CpuExecutable>;
}

export interface CpuExecutable extends Executable {
  /** Milliseconds LLVM took. */
  readonly compileTime: number;
}

export interface CpuOptions {
  readonly threads: number;
  /** Check the bytes around every buffer after each run (tests). */
  readonly guard?: boolean;
  /** Temporaries share no places, so that there are such bytes between them too (tests). */
  readonly apart?: boolean;
  readonly threading?: Threads['kind'];
}

/** What this machine has for the cpu target. */
export interface CpuDescription {
  readonly llvm?: { readonly path: string; readonly version: number };
  readonly cpu?: string;
  readonly features?: string;
  readonly architecture?: Llvm['host']['architecture'];
  readonly threads: number;
  /** Bytes of the first and second data cache of one core. */
  readonly l1: number;
  readonly l2: number;
  readonly openmp?: string;
  /** Why the cpu target cannot be used, and what to do. */
  readonly problem?: string;
}

const scratchName = 'the scratch memory';

let opened: { readonly koffi: Koffi; readonly llvm: Llvm } | undefined;

/** Loads koffi and libLLVM, once; throws DeviceError with what to install. */
export async function openCpu(): Promise<{ readonly koffi: Koffi; readonly llvm: Llvm }> {
  const found = findLlvm();
  if (found === undefined) {
    const named = process.env['NACRE_LIBLLVM'];
    const why = named
      ? `NACRE_LIBLLVM names ${named}, which is not a libLLVM 14 to 19`
      : 'no libLLVM was found on this machine';
    throw new DeviceMissing(`The cpu target needs LLVM's library, but ${why}: ${llvmHint}.`);
  }
  if (opened === undefined || opened.llvm.path !== found.path) {
    const koffi = await loadKoffi('cpu');
    try {
      opened = { koffi, llvm: openLlvm(koffi, found) };
    } catch (error) {
      if (error instanceof DeviceError) throw error;
      throw new DeviceMissing(
        `${found.path} is not a libLLVM that can be used (${error instanceof Error ? error.message : String(error)}): ${llvmHint}.`,
      );
    }
  }
  return opened;
}

/** For `nacre doctor`: never throws. */
export async function describeCpu(): Promise<CpuDescription> {
  const openmp = findOpenMp()?.path;
  const common = { threads: availableParallelism(), ...dataCaches(), ...(openmp !== undefined && { openmp }) };
  try {
    const { llvm } = await openCpu();
    const { cpu, features, architecture } = llvm.host;
    return { ...common, llvm: { path: llvm.path, version: llvm.version }, cpu, features, architecture };
  } catch (error) {
    return { ...common, problem: error instanceof Error ? error.message : String(error) };
  }
}

export async function openCpuSession({
  threads: wanted,
  guard = false,
  apart,
  threading,
}: CpuOptions): Promise<CpuSession> {
  const { koffi, llvm } = await openCpu();
  const count = Math.max(1, Math.trunc(wanted));
  const threads = openThreads(koffi, llvm.host.architecture, count, threading);
  const guards = new Map<NativeMemory, string>();
  let held = 0;
  const newMemory = (size: number, purpose: string): NativeMemory => {
    const memory = allocate(koffi, size, purpose);
    held += memory.bytes.length;
    if (guard) guards.set(memory, purpose);
    return memory;
  };
  /** JavaScript frees it when nothing holds it any more. */
  const giveBack = (memory: NativeMemory): void => {
    held -= memory.bytes.length;
    guards.delete(memory);
  };
  const fields = new Map<string, Field>();
  const shared = new Map<string, NativeMemory>();
  const modules = new Set<CompiledModule>();
  const sync = newMemory(syncLayout.bytes, 'the words threads wait on');
  let running = newMemory(0, 'what programs need while they run');
  /** The program that ran there last: its constants are there still. */
  let holder: CompiledModule | undefined;
  let closed = false;

  const memoryOf = (program: NativeProgram, buffer: ProgramBuffer): NativeMemory => {
    const { name, dtype, shape } = buffer;
    const memory = shared.get(name) ?? newMemory(elementSize(buffer), `${name} of ${program.name}`);
    shared.set(name, memory);
    fields.set(name, { name, dtype, shape });
    return memory;
  };

  /** What a program needs while it runs. */
  const areaOf = ({ buffers, arena, scratch }: NativeProgram): Area =>
    layOut([{ name: scratchName, bytes: count * scratch }, ...runningParts(buffers, arena, elementSize, apart)]);
  const rooms = (program: NativeProgram): Room[] => [
    {
      all: memoryOfMachine(),
      taken: held,
      wanted: wantedBy(program, shared) + Math.max(0, areaOf(program).bytes - running.bytes.length),
      limit: 'this machine has',
      buffers: program.buffers,
      bytesOf: elementSize,
    },
  ];
  const load = async (program: NativeProgram): Promise<CpuExecutable> => {
    if (closed) throw new DeviceError('The session is closed.');
    assertRoom(program, rooms(program));
    const module = await llvm.compile(withThreads(program.llvm, threads), program.name);
    modules.add(module);
    assertShared(fields, program);
    const enter = module.addressOf('enter');
    const area = areaOf(program);
    if (running.bytes.length < area.bytes) {
      const larger = newMemory(area.bytes, `what ${program.name} needs while it runs`);
      giveBack(running);
      running = larger;
      holder = undefined;
    }
    const memories = new Map<string, NativeMemory>();
    for (const buffer of program.buffers.filter(isLasting)) memories.set(buffer.name, memoryOf(program, buffer));
    const addressesOf = (): BigUint64Array =>
      BigUint64Array.from(
        program.buffers,
        (buffer) => memories.get(buffer.name)?.address ?? running.address + BigInt(placeIn(area, buffer)),
      );
    const table = newMemory(Math.max(8, 8 * program.buffers.length), `the buffer table of ${program.name}`);
    const team = newMemory(64, `the team of ${program.name}`);
    const words = new BigUint64Array(team.bytes.buffer, team.bytes.byteOffset, 8);
    const constants = program.buffers.filter(({ role }) => role === 'constant');
    const inputs = program.buffers.filter(({ role }) => role === 'batch' || role === 'scalar');
    const results = program.buffers.filter(({ role }) => role === 'result');
    const view = (buffer: ProgramBuffer): TypedArray => {
      const place = placeIn(area, buffer);
      return viewAs({ bytes: running.bytes.subarray(place, place + elementSize(buffer)) }, buffer.dtype);
    };
    const bind = (): void => {
      new BigUint64Array(table.bytes.buffer, table.bytes.byteOffset, program.buffers.length).set(addressesOf());
      words[teamWords.threads] = BigInt(count);
      words[teamWords.buffers] = table.address;
      words[teamWords.scratch] = running.address + BigInt(area.places.get(scratchName) ?? 0);
      words[teamWords.sync] = sync.address;
    };
    /** Not the memory itself, which would stay as long as this does. */
    let bound: bigint | undefined;
    return {
      inputs,
      results,
      compileTime: module.milliseconds,
      async run(given) {
        if (closed) throw new DeviceError('The session is closed.');
        if (!modules.has(module)) throw isClosed(program.name);
        if (bound !== running.address) {
          bind();
          bound = running.address;
        }
        for (const input of inputs) {
          const data = given.get(input.name);
          if (data === undefined) throw notGiven(program.name, input.name);
          fill(`The input ${input.name} of ${program.name}`, view(input), data);
        }
        if (holder !== module) for (const constant of constants) constantElements(constant, view(constant));
        holder = module;
        if (guard) fillGaps(running.bytes, area.gaps);
        words[teamWords.taken] = 0n;
        threads.run(enter, team.address);
        const beside = guard
          ? ([...guards].find(([memory]) => !memory.intact())?.[1] ?? overrun(running.bytes, area.gaps))
          : undefined;
        if (beside !== undefined) throw new DeviceError(`${program.name} wrote outside ${beside}.`);
        if (sync.bytes[syncLayout.flag] !== 0) {
          sync.bytes[syncLayout.flag] = 0;
          throw outOfRange(program.name);
        }
        return new Map(results.map((result) => [result.name, view(result).slice()]));
      },
      async close() {
        if (!modules.delete(module)) return;
        module.close();
        giveBack(table);
        giveBack(team);
      },
    };
  };

  const field = (name: string): TypedArray => {
    if (closed) throw new DeviceError('The session is closed.');
    const memory = shared.get(name);
    const known = fields.get(name);
    if (memory === undefined || known === undefined)
      throw new DeviceError(`No loaded program has a param or state ${name}.`);
    return viewAs(memory, known.dtype);
  };

  return {
    target: 'cpu',
    fields,
    allocated: () => held,
    rooms,
    load,
    read: async (name) => field(name).slice(),
    write(name, data) {
      fill(name, field(name), data);
    },
    close() {
      if (closed) return;
      closed = true;
      modules.forEach((module) => module.close());
    },
  };
}

/** Bytes; of what a container is allowed, where that is less. Asked for beforehand, for Linux gives what it does not have. */
const memoryOfMachine = (): number => Math.min(totalmem(), process.constrainedMemory() || Infinity);

/** The modules with @wait and @enter in the last; a module may not both declare and define a function. */
const withThreads = (texts: readonly string[], threads: Threads): readonly string[] =>
  texts.map((text, place) =>
    place < texts.length - 1 ? text : text.replace('declare void @wait(ptr, i64)\n', '') + threads.text,
  );
