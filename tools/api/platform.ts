/** What the programming interface needs of the place it runs in: node.ts and page.ts. */
import type { BuiltSession, ReadFile } from '../../runtime/artefact.ts';
import type { Target } from '../driver/targets/backend.ts';
import type { TargetName } from '../driver/targets/index.ts';

/** Threads: all there are where nothing is said. */
export interface Platform {
  /** Throws DeviceError. */
  openTarget(name: TargetName, threads: number | undefined): Promise<Target>;
  /** The target of a built trainer. Throws DeviceError. */
  openBuilt(target: string, threads: number | undefined): Promise<BuiltSession>;
  /** The files of a folder that `nacre build` wrote; where one is not there, reading it throws DeviceError. */
  readerOf(folder: string | URL): ReadFile;
}

/** Names, to choose from. */
export const oneOf = (names: readonly string[]): string =>
  names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} or ${names[names.length - 1]}`;
