/**
 * WebAssembly, in Node and in browsers: one memory for everything a session holds, one call per run and thread. Threads share
 * the memory; where it cannot be shared there is one.
 */
import { elementCount } from '../../common/elements.ts';
import { DeviceError } from '../program.ts';
import type { ElementType, Executable, Field, ProgramBuffer, TypedArray } from '../program.ts';
import { assertSame, notGiven, outOfRange } from './checks.ts';
import { constantElements, fill } from './constants.ts';
import { assertRoom, elementSize, type Room, type RoomySession, wantedBy } from './room.ts';
import { flagWord, reserved } from './wasm-control.ts';
import { aloneTeam, startTeam, type Team } from './wasm-team.ts';

/** A program for WebAssembly as plain data: a module that imports `nacre.memory` and exports `step`. */
export interface WasmProgram {
  readonly name: string;
  /** Made for memory that threads share; the byte at `sharing` is 3, and 1 for memory that they do not. */
  readonly code: Uint8Array<ArrayBuffer>;
  readonly sharing: number;
  /** Bytes of scratch memory per thread. */
  readonly scratch: number;
  readonly buffers: readonly ProgramBuffer[];
  /** Bytes of the memory that holds all temporaries, at their offsets. */
  readonly arena: number;
}

export interface WasmSession extends RoomySession<WasmProgram> {
  /** Threads it has. */
  readonly threads: number;
  load(program: WasmProgram): Promise<Executable>;
}

export interface WasmOptions {
  readonly threads: number;
  /** Check the bytes around every buffer after each run (tests). */
  readonly guard?: boolean;
}

const page = 65_536;
const mostPages = 65_536;
const alignment = 64;
/** What the bytes between buffers hold; any other value after a run means that a kernel wrote outside its buffer. */
const guardByte = 0xc5;

const views: Record<ElementType, (buffer: ArrayBufferLike, offset: number, length: number) => TypedArray> = {
  f32: (buffer, offset, length) => new Float32Array(buffer, offset, length),
  f64: (buffer, offset, length) => new Float64Array(buffer, offset, length),
  f16: (buffer, offset, length) => new Uint16Array(buffer, offset, length),
  bf16: (buffer, offset, length) => new Uint16Array(buffer, offset, length),
  i32: (buffer, offset, length) => new Int32Array(buffer, offset, length),
  u32: (buffer, offset, length) => new Uint32Array(buffer, offset, length),
  i8: (buffer, offset, length) => new Int8Array(buffer, offset, length),
  u8: (buffer, offset, length) => new Uint8Array(buffer, offset, length),
  bool: (buffer, offset, length) => new Uint8Array(buffer, offset, length),
};

/** Can threads share memory here? Pages must be isolated from other origins for it. */
export const canShare = (): boolean =>
  typeof SharedArrayBuffer !== 'undefined' && Reflect.get(globalThis, 'crossOriginIsolated') !== false;

