/**
 * WebAssembly, in Node and in browsers: one memory for everything a session holds, one call per run and thread. Threads share
 * the memory; where it cannot be shared there is one. Memory cannot shrink, so it begins with what lasts, and behind that whatever program
 * runs has its area, scratch memory and buffer table.
 */
import { elementCount } from '../../common/elements.ts';
import { DeviceError } from '../program.ts';
import type { ElementType, Executable, Field, ProgramBuffer, TypedArray } from '../program.ts';
import { type Area, fillGaps, type Gap, isLasting, layOut, overrun, placeIn, runningParts } from './area.ts';
import { assertShared, isClosed, notGiven, outOfRange } from './checks.ts';
import { constantElements, fill } from './constants.ts';
import { takingTurns } from '../in-turn.ts';
import { assertRoom, elementSize, newBuffers, type Room, type RoomySession, wantedBy } from './room.ts';
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
  /** Temporaries share no places, so that there are such bytes between them too (tests). */
  readonly apart?: boolean;
}

const page = 65_536;
const mostPages = 65_536;

const tableName = 'the buffer table';
const scratchName = 'the scratch memory';

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

export async function openWasmSession({ threads: wanted, guard = false, apart }: WasmOptions): Promise<WasmSession> {
  const threads = canShare() ? Math.max(1, Math.trunc(wanted)) : 1;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: mostPages, shared: threads > 1 });
  let team: Team | undefined;
  let closed = false;
  /** Where what lasts ends. */
  let given = reserved;
  /** Bytes behind it that the largest program needs. */
  let running = 0;
  /** The program that ran there last: its buffer table and constants are there still. */
  let holder: WebAssembly.Module | undefined;
  const inTurn = takingTurns();
  const guards: Gap[] = [];
  const bytes = (): Uint8Array => new Uint8Array(memory.buffer);

  const reach = (end: number, purpose: string): void => {
    const missing = Math.ceil(end / page) - memory.buffer.byteLength / page;
    if (missing <= 0) return;
    try {
      memory.grow(missing);
    } catch {
      throw new DeviceError(
        `There is not enough memory for ${purpose}: ${((missing * page) / 2 ** 20).toFixed(0)} MiB more are needed. Take a smaller batch.`,
      );
    }
  };
  /** Zeroed memory that lasts, which is there. */
  const allocate = (size: number, purpose: string): number => {
    const { places, gaps, bytes: taken } = layOut([{ name: purpose, bytes: size }]);
    const place = given + (places.get(purpose) ?? 0);
    bytes().fill(0, place, place + size);
    if (guard) {
      const own = gaps.map(({ name, from, to }): Gap => ({ name, from: given + from, to: given + to }));
      fillGaps(bytes(), own);
      guards.push(...own);
    }
    given += taken;
    return place;
  };
  const viewOf = ({ dtype, shape }: Field, place: number): TypedArray =>
    views[dtype](memory.buffer, place, elementCount(shape));

  const fields = new Map<string, Field>();
  const shared = new Map<string, number>();
  const ready = (): void => {
    if (closed) throw new DeviceError('The session is closed.');
  };

  /** What a program needs while it runs. */
  const areaOf = ({ buffers, arena, scratch }: WasmProgram): Area =>
    layOut([
      { name: tableName, bytes: 4 * buffers.length },
      { name: scratchName, bytes: threads * scratch },
      ...runningParts(buffers, arena, elementSize, apart),
    ]);
  const rooms = (program: WasmProgram): Room[] => [
    {
      all: page * mostPages,
      taken: given + running,
      wanted: wantedBy(program, shared) + Math.max(0, areaOf(program).bytes - running),
      limit: 'WebAssembly has in all',
      buffers: program.buffers,
      bytesOf: elementSize,
    },
  ];
  const load = async (program: WasmProgram): Promise<Executable> => {
    ready();
    assertRoom(program, rooms(program));
    team ??= threads > 1 ? await startTeam(memory, threads) : aloneTeam(memory);
    const together = team;
    const code = program.code.slice();
    if (threads === 1) code[program.sharing] = 1;
    const module = await WebAssembly.compile(code);
    const area = areaOf(program);
    const number = await inTurn(() => {
      assertShared(fields, program);
      const lasting = newBuffers(program, shared).map((buffer) => ({ name: buffer.name, bytes: elementSize(buffer) }));
      const wanted = Math.max(running, area.bytes);
      reach(given + layOut(lasting).bytes + Math.max(wanted, code.length), program.name);
      for (const { name, bytes: size } of lasting) shared.set(name, allocate(size, `${name} of ${program.name}`));
      for (const { name, dtype, shape } of program.buffers.filter(isLasting)) fields.set(name, { name, dtype, shape });
      running = wanted;
      // The code is handed over where programs run, none of which does now.
      holder = undefined;
      return together.load(module, code, given);
    });
    let open = true;
    const partOf = (name: string): number => given + (area.places.get(name) ?? 0);
    const placeOf = (buffer: ProgramBuffer): number =>
      (isLasting(buffer) ? shared.get(buffer.name) : undefined) ?? given + placeIn(area, buffer);
    const constants = program.buffers.filter(({ role }) => role === 'constant');
    const inputs = program.buffers.filter(({ role }) => role === 'batch' || role === 'scalar');
    const results = program.buffers.filter(({ role }) => role === 'result');
    return {
      inputs,
      results,
      run: (inputsGiven) =>
        inTurn(async () => {
          ready();
          if (!open) throw isClosed(program.name);
          const table = partOf(tableName);
          if (holder !== module) {
            new Uint32Array(memory.buffer, table, program.buffers.length).set(program.buffers.map(placeOf));
            for (const constant of constants) constantElements(constant, viewOf(constant, placeOf(constant)));
          }
          holder = module;
          for (const input of inputs) {
            const data = inputsGiven.get(input.name);
            if (data === undefined) throw notGiven(program.name, input.name);
            fill(`The input ${input.name} of ${program.name}`, viewOf(input, placeOf(input)), data);
          }
          if (guard) fillGaps(bytes().subarray(given), area.gaps);
          await together.run(number, table, partOf(scratchName), program.scratch);
          const beside = guard ? (overrun(bytes(), guards) ?? overrun(bytes().subarray(given), area.gaps)) : undefined;
          if (beside !== undefined) throw new DeviceError(`${program.name} wrote outside ${beside}.`);
          const words = new Int32Array(memory.buffer);
          if (words[flagWord] !== 0) {
            words[flagWord] = 0;
            throw outOfRange(program.name);
          }
          return new Map(results.map((result) => [result.name, copyOf(viewOf(result, placeOf(result)))]));
        }),
      close: () =>
        inTurn(async () => {
          if (open && !closed) await together.drop(number);
          open = false;
        }),
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
