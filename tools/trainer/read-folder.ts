/** The files of a folder that `nacre build` wrote, in Node. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ReadFile } from '../../runtime/artefact.ts';
import { errorCode, explainDiskError } from '../../runtime/files.ts';
import { DeviceError } from '../../runtime/program.ts';

/** Throws DeviceError, and so does what reads them where one is not there. */
export function readerOf(folder: string | URL): ReadFile {
  const path = pathOf(folder);
  return async (name) => {
    try {
      return new Uint8Array(await readFile(join(path, name)));
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? ''))
        throw explainDiskError(error, `read ${name} in ${path}`);
      throw new DeviceError(`There is no ${name} in ${path}: is that a folder that nacre build wrote?`);
    }
  };
}

function pathOf(folder: string | URL): string {
  const address = String(folder);
  if (!/^(file:|[a-z][a-z0-9+.-]*:\/\/)/i.test(address)) return address;
  try {
    return fileURLToPath(address);
  } catch {
    throw new DeviceError(`${address} is no folder of this machine: Node opens one by its path or file: URL.`);
  }
}
