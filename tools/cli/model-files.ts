/** The files that a command line names. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../runtime/errors.ts';
import { exit, printError, type Terminal } from './terminal.ts';

/** A file as it is named; in a folder, every .model file below it. */
export function modelFiles(path: string): string[] {
  let stats;
  try {
    stats = statSync(path);
  } catch {
    throw new UserError('no-file', `There is no file or folder ${path}.`);
  }
  if (!stats.isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      if (entry.isDirectory())
        return entry.name === 'node_modules' || entry.name.startsWith('.') ? [] : modelFiles(join(path, entry.name));
      return entry.isFile() && entry.name.endsWith('.model') ? [join(path, entry.name)] : [];
    });
}

/**
 * Does something with each of the files. One that is not there, or uses a file that is not there, is said and does not keep
 * the others from their turn. Gives how many files there were, and the exit code for those that could not be read.
 */
export async function eachFile(
  paths: readonly string[],
  terminal: Terminal,
  act: (file: string) => Promise<void>,
): Promise<{ readonly files: number; readonly unread: number; readonly code: number }> {
  let files = 0;
  let unread = 0;
  let code: number = exit.ok;
  const attempt = async <Result>(work: () => Result | Promise<Result>): Promise<Result | undefined> => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      printError(terminal, error.message, error.hint);
      unread += 1;
      code = error.code === 'no-file' ? exit.misuse : Math.max(code, exit.failed);
      return undefined;
    }
  };
  for (const path of paths)
    for (const file of (await attempt(() => modelFiles(path))) ?? []) {
      files += 1;
      await attempt(() => act(file));
    }
  return { files, unread, code };
}
