/**
 * The safetensors format: an 8-byte length, a JSON header, then the tensors' bytes without gap or overlap. The reader
 * takes nothing on trust: the file may come from anybody.
 */
import { elementCount } from '../common/elements.ts';
import { UserError } from './errors.ts';
import type { InputFile } from './files.ts';
import { elementBytes, type ElementType, type Field, type TypedArray } from './program.ts';
import { parseTensorHeader } from './tensor-header.ts';

/** Every element type of the format with its width in bits; a program can use those that have an `ElementType`. */
const storedTypes = new Map<string, { readonly bits: number; readonly dtype?: ElementType }>([
  ['F32', { bits: 32, dtype: 'f32' }],
  ['F16', { bits: 16, dtype: 'f16' }],
  ['BF16', { bits: 16, dtype: 'bf16' }],
  ['F64', { bits: 64, dtype: 'f64' }],
  ['I32', { bits: 32, dtype: 'i32' }],
  ['U32', { bits: 32, dtype: 'u32' }],
  ['U8', { bits: 8, dtype: 'u8' }],
  ['BOOL', { bits: 8, dtype: 'bool' }],
  ['I64', { bits: 64 }],
  ['U64', { bits: 64 }],
  ['I16', { bits: 16 }],
  ['U16', { bits: 16 }],
  ['I8', { bits: 8, dtype: 'i8' }],
  ['C64', { bits: 64 }],
  ['F8_E4M3', { bits: 8 }],
  ['F8_E5M2', { bits: 8 }],
  ['F8_E8M0', { bits: 8 }],
  ['F6_E2M3', { bits: 6 }],
  ['F6_E3M2', { bits: 6 }],
  ['F4', { bits: 4 }],
]);

export interface StoredTensor {
  readonly name: string;
  /** As the format spells it, such as F32. */
  readonly stored: string;
  /** Undefined where no program can use such elements. */
  readonly dtype: ElementType | undefined;
  readonly shape: readonly number[];
  /** Place in the file. */
  readonly position: number;
  readonly bytes: number;
}

/** The checked header of a file. Tensors are in file order. */
export interface WeightsHeader {
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

const longestHeader = 100_000_000;

/** Reads and checks the header. Throws a UserError that says what is wrong with the file. */
export function readWeightsHeader(file: InputFile): WeightsHeader {
  refuseOtherFormats(file);
  const wrong = (why: string): UserError =>
    new UserError('weights-format', `${file.shown} is not a sound safetensors file: ${why}.`);
  if (file.size < 8) throw wrong(`it has ${file.size} bytes, fewer than the 8 of the header's length`);
  const lengthBytes = file.read(0, 8);
  const length = new DataView(lengthBytes.buffer).getBigUint64(0, true);
  if (length > BigInt(longestHeader))
    throw wrong(`its header claims ${length} bytes; at most ${longestHeader} are allowed`);
  const headerEnd = 8 + Number(length);
  if (headerEnd > file.size) throw wrong(`its header claims ${length} bytes, more than the file has`);
  const bytes = file.read(8, Number(length));
  if (bytes[0] !== 0x7b) throw wrong('its header does not start with "{"');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw wrong('its header is not UTF-8');
  }
  const { metadata, entries } = parseTensorHeader(text, wrong);
  const tensors = entries.map((entry): StoredTensor => {
    const type = storedTypes.get(entry.dtype);
    if (type === undefined) throw wrong(`tensor "${entry.name}" has the unknown type "${entry.dtype}"`);
    const { begin, end } = entry;
    if (begin > end) throw wrong(`tensor "${entry.name}" ends before it begins`);
    const bits = type.bits * elementCount(entry.shape);
    if (!Number.isSafeInteger(bits) || bits % 8 !== 0)
      throw wrong(`tensor "${entry.name}" has an impossible shape [${entry.shape.join(', ')}]`);
    if (bits / 8 !== end - begin) {
      throw wrong(
        `tensor "${entry.name}" of shape [${entry.shape.join(', ')}] and type ${entry.dtype} needs ${bits / 8} bytes and has ${end - begin}`,
      );
    }
    return {
      name: entry.name,
      stored: entry.dtype,
      dtype: type.dtype,
      shape: entry.shape,
      position: headerEnd + begin,
      bytes: end - begin,
    };
  });
  checkPlaces(tensors, headerEnd, file.size, wrong);
  return { metadata, tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])) };
}

/** The tensors fill the file from the header's end to its own, each byte belonging to one. */
function checkPlaces(tensors: StoredTensor[], start: number, end: number, wrong: (why: string) => UserError): void {
  tensors.sort((a, b) => a.position - b.position || a.bytes - b.bytes);
  let reached = start;
  let previous: StoredTensor | undefined;
  for (const tensor of tensors) {
    if (previous !== undefined && (tensor.position < reached || tensor.position === previous.position)) {
      throw wrong(`tensors "${previous.name}" and "${tensor.name}" overlap`);
    }
    if (tensor.position > reached)
      throw wrong(`there is a hole of ${tensor.position - reached} bytes before tensor "${tensor.name}"`);
    reached = tensor.position + tensor.bytes;
    previous = tensor;
  }
  if (reached > end) throw wrong(`its tensors end at byte ${reached}, the file at ${end}`);
  if (reached < end) throw wrong(`${end - reached} bytes follow its last tensor`);
}

