/** The folder of one run: the only place where the runtime writes, and every write of it. */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  readFileSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { nearestName, UserError } from './errors.ts';
import { checkRelativePath, errorCode, explainDiskError, openChecked, type InputFile } from './files.ts';

/** The folder of one run, and the only place where the runtime writes. Names are relative to it. */
export interface RunDirectory {
  readonly path: string;
  /** Replaces the file in one instant: a crash leaves either the old or the new content, never a mixture. */
  write(name: string, chunks: readonly Uint8Array[]): void;
  append(name: string, text: string): void;
  has(name: string): boolean;
  open(name: string): InputFile;
  read(name: string): Uint8Array;
  list(folder: string): string[];
  remove(name: string): void;
  /** Keeps other processes from training in this folder until the result is called. Throws UserError where one does. */
  lock(): () => void;
  /** Removes what an interrupted `write` left behind. Only for the process that has the lock. */
  clean(): void;
}

const unfinished = '.unfinished';
const subfolders = ['checkpoints'];
const lockName = 'lock';

/** Makes the next free `<parent>/<stem>-<number>`, which nobody else has. */
export function createRunDirectory(parent: string, stem: string): RunDirectory {
  const safe = stem.replace(/[^A-Za-z0-9_-]/g, '_') || 'run';
  try {
    makeFolders(parent);
    const taken = readdirSync(parent).map((name) =>
      name.startsWith(`${safe}-`) ? Number(name.slice(safe.length + 1)) : 0,
    );
    let number = Math.max(0, ...taken.filter(Number.isSafeInteger)) + 1;
    for (;;) {
      const path = join(parent, `${safe}-${number}`);
      try {
        mkdirSync(path);
        for (const folder of subfolders) mkdirSync(join(path, folder));
        return runDirectory(path);
      } catch (error) {
        if (errorCode(error) !== 'EEXIST') throw error;
        number++;
      }
    }
  } catch (error) {
    throw explainDiskError(error, `make a run folder in ${parent}`);
  }
}

/**
 * Makes a folder and those above it that are not there, or none; gives the outermost that it made. One at a time: Node's own
 * recursion never returns where a folder cannot be made below an existing one (as in /proc).
 */
export function makeFolders(path: string): string | undefined {
  if (existsSync(path)) return undefined;
  const parent = dirname(resolve(path));
  const above = makeFolders(parent);
  try {
    mkdirSync(path);
  } catch (error) {
    if (above !== undefined) for (let made = parent; made.length >= above.length; made = dirname(made)) rmdirSync(made);
    throw error;
  }
  return above ?? path;
}

/** Opens the folder of an earlier run. */
export function openRunDirectory(path: string): RunDirectory {
  if (!existsSync(path)) {
    const beside = existsSync(dirname(resolve(path))) ? readdirSync(dirname(resolve(path))) : [];
    const near = nearestName(basename(path), beside);
    throw new UserError(
      'run-not-found',
      `There is no run folder ${path}.`,
      near === undefined ? undefined : `Did you mean ${join(dirname(path), near)}?`,
    );
  }
  if (!existsSync(join(path, 'config.json'))) {
    throw new UserError('run-not-found', `${path} is not a run folder: it has no config.json.`);
  }
  return runDirectory(path);
}

function runDirectory(path: string): RunDirectory {
  const root = realpathSync(path);
  const place = (name: string): string => {
    checkRelativePath(name);
    const full = join(root, name);
    // A folder inside the run that was swapped for a link would take the files elsewhere.
    if (realpathSync(dirname(full)) !== dirname(full))
      throw new UserError('path-link', `${dirname(name)} in ${path} is a link.`);
    return full;
  };
  const open = (name: string): InputFile => {
    const shown = join(path, name);
    const full = place(name);
    if (!existsSync(full)) throw new UserError('file-not-found', `There is no ${name} in ${path}.`);
    return openChecked(shown, { folder: root, shown: path, trusted: true }, full);
  };
  const attempt = <Result>(doing: string, act: () => Result): Result => {
    try {
      return act();
    } catch (error) {
      throw explainDiskError(error, doing);
    }
  };
  return {
    path,
    write: (name, chunks) => attempt(`write ${join(path, name)}`, () => writeAtomically(place(name), chunks)),
    append: (name, text) => attempt(`write ${join(path, name)}`, () => appendText(place(name), text)),
    has: (name) => existsSync(place(name)),
    open,
    read(name) {
      const file = open(name);
      try {
        return file.read(0, file.size);
      } finally {
        file.close();
      }
    },
    list: (folder) => attempt(`list ${join(path, folder)}`, () => readdirSync(join(root, folder)).sort()),
    remove: (name) => attempt(`remove ${join(path, name)}`, () => unlinkSync(place(name))),
    lock: () => attempt(`write ${join(path, lockName)}`, () => lockFile(place(lockName), path)),
    clean() {
      for (const folder of ['', ...subfolders]) {
        for (const name of readdirSync(join(root, folder))) {
          if (name.endsWith(unfinished)) unlinkSync(join(root, folder, name));
        }
      }
    },
  };
}

/** The locks of this process: one with its number that it does not have is of an earlier process with that number. */
const locks = new Set<string>();

/** The lock is a file with the number of its process; one whose process is gone counts as none. */
function lockFile(full: string, shown: string): () => void {
  for (let attempts = 0; ; attempts++) {
    try {
      writeFileSync(full, `${process.pid}\n`, { flag: 'wx' });
      break;
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
      const holder = existsSync(full) ? Number(readFileSync(full, 'utf8')) : 0;
      if (attempts > 2 || locks.has(full) || (holder !== process.pid && isAlive(holder)))
        throw new UserError(
          'run-in-use',
          `Process ${holder} is training ${shown} at this moment.`,
          'Wait until it is done, or stop it first.',
        );
      if (existsSync(full)) unlinkSync(full);
    }
  }
  locks.add(full);
  return () => {
    locks.delete(full);
    if (existsSync(full)) unlinkSync(full);
  };
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid < 1) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // A process of somebody else may not be asked, but it is there.
    return errorCode(error) === 'EPERM';
  }
}

function writeAtomically(full: string, chunks: readonly Uint8Array[]): void {
  const temporary = full + unfinished;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | (constants.O_NOFOLLOW ?? 0);
  const descriptor = openSync(temporary, flags, 0o644);
  try {
    try {
      for (const chunk of chunks) writeFully(descriptor, chunk);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, full);
  } catch (error) {
    if (existsSync(temporary)) unlinkSync(temporary);
    throw error;
  }
  syncFolder(dirname(full));
}

function writeFully(descriptor: number, chunk: Uint8Array): void {
  for (let done = 0; done < chunk.byteLength;) {
    done += writeSync(descriptor, chunk, done, Math.min(chunk.byteLength - done, 2 ** 30));
  }
}

/** Makes a rename last through a power cut. Windows has no such call and needs none. */
function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const descriptor = openSync(folder, constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function appendText(full: string, text: string): void {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | (constants.O_NOFOLLOW ?? 0);
  const descriptor = openSync(full, flags, 0o644);
  try {
    writeFully(descriptor, new TextEncoder().encode(text));
  } finally {
    closeSync(descriptor);
  }
}
