/** What the programming interface needs of Node. */
import { availableParallelism } from 'node:os';
import { DeviceError } from '../../runtime/program.ts';
import { openTarget as openNamed } from '../driver/target.ts';
import { codeTargets, targetNames, targets } from '../driver/targets/index.ts';
import { oneOf, type Platform } from './platform.ts';

export { readerOf } from '../trainer/read-folder.ts';

export const openTarget: Platform['openTarget'] = async (name, threads) => {
  if (!targetNames.includes(name)) throw new DeviceError(`There is no target ${name}: take ${oneOf(targetNames)}.`);
  return openNamed(name, threads === undefined ? {} : { threads });
};

export const openBuilt: Platform['openBuilt'] = async (target, threads = availableParallelism()) => {
  const known = codeTargets.find((name) => name === target);
  if (known === undefined) throw new DeviceError(`This trainer is for ${target}, which this Nacre does not know.`);
  return (await targets[known].backend()).openBuilt(threads);
};