function refuseOtherFormats(file: InputFile): void {
  const start = file.size >= 4 ? file.read(0, 4) : new Uint8Array(4);
  const zip = start[0] === 0x50 && start[1] === 0x4b && start[2] === 3 && start[3] === 4;
  const pickle =
    start[0] === 0x80 && start[1] >= 2 && start[1] <= 5 && file.size > 8 && file.read(4, 4).some((byte) => byte !== 0);
  if (zip || pickle || /\.(pt|pth|bin|pkl|pickle|ckpt|h5|keras)$/i.test(file.shown)) {
    throw new UserError(
      'weights-unsafe',
      `${file.shown} is not a safetensors file, and formats that can run code are never loaded.`,
      'Convert it once where you trust it, in Python: safetensors.torch.save_file(torch.load(path, weights_only=True), "weights.safetensors").',
    );
  }
}

const arrays: Record<ElementType, new (buffer: ArrayBuffer) => TypedArray> = {
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  f64: Float64Array,
  i32: Int32Array,
  u32: Uint32Array,
  i8: Int8Array,
  u8: Uint8Array,
  bool: Uint8Array,
};

/** The elements of one tensor as `dtype`, widened where that is exact; a UserError where it would round. */
export function readTensor(file: InputFile, tensor: StoredTensor, dtype: ElementType): TypedArray {
  if (tensor.dtype === undefined || !(tensor.dtype === dtype || isWidening(tensor.dtype, dtype))) {
    throw new UserError(
      'weights-type',
      `${file.shown} holds "${tensor.name}" as ${tensor.stored}; it cannot become ${dtype} without loss.`,
      `Save it as ${dtype} first.`,
    );
  }
  const stored = new arrays[tensor.dtype](file.read(tensor.position, tensor.bytes).slice().buffer);
  if (tensor.dtype === dtype) return stored;
  const wide = dtype === 'f64' ? new Float64Array(stored.length) : new Float32Array(stored.length);
  if (tensor.dtype === 'bf16') widenBf16(stored, wide);
  else if (tensor.dtype === 'f16') widenF16(stored, wide);
  else wide.set(stored);
  return wide;
}

const isWidening = (from: ElementType, to: ElementType): boolean =>
  ((from === 'f16' || from === 'bf16') && (to === 'f32' || to === 'f64')) || (from === 'f32' && to === 'f64');

function widenBf16(from: TypedArray, to: TypedArray): void {
  const word = new Uint32Array(1);
  const value = new Float32Array(word.buffer);
  for (let i = 0; i < from.length; i++) {
    word[0] = from[i] << 16;
    to[i] = value[0];
  }
}

function widenF16(from: TypedArray, to: TypedArray): void {
  for (let i = 0; i < from.length; i++) {
    const exponent = (from[i] >> 10) & 31;
    const fraction = from[i] & 1023;
    const size =
      exponent === 31
        ? fraction === 0
          ? Infinity
          : NaN
        : exponent === 0
          ? fraction * 2 ** -24
          : (1 + fraction / 1024) * 2 ** (exponent - 15);
    to[i] = from[i] & 0x8000 ? -size : size;
  }
}

const storedNames: Record<ElementType, string> = {
  f32: 'F32',
  f16: 'F16',
  bf16: 'BF16',
  f64: 'F64',
  i32: 'I32',
  u32: 'U32',
  i8: 'I8',
  u8: 'U8',
  bool: 'BOOL',
};

/** The content of a safetensors file, in pieces to be written one after the other. Widest elements first, then by name. */
export function encodeWeights(
  tensors: readonly { readonly field: Field; readonly data: TypedArray }[],
  metadata: ReadonlyMap<string, string>,
): Uint8Array[] {
  const inOrder = [...tensors].sort(
    (a, b) => elementBytes[b.field.dtype] - elementBytes[a.field.dtype] || (a.field.name < b.field.name ? -1 : 1),
  );
  let end = 0;
  // Written by hand, since an object would treat a tensor named like a number or `__proto__` in its own way.
  const entries = inOrder.map(({ field, data }) => {
    const begin = end;
    end += data.byteLength;
    const content = { dtype: storedNames[field.dtype], shape: field.shape, data_offsets: [begin, end] };
    return `${JSON.stringify(field.name)}:${JSON.stringify(content)}`;
  });
  if (metadata.size > 0) {
    const pairs = [...metadata].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    entries.unshift(`"__metadata__":{${pairs.join(',')}}`);
  }
  const header = new TextEncoder().encode(`{${entries.join(',')}}`);
  const padded = new Uint8Array(8 + Math.ceil(header.length / 8) * 8).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(header, 8);
  return [padded, ...inOrder.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))];
}

/** The pieces of a file as one. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
