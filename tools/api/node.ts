/** What the programming interface needs of Node. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DeviceError } from '../../runtime/program.ts';

/** Reads the files of a folder. */
export async function readerOf(folder: string | URL): Promise<(name: string) => Promise<Uint8Array<ArrayBuffer>>> {
  const path = folder instanceof URL ? fileURLToPath(folder) : folder;
  return async (name) => {
    try {
      return new Uint8Array(await readFile(join(path, name)));
    } catch {
      throw new DeviceError(`There is no ${name} in ${path}: is that a folder that nacre build wrote?`);
    }
  };
}
