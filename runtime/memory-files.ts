/** Files that are in memory already, for a page and for a program that brings its own. */
import { UserError } from './errors.ts';
import type { Files, InputFile } from './files.ts';

/** `where`: where a person puts a file that is missing, in words. */
export function memoryFiles(contents: ReadonlyMap<string, Uint8Array>, where: string): Files {
  const open = (path: string): InputFile => {
    const bytes = contents.get(path);
    if (bytes === undefined) throw new UserError('no-file', `There is no file ${path} ${where}.`);
    return {
      shown: path,
      size: bytes.length,
      read(position, length) {
        if (position + length > bytes.length) throw new UserError('data-size', `${path} ends too early.`);
        return bytes.subarray(position, position + length);
      },
      close() {},
    };
  };
  return {
    open,
    read(path) {
      const file = open(path);
      return file.read(0, file.size);
    },
  };
}
