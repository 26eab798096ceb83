/** Inflating with a known end: a small file must not become an endless one. */
import { constants, gunzipSync } from 'node:zlib';
import { UserError } from '../errors.ts';
import type { InputFile } from '../files.ts';

/** Deflate cannot shrink more than this many times, so a header that promises more is lying. */
const greatestRatio = 1032;

const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

/** The first bytes of a file, inflated where it is a .gz; at least `wanted` of them if the file has that many. */
export function readStart(file: InputFile, wanted: number): Uint8Array {
  const start = file.read(0, Math.min(file.size, wanted + 4096));
  if (!isGzip(start)) return start;
  return inflate(file.shown, start, start.length * greatestRatio + 1024, false);
}

/**
 * The whole file, inflated where it is a .gz. `size` is what its header promises, or undefined where any size up to
 * `limit` will do.
 */
export function readWhole(file: InputFile, size: number | undefined, limit = 2 ** 30): Uint8Array {
  const compressed = file.size >= 2 && isGzip(file.read(0, 2));
  if (!compressed) {
    if (size !== undefined) checkSize(file.shown, file.size, size);
    return file.read(0, file.size);
  }
  if (size !== undefined && size > file.size * greatestRatio + 1024) {
    throw new UserError(
      'data-size',
      `${file.shown} promises ${size} bytes, more than its ${file.size} compressed bytes can hold.`,
    );
  }
  const bytes = inflate(file.shown, file.read(0, file.size), size === undefined ? limit : size + 1, true);
  if (size !== undefined) checkSize(file.shown, bytes.length, size);
  return bytes;
}

function checkSize(shown: string, actual: number, promised: number): void {
  if (actual === promised) return;
  throw new UserError(
    'data-size',
    `${shown} should have ${promised} bytes by its header; it has ${actual > promised ? 'more' : `only ${actual}`}.`,
    actual < promised ? 'The file may be cut short: copy or download it again.' : undefined,
  );
}

function inflate(shown: string, bytes: Uint8Array, limit: number, whole: boolean): Uint8Array {
  try {
    const finishFlush = whole ? constants.Z_FINISH : constants.Z_SYNC_FLUSH;
    const out = gunzipSync(bytes, { maxOutputLength: limit, finishFlush });
    return new Uint8Array(out.buffer, out.byteOffset, out.byteLength);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ERR_BUFFER_TOO_LARGE') {
      throw new UserError('data-size', `${shown} inflates to more than the ${limit} bytes it may have.`);
    }
    throw new UserError('data-format', `${shown} is not a whole .gz file.`, 'Copy or download it again.');
  }
}
