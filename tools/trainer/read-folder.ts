/** The files of a folder that `nacre build` wrote, in Node. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ReadFile } from '../../runtime/artefact.ts';
import { DeviceError } from '../../runtime/program.ts';

/** Throws DeviceError, and so does what reads them where one is not there. */
export function readerOf(folder: string | URL): ReadFile {
  if (folder instanceof URL && folder.protocol !== 'file:')
    throw new DeviceError(`${folder} is no folder of this machine: Node opens one by its path or file: URL.`);
  const path = folder instanceof URL ? fileURLToPath(folder) : folder;
  return async (name) => {
    try {
      return new Uint8Array(await readFile(join(path, name)));
    } catch {
      throw new DeviceError(`There is no ${name} in ${path}: is that a folder that nacre build wrote?`);
    }
  };
}