export async function openWasmSession({ threads: wanted, guard = false }: WasmOptions): Promise<WasmSession> {
  const threads = canShare() ? Math.max(1, Math.trunc(wanted)) : 1;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: mostPages, shared: threads > 1 });
  let team: Team | undefined;
  let closed = false;
  let given = reserved;
  const guards: { readonly name: string; readonly from: number; readonly to: number }[] = [];
  const bytes = (): Uint8Array => new Uint8Array(memory.buffer);

  /** Zeroed memory, with `alignment` bytes that nobody may touch before and after it. */
  const allocate = (size: number, purpose: string): number => {
    const place = given + alignment;
    const end = Math.ceil((place + size) / alignment) * alignment + alignment;
    const missing = Math.ceil(end / page) - memory.buffer.byteLength / page;
    if (missing > 0)
      try {
        memory.grow(missing);
      } catch {
        throw new DeviceError(
          `There is not enough memory for ${purpose}: ${(size / 2 ** 20).toFixed(0)} MiB are needed. Take a smaller batch.`,
        );
      }
    given = end - alignment;
    if (guard) {
      bytes().fill(guardByte, place - alignment, place);
      bytes().fill(guardByte, place + size, end);
      guards.push(
        { name: purpose, from: place - alignment, to: place },
        { name: purpose, from: place + size, to: end },
      );
    }
    return place;
  };
  const viewOf = ({ dtype, shape }: Field, place: number): TypedArray =>
    views[dtype](memory.buffer, place, elementCount(shape));

  const fields = new Map<string, Field>();
  const shared = new Map<string, number>();
  let arena = { place: 0, bytes: -1 };
  let scratch = { place: 0, bytes: -1 };
  const ready = (): void => {
    if (closed) throw new DeviceError('The session is closed.');
  };

  const rooms = (program: WasmProgram): Room[] => [
    {
      all: page * mostPages,
      taken: given,
      wanted:
        wantedBy(program, shared) +
        (program.arena > arena.bytes ? program.arena : 0) +
        (program.scratch * threads > scratch.bytes ? program.scratch * threads : 0),
      limit: 'WebAssembly has in all',
      buffers: program.buffers,
      bytesOf: elementSize,
    },
  ];
  const load = async (program: WasmProgram): Promise<Executable> => {
    ready();
    assertRoom(program, rooms(program));
    team ??= threads > 1 ? await startTeam(memory, threads) : aloneTeam(memory);
    const running = team;
    const code = program.code.slice();
    if (threads === 1) code[program.sharing] = 1;
    const module = await WebAssembly.compile(code);
    const number = await running.load(
      module,
      code,
      threads > 1 ? allocate(program.code.length, `the code of ${program.name}`) : 0,
    );
    if (arena.bytes < program.arena)
      arena = { place: allocate(program.arena, `the temporaries of ${program.name}`), bytes: program.arena };
    if (scratch.bytes < program.scratch * threads)
      scratch = {
        place: allocate(program.scratch * threads, `the scratch memory of ${program.name}`),
        bytes: program.scratch * threads,
      };
    const places = new Map<string, number>();
    for (const buffer of program.buffers) {
      if (buffer.role === 'temporary') continue;
      const isKept = buffer.role === 'param' || buffer.role === 'state';
      if (isKept) assertSame(fields.get(buffer.name), buffer, program.name);
      const place =
        (isKept ? shared.get(buffer.name) : undefined) ??
        allocate(elementSize(buffer), `${buffer.name} of ${program.name}`);
      places.set(buffer.name, place);
      if (isKept) {
        shared.set(buffer.name, place);
        fields.set(buffer.name, { name: buffer.name, dtype: buffer.dtype, shape: buffer.shape });
      }
      if (buffer.data !== undefined) constantElements(buffer, viewOf(buffer, place));
    }
    const table = allocate(4 * program.buffers.length, `the buffer table of ${program.name}`);
    const placeOf = ({ name, offset }: ProgramBuffer): number => places.get(name) ?? arena.place + (offset ?? 0);
    const inputs = program.buffers.filter(({ role }) => role === 'batch' || role === 'scalar');
    const results = program.buffers.filter(({ role }) => role === 'result');
    return {
      inputs,
      results,
      async run(inputsGiven) {
        ready();
        new Uint32Array(memory.buffer, table, program.buffers.length).set(program.buffers.map(placeOf));
        for (const input of inputs) {
          const data = inputsGiven.get(input.name);
          if (data === undefined) throw notGiven(program.name, input.name);
          fill(`The input ${input.name} of ${program.name}`, viewOf(input, placeOf(input)), data);
        }
        await running.run(number, table, scratch.place, program.scratch);
        const now = bytes();
        for (const { name, from, to } of guards)
          if (!now.subarray(from, to).every((byte) => byte === guardByte))
            throw new DeviceError(`${program.name} wrote outside ${name}.`);
        const words = new Int32Array(memory.buffer);
        if (words[flagWord] !== 0) {
          words[flagWord] = 0;
          throw outOfRange(program.name);
        }
        return new Map(results.map((result) => [result.name, copyOf(viewOf(result, placeOf(result)))]));
      },
    };
  };

  const fieldAt = (name: string): TypedArray => {
    const [field, place] = [fields.get(name), shared.get(name)];
    if (field === undefined || place === undefined)
      throw new DeviceError(`No loaded program has a param or state ${name}.`);
    return viewOf(field, place);
  };

  return {
    target: 'wasm',
    threads,
    fields,
    rooms,
    load,
    async read(name) {
      ready();
      return copyOf(fieldAt(name));
    },
    write(name, data) {
      ready();
      fill(name, fieldAt(name), data);
    },
    close() {
      if (closed) return;
      closed = true;
      void team?.close();
    },
  };
}

/** In memory of its own, which no thread shares. */
const copyOf = (data: TypedArray): TypedArray => data.slice();
