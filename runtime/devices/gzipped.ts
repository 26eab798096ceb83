/** Text in a file of a built program that only Node reads. */
import { gunzipSync } from 'node:zlib';
import { DeviceError } from '../program.ts';

/** Throws DeviceError where the file is not whole. */
export function inflated(file: string, bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes);
  } catch {
    throw new DeviceError(`${file} is damaged: build the trainer again.`);
  }
}
