/** What a run is started with, and continued with, whether by `nacre train` or by a built trainer. */
import { resolve } from 'node:path';
import type { RunConfig } from '../../runtime/run-folder.ts';

export interface RunSettings {
  /** Given alone, one lifts the other. */
  readonly epochs?: number;
  readonly steps?: number;
  /** Whole paths, for a continuation may start in another folder. */
  readonly data: readonly string[];
  readonly seed?: number;
  readonly threads?: number;
}

/** As a command line says them. */
export function newRunSettings({ epochs, steps, data, seed, threads }: RunSettings): RunSettings {
  return {
    ...(epochs !== undefined && { epochs }),
    ...(steps !== undefined && { steps }),
    data: data.map((folder) => resolve(folder)),
    ...(seed !== undefined && { seed }),
    ...(threads !== undefined && { threads }),
  };
}

/** What the run that is continued was started with, where it is not said anew. */
export function continuedSettings({ settings: before }: RunConfig, said: RunSettings): RunSettings {
  return {
    ...(said.epochs === undefined && said.steps === undefined && numbersOf(before, 'epochs', 'steps')),
    ...numbersOf(before, 'seed', 'threads'),
    ...said,
    data: said.data.length > 0 ? said.data : textsOf(before, 'data'),
  };
}

type Before = RunConfig['settings'];

/** The settings of these names, where they are numbers. */
export const numbersOf = (before: Before, ...names: readonly string[]): Record<string, number> =>
  Object.fromEntries(
    names.flatMap((name): [string, number][] => {
      const value = before[name];
      return typeof value === 'number' ? [[name, value]] : [];
    }),
  );

export function textsOf(before: Before, name: string): string[] {
  const found = before[name];
  return Array.isArray(found) ? found.filter((text): text is string => typeof text === 'string') : [];
}
