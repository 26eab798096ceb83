/** NumPy's .npy, versions 1 to 3. Python objects are never read: they are pickles, and pickles run code. */
import { elementCount } from '../../common/elements.ts';
import { UserError } from '../errors.ts';
import type { Files, InputFile } from '../files.ts';
import type { ElementType, TypedArray } from '../program.ts';
import { allocate, viewAs, type StoredColumn } from './source.ts';

/** Element types as NumPy writes them, without the byte order: the type for programs; integers are widened or checked. */
const elementTypes = new Map<string, ElementType>([
  ['f4', 'f32'],
  ['f8', 'f64'],
  ['f2', 'f16'],
  ['u1', 'u8'],
  ['b1', 'bool'],
  ['i4', 'i32'],
  ['u4', 'u32'],
  ['i1', 'i32'],
  ['i2', 'i32'],
  ['u2', 'i32'],
  ['i8', 'i32'],
  ['u8', 'i32'],
]);

interface NpyHeader {
  /** As NumPy writes it, such as `f4`. */
  readonly code: string;
  readonly width: number;
  readonly bigEndian: boolean;
  readonly dtype: ElementType;
  readonly dimensions: readonly number[];
  /** Of the header, in bytes. */
  readonly length: number;
}

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

function readHeader(file: InputFile): NpyHeader {
  const { shown } = file;
  const wrong = (why: string, hint?: string): UserError => new UserError('data-format', `${shown} ${why}.`, hint);
  if (file.size < 12) throw wrong('is too short for a .npy file');
  const start = file.read(0, 12);
  if (magic.some((byte, i) => start[i] !== byte)) {
    const zip = start[0] === 0x50 && start[1] === 0x4b;
    throw wrong(
      zip ? 'is an archive of arrays (.npz)' : 'is not a .npy file',
      zip ? 'Save each array on its own with numpy.save.' : undefined,
    );
  }
  const version = start[6];
  if (version < 1 || version > 3) throw wrong(`has .npy version ${version}; versions 1 to 3 are known`);
  const view = new DataView(start.buffer);
  const textStart = version === 1 ? 10 : 12;
  const textLength = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (textLength > 65_536 || textStart + textLength > file.size)
    throw wrong('has a header longer than the file or than 64 KiB');
  const text = new TextDecoder().decode(file.read(textStart, textLength));
  const descr = /'descr'\s*:\s*(?:'([^']*)'|(\[))/.exec(text);
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(text);
  const shape = /'shape'\s*:\s*\(([\d\s,]*)\)/.exec(text);
  if (descr === null || order === null || shape === null) throw wrong('has a header that cannot be read');
  if (descr[2] !== undefined) throw wrong('holds records of several fields', 'Save each field as an array of its own.');
  const code = descr[1].slice(1);
  if (/^[|<>=]?O/.test(descr[1])) {
    throw wrong(
      'holds Python objects, which are never loaded since they can run code',
      'Convert the array first: a.astype("float32").',
    );
  }
  const dtype = elementTypes.get(code);
  if (dtype === undefined || !/^[|<>=]/.test(descr[1]))
    throw wrong(`holds elements of type ${descr[1]}`, 'Convert the array first: a.astype("float32").');
  if (order[1] === 'True')
    throw wrong(
      'is stored column by column (Fortran order)',
      'Save it with numpy.save(path, numpy.ascontiguousarray(a)).',
    );
  const dimensions = shape[1]
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(Number);
  if (dimensions.length === 0) throw wrong('holds a single number; its first axis should count the samples');
  const header: NpyHeader = {
    code,
    width: Number(code[1]),
    bigEndian: descr[1].startsWith('>'),
    dtype,
    dimensions,
    length: textStart + textLength,
  };
  const promised = header.length + elementCount(dimensions) * header.width;
  if (!Number.isSafeInteger(promised) || promised !== file.size) {
    throw new UserError('data-size', `${shown} should have ${promised} bytes by its header; it has ${file.size}.`);
  }
  return header;
}

/** The type and dimensions (samples first) of a .npy file, from its header alone. */
export function describeNpy(files: Files, path: string): { dtype: ElementType; dimensions: readonly number[] } {
  const file = files.open(path);
  try {
    const { dtype, dimensions } = readHeader(file);
    return { dtype, dimensions };
  } finally {
    file.close();
  }
}

/** All samples of a .npy file as one field. */
export function loadNpy(files: Files, path: string, name: string): StoredColumn {
  const file = files.open(path);
  try {
    const header = readHeader(file);
    const bytes = file.read(header.length, file.size - header.length);
    if (header.bigEndian) swapBytes(bytes, header.width);
    const shape = header.dimensions.slice(1);
    const size = elementCount(shape);
    return {
      kind: 'stored',
      field: { name, dtype: header.dtype, shape },
      size,
      step: size,
      offset: 0,
      data: decode(path, header, bytes),
    };
  } finally {
    file.close();
  }
}

function swapBytes(bytes: Uint8Array, width: number): void {
  for (let start = 0; start < bytes.length; start += width) bytes.subarray(start, start + width).reverse();
}

function decode(shown: string, header: NpyHeader, bytes: Uint8Array): TypedArray {
  const count = bytes.length / header.width;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const widen = (read: (i: number) => number): TypedArray => {
    const data = allocate('i32', count);
    for (let i = 0; i < count; i++) data[i] = read(i);
    return data;
  };
  switch (header.code) {
    case 'i1':
      return widen((i) => view.getInt8(i));
    case 'i2':
      return widen((i) => view.getInt16(2 * i, true));
    case 'u2':
      return widen((i) => view.getUint16(2 * i, true));
    // NumPy's default integers have 64 bits; labels and ids fit in 32, and where one does not, that is an error.
    case 'i8':
      return widen((i) => narrow(shown, i, view.getBigInt64(8 * i, true)));
    case 'u8':
      return widen((i) => narrow(shown, i, view.getBigUint64(8 * i, true)));
    default:
      return viewAs(header.dtype, bytes);
  }
}

function narrow(shown: string, position: number, value: bigint): number {
  if (value < -(2n ** 31n) || value >= 2n ** 31n) {
    throw new UserError('data-range', `${shown} holds ${value} at element ${position}, which does not fit in 32 bits.`);
  }
  return Number(value);
}
