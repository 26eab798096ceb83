/** What the programming interface needs of Node. */
import { DeviceError } from '../../runtime/program.ts';
import type { CodeBackend } from '../driver/targets/backend.ts';
import { codeTargets, targets } from '../driver/targets/index.ts';

export { readerOf } from '../trainer/read-folder.ts';

/** Of a built trainer's target. Throws DeviceError where there is no such target. */
export function nodeBackend(name: string): Promise<CodeBackend> {
  const known = codeTargets.find((target) => target === name);
  if (known === undefined) throw new DeviceError(`This trainer is for ${name}, which this Nacre does not know.`);
  return targets[known].backend();
}
