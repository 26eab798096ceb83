/**
 * The one door to what is on the disk. Every file that a `.model` file names is read through `Files`, every file of a run
 * is written through run-directory.ts; nothing else in Nacre's runtime opens a file. A `.model` file comes from a stranger, so its
 * paths reach only the folders granted: the file's own folder and the folders that a person names with --data.
 *
 * Links: below the file's own folder none are followed, and hard links are refused, since an archive may carry both. A
 * --data folder is the person's own; links in it are followed while they stay inside.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  type Stats,
} from 'node:fs';
import { dirname, isAbsolute, join, relative, sep } from 'node:path';
import { nearestName, UserError } from './errors.ts';

/** A file opened for reading. `shown` is the path as the user wrote it. */
export interface InputFile {
  readonly shown: string;
  readonly size: number;
  /** Exactly the bytes [position, position + length); a UserError where the file ends before. */
  read(position: number, length: number): Uint8Array;
  close(): void;
}

/** Reads files by the paths a `.model` file may use. */
export interface Files {
  open(path: string): InputFile;
  /** The whole file, which must not be longer than `limit` bytes (default 4 GiB). */
  read(path: string, limit?: number): Uint8Array;
}

/** What may be read: the `.model` file's own folder, and folders that the person at the keyboard named. */
export interface Grants {
  readonly modelFolder?: string;
  readonly data: readonly string[];
}

export interface Grant {
  readonly folder: string;
  readonly shown: string;
  readonly trusted: boolean;
}

/** Opens the door for the granted folders: --data first, in order, then the model's own. */
export function grantFiles(grants: Grants): Files {
  const all: Grant[] = grants.data.map((folder) => openGrant(folder, true));
  if (grants.modelFolder !== undefined) all.push(openGrant(grants.modelFolder, false));
  const open = (path: string): InputFile => openGranted(path, all);
  return {
    open,
    read(path, limit = 4 * 2 ** 30) {
      const file = open(path);
      try {
        if (file.size > limit) {
          throw new UserError('file-too-large', `${path} has ${file.size} bytes; at most ${limit} can be read here.`);
        }
        return file.read(0, file.size);
      } finally {
        file.close();
      }
    },
  };
}

function openGrant(folder: string, trusted: boolean): Grant {
  try {
    const real = realpathSync(folder);
    if (!lstatSync(real).isDirectory()) throw new UserError('not-a-folder', `${folder} is not a folder.`);
    return { folder: real, shown: folder, trusted };
  } catch (error) {
    throw explainDiskError(error, `open the folder ${folder}`);
  }
}

/** Refuses every spelling of a path that could leave its folder or mean something else on another system. */
export function checkRelativePath(path: string): void {
  const refuse = (why: string): never => {
    throw new UserError(
      'path-refused',
      `The path ${JSON.stringify(path)} ${why}.`,
      'Write a plain relative path such as "train/images.npy", and grant its folder with --data DIR.',
    );
  };
  if (path === '') refuse('is empty');
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(path)) refuse('holds a control character');
  if (path.includes('\\')) refuse('holds a backslash; folders are separated by "/"');
  if (path.startsWith('/')) refuse('is absolute');
  if (/^[a-z]:/i.test(path)) refuse('starts with a drive letter');
  if (/^[a-z][a-z0-9+.-]*:/i.test(path)) refuse('is a URL, not a file');
  if (/%[0-9a-f]{2}/i.test(path)) refuse('is percent-encoded');
  if (path.startsWith('~')) refuse('starts with "~", which is not expanded');
  for (const part of path.split('/')) {
    if (part === '..') refuse('leaves its folder with ".."');
    if (part === '' || part === '.') refuse('holds an empty or "." part');
    if (/[. ]$/.test(part)) refuse('has a part that ends in a dot or a space');
    if (/^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(part)) refuse(`holds "${part}", a device on some systems`);
  }
}

function openGranted(path: string, grants: readonly Grant[]): InputFile {
  checkRelativePath(path);
  for (const grant of grants) {
    const found = findIn(grant, path);
    if (found !== undefined) return openChecked(path, grant, found);
  }
  const near = nearestName(
    path,
    grants.flatMap((grant) => namesBeside(grant, path)),
  );
  throw new UserError(
    'file-not-found',
    `There is no file ${path} in ${grants.map((grant) => grant.shown).join(' or ') || 'any folder granted'}.`,
    near === undefined ? 'Name the folder that holds it with --data DIR.' : `Did you mean ${near}?`,
  );
}

