/** IDX, the format of the MNIST files: a big-endian header (type, dimensions), then the elements. Also inside .gz. */
import { elementCount } from '../../common/elements.ts';
import { UserError } from '../errors.ts';
import type { Files, InputFile } from '../files.ts';
import type { ElementType } from '../program.ts';
import { readStart, readWhole } from './gzip.ts';
import { allocate, type StoredColumn } from './source.ts';

/** What an element type byte means: its width in the file and the type it has for programs. */
const elementTypes = new Map<number, { readonly width: number; readonly dtype: ElementType }>([
  [0x08, { width: 1, dtype: 'u8' }],
  [0x09, { width: 1, dtype: 'i32' }],
  [0x0b, { width: 2, dtype: 'i32' }],
  [0x0c, { width: 4, dtype: 'i32' }],
  [0x0d, { width: 4, dtype: 'f32' }],
  [0x0e, { width: 8, dtype: 'f64' }],
]);

interface IdxHeader {
  readonly type: number;
  readonly width: number;
  readonly dtype: ElementType;
  readonly dimensions: readonly number[];
  /** Of the header, in bytes. */
  readonly length: number;
}

function parseHeader(shown: string, bytes: Uint8Array): IdxHeader {
  const kind = elementTypes.get(bytes[2]);
  const rank = bytes[3];
  if (bytes.length < 8 || bytes[0] !== 0 || bytes[1] !== 0 || kind === undefined || rank === 0 || rank > 8) {
    throw new UserError('data-format', `${shown} is not an IDX file: it does not start with an IDX header.`);
  }
  const length = 4 + 4 * rank;
  if (bytes.length < length) throw new UserError('data-size', `${shown} ends within its header.`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  const dimensions = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  if (!Number.isSafeInteger(length + elementCount(dimensions) * kind.width)) {
    throw new UserError('data-size', `${shown} claims dimensions ${dimensions.join(' × ')}, more than any file holds.`);
  }
  return { type: bytes[2], width: kind.width, dtype: kind.dtype, dimensions, length };
}

const withFile = <Result>(files: Files, path: string, use: (file: InputFile) => Result): Result => {
  const file = files.open(path);
  try {
    return use(file);
  } finally {
    file.close();
  }
};

/** The type and dimensions (samples first) of an IDX file, from its header alone. */
export function describeIdx(files: Files, path: string): { dtype: ElementType; dimensions: readonly number[] } {
  return withFile(files, path, (file) => {
    const header = parseHeader(path, readStart(file, 36));
    if (file.size > 0 && !path.endsWith('.gz')) checkPlainSize(file, header);
    return { dtype: header.dtype, dimensions: header.dimensions };
  });
}

function checkPlainSize(file: InputFile, header: IdxHeader): void {
  const start = file.read(0, 2);
  if (start[0] === 0x1f) return;
  const promised = header.length + elementCount(header.dimensions) * header.width;
  if (file.size !== promised) {
    throw new UserError('data-size', `${file.shown} should have ${promised} bytes by its header; it has ${file.size}.`);
  }
}

/** All samples of an IDX file as one field. Bytes stay bytes. */
export function loadIdx(files: Files, path: string, name: string): StoredColumn {
  return withFile(files, path, (file) => {
    const header = parseHeader(path, readStart(file, 36));
    const count = elementCount(header.dimensions);
    const bytes = readWhole(file, header.length + count * header.width).subarray(header.length);
    const shape = header.dimensions.slice(1);
    const size = elementCount(shape);
    const field = { name, dtype: header.dtype, shape };
    return {
      kind: 'stored',
      field,
      size,
      step: size,
      offset: 0,
      data: header.type === 0x08 ? bytes : decode(header, bytes, count),
    };
  });
}

function decode(header: IdxHeader, bytes: Uint8Array, count: number): StoredColumn['data'] {
  const data = allocate(header.dtype, count);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < count; i++) {
    if (header.type === 0x09) data[i] = view.getInt8(i);
    else if (header.type === 0x0b) data[i] = view.getInt16(2 * i);
    else if (header.type === 0x0c) data[i] = view.getInt32(4 * i);
    else if (header.type === 0x0d) data[i] = view.getFloat32(4 * i);
    else data[i] = view.getFloat64(8 * i);
  }
  return data;
}
