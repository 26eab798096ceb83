/** A module as bytes (WebAssembly core specification, binary format). */
import type { Code, FunctionCode, ModuleCode, ValueType } from './code.ts';
import { opcodes } from './opcodes.ts';

const types: Record<ValueType, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };
const sections = { type: 1, import: 2, function: 3, export: 7, code: 10 } as const;
const empty = 0x40;
const end = 0x0b;

/** The largest memory there may be: 4 GiB in pages of 64 KiB. */
export const mostPages = 65_536;

/** A list of bytes that grows. */
class Bytes {
  private buffer = new Uint8Array(1024);
  length = 0;

  push(...bytes: readonly number[]): void {
    this.reserve(bytes.length);
    for (const byte of bytes) this.buffer[this.length++] = byte;
  }

  append(other: Uint8Array): void {
    this.reserve(other.length);
    this.buffer.set(other, this.length);
    this.length += other.length;
  }

  unsigned(value: number): void {
    let left = value >>> 0;
    for (; left >= 128; left >>>= 7) this.push((left & 127) | 128);
    this.push(left);
  }

  signed(value: bigint): void {
    let left = value;
    for (;;) {
      const byte = Number(left & 127n);
      left >>= 7n;
      const last = (left === 0n && byte < 64) || (left === -1n && byte >= 64);
      this.push(last ? byte : byte | 128);
      if (last) return;
    }
  }

  text(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.unsigned(bytes.length);
    this.append(bytes);
  }

  done(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  private reserve(more: number): void {
    if (this.length + more <= this.buffer.length) return;
    const larger = new Uint8Array(Math.max(2 * this.buffer.length, this.length + more));
    larger.set(this.done());
    this.buffer = larger;
  }
}

const scratch = new DataView(new ArrayBuffer(8));

/** The bytes, and the place of the one that says whether the memory is shared (3) or not (1): as they are, it is. */
export function encodeModule({ functions }: ModuleCode): {
  readonly code: Uint8Array<ArrayBuffer>;
  readonly sharing: number;
} {
  const bytes = new Bytes();
  bytes.append(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  const section = (number: number, write: (into: Bytes) => void): void => {
    const content = new Bytes();
    write(content);
    bytes.push(number);
    bytes.unsigned(content.length);
    bytes.append(content.done());
  };
  section(sections.type, (into) => {
    into.unsigned(functions.length);
    for (const { parameters, result } of functions) {
      into.push(0x60);
      into.unsigned(parameters.length);
      for (const [, type] of parameters) into.push(types[type]);
      into.push(...(result === undefined ? [0] : [1, types[result]]));
    }
  });
  // What follows that byte in the section: the memory's two limits.
  let within = 0;
  let importSize = 0;
  section(sections.import, (into) => {
    into.unsigned(1);
    into.text('nacre');
    into.text('memory');
    into.push(2);
    within = into.length;
    into.push(3);
    into.unsigned(1);
    into.unsigned(mostPages);
    importSize = into.length;
  });
  const sharing = bytes.length - (importSize - within);
  section(sections.function, (into) => {
    into.unsigned(functions.length);
    functions.forEach((_, at) => into.unsigned(at));
  });
  const exported = functions.map((of, at) => ({ of, at })).filter(({ of }) => of.exported === true);
  section(sections.export, (into) => {
    into.unsigned(exported.length);
    for (const { of, at } of exported) {
      into.text(of.name);
      into.push(0);
      into.unsigned(at);
    }
  });
  const places = new Map(functions.map(({ name }, at) => [name, at]));
  section(sections.code, (into) => {
    into.unsigned(functions.length);
    for (const of of functions) {
      const body = encodeFunction(of, places);
      into.unsigned(body.length);
      into.append(body);
    }
  });
  return { code: bytes.done().slice(), sharing };
}

function encodeFunction(
  { name, parameters, locals, body }: FunctionCode,
  functions: ReadonlyMap<string, number>,
): Uint8Array {
  const bytes = new Bytes();
  // Locals of one type lie together.
  const kinds: readonly ValueType[] = ['i32', 'i64', 'f32', 'f64', 'v128'];
  const sorted = kinds.flatMap((kind) => locals.filter(([, type]) => type === kind));
  const places = new Map([...parameters, ...sorted].map(([local], at) => [local, at]));
  const runs = kinds.map((kind) => [kind, sorted.filter(([, type]) => type === kind).length] as const);
  const used = runs.filter(([, count]) => count > 0);
  bytes.unsigned(used.length);
  for (const [kind, count] of used) {
    bytes.unsigned(count);
    bytes.push(types[kind]);
  }
  const placeOf = (local: string): number => {
    const place = places.get(local);
    if (place === undefined) throw new Error(`function ${name} has no local ${local}`);
    return place;
  };
  const opcode = (op: string): void => {
    const known = opcodes.get(op);
    if (known === undefined) throw new Error(`no such instruction: ${op}`);
    bytes.push(...known);
  };
  const writeAll = (list: readonly Code[]): void => list.forEach(write);
  const write = (code: Code): void => {
    switch (code.kind) {
      case 'plain':
        writeAll(code.operands);
        return opcode(code.op);
      case 'const':
        if (code.type === 'i32') {
          bytes.push(0x41);
          return bytes.signed(BigInt(code.value | 0));
        }
        if (code.type === 'f32') scratch.setFloat32(0, code.value, true);
        else scratch.setFloat64(0, code.value, true);
        bytes.push(code.type === 'f32' ? 0x43 : 0x44);
        return bytes.append(new Uint8Array(scratch.buffer, 0, code.type === 'f32' ? 4 : 8));
      case 'const64':
        bytes.push(0x42);
        return bytes.signed(BigInt.asIntN(64, code.value));
      case 'const128':
        bytes.push(0xfd, 0x0c);
        for (const word of code.words) {
          scratch.setInt32(0, word | 0, true);
          bytes.append(new Uint8Array(scratch.buffer, 0, 4));
        }
        return;
      case 'get':
        bytes.push(0x20);
        return bytes.unsigned(placeOf(code.local));
      case 'set':
        write(code.value);
        bytes.push(0x21);
        return bytes.unsigned(placeOf(code.local));
      case 'memory':
        writeAll(code.operands);
        opcode(code.op);
        bytes.unsigned(code.align);
        bytes.unsigned(code.offset);
        if (code.lane !== undefined) bytes.push(code.lane);
        return;
      case 'lane':
        writeAll(code.operands);
        opcode(code.op);
        return bytes.push(code.lane);
      case 'shuffle':
        writeAll(code.operands);
        bytes.push(0xfd, 0x0d, ...code.bytes);
        return;
      case 'call': {
        writeAll(code.operands);
        const place = functions.get(code.name);
        if (place === undefined) throw new Error(`function ${name} calls ${code.name}, which is not there`);
        bytes.push(0x10);
        return bytes.unsigned(place);
      }
      case 'if':
        write(code.condition);
        bytes.push(0x04, code.result === undefined ? empty : types[code.result]);
        writeAll(code.then);
        if (code.else.length > 0) {
          bytes.push(0x05);
          writeAll(code.else);
        }
        return bytes.push(end);
      case 'loop':
        bytes.push(0x03, empty);
        writeAll(code.body);
        write(code.again);
        return bytes.push(0x0d, 0, end);
    }
  };
  writeAll(body);
  bytes.push(end);
  return bytes.done();
}