/** The real path in this grant, or undefined where nothing is there. Links that lead out are refused. */
function findIn(grant: Grant, path: string): string | undefined {
  const wanted = join(grant.folder, path);
  let real: string;
  try {
    real = realpathSync(wanted);
  } catch (error) {
    const code = errorCode(error);
    // A link to nowhere also lands here; it leads to no file, so the next grant may have one.
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw explainDiskError(error, `find ${path}`);
  }
  if (!isInside(grant.folder, real)) {
    throw new UserError(
      'path-link',
      `${path} is a link that leads out of ${grant.shown}.`,
      'Copy the file, or grant the folder it lies in with --data DIR.',
    );
  }
  if (!grant.trusted && real !== wanted) {
    throw new UserError(
      'path-link',
      `${path} goes through a link; beside a .model file links are not followed.`,
      'Copy the file, or grant its folder with --data DIR.',
    );
  }
  return real;
}

/** Opens a file known to lie in a grant, refusing all but plain files. */
export function openChecked(path: string, grant: Grant, real: string): InputFile {
  try {
    const before = lstatSync(real);
    checkPlainFile(path, before, grant);
    // Without O_NONBLOCK, a pipe put in place of the file in this instant would hang the process.
    const descriptor = openSync(real, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
    try {
      const opened = fstatSync(descriptor);
      checkPlainFile(path, opened, grant);
      if (opened.ino !== before.ino || opened.dev !== before.dev || realpathSync(real) !== real) {
        throw new UserError('path-changed', `${path} was replaced while it was being opened.`);
      }
      return inputFile(path, descriptor, opened.size);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  } catch (error) {
    throw explainDiskError(error, `open ${path}`);
  }
}

function checkPlainFile(path: string, stats: Stats, grant: Grant): void {
  if (stats.isDirectory()) throw new UserError('not-a-file', `${path} is a folder, not a file.`);
  if (!stats.isFile()) throw new UserError('not-a-file', `${path} is not a plain file (a pipe, a socket or a device).`);
  if (stats.nlink > 1 && !grant.trusted) {
    throw new UserError(
      'path-link',
      `${path} is a hard link; beside a .model file these are refused.`,
      'Copy the file, or grant its folder with --data DIR.',
    );
  }
}

function inputFile(shown: string, descriptor: number, size: number): InputFile {
  let open = true;
  return {
    shown,
    size,
    read(position, length) {
      if (position + length > size)
        throw new UserError('file-too-short', `${shown} ends at byte ${size}; ${position + length} were expected.`);
      try {
        return readExactly(descriptor, position, length, shown);
      } catch (error) {
        throw explainDiskError(error, `read ${shown}`);
      }
    },
    close() {
      if (open) closeSync(descriptor);
      open = false;
    },
  };
}

function readExactly(descriptor: number, position: number, length: number, shown: string): Uint8Array {
  const bytes = new Uint8Array(length);
  // One call reads at most 2 GiB.
  for (let done = 0; done < length;) {
    const count = readSync(descriptor, bytes, done, Math.min(length - done, 2 ** 30), position + done);
    if (count === 0) throw new UserError('file-too-short', `${shown} became shorter while it was being read.`);
    done += count;
  }
  return bytes;
}

function namesBeside(grant: Grant, path: string): string[] {
  const folder = dirname(path);
  try {
    const names = readdirSync(join(grant.folder, folder));
    return folder === '.' ? names : names.map((name) => `${folder}/${name}`);
  } catch {
    return [];
  }
}

/** Does a whole path lie below a folder? */
export function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** What the file system calls its error, such as ENOENT. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

const diskReasons = new Map([
  ['ENOENT', 'it does not exist'],
  ['EACCES', 'permission was denied'],
  ['EPERM', 'permission was denied'],
  ['ENOSPC', 'the disk is full'],
  ['EDQUOT', 'the disk quota is used up'],
  ['EROFS', 'the disk is read-only'],
  ['EIO', 'the disk reported an error'],
  ['EMFILE', 'too many files are open'],
  ['ELOOP', 'it is a link, or links go round in a circle'],
  ['ENAMETOOLONG', 'the name is too long'],
  ['ENOTDIR', 'part of the path is a file, not a folder'],
  ['EEXIST', 'there is already a file of that name'],
]);

/** Turns a failure of the file system into a sentence; anything else passes through unchanged. */
export function explainDiskError(error: unknown, doing: string): unknown {
  if (error instanceof UserError) return error;
  const code = errorCode(error);
  if (code === undefined) return error;
  return new UserError('disk', `Could not ${doing}: ${diskReasons.get(code) ?? code}.`);
}
