/**
 * A `.model` file with everything around it: the modules it uses, the folders it may read, its train blocks bound to the data
 * that is there, its tests.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, posix, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { showPlace, type Source } from '../../compiler/base/source.ts';
import type { DataDescription } from '../../compiler/elaborate/describe.ts';
import { loadProgram, type Program } from '../../compiler/elaborate/modules.ts';
import type { Override } from '../../compiler/elaborate/overrides.ts';
import { describeData } from '../../runtime/data/load.ts';
import { placed, UserError } from '../../runtime/errors.ts';
import { grantFiles, type Files } from '../../runtime/files.ts';
import type { DataPlan } from '../../runtime/program.ts';
import { trainBlocks, type Describe, type TrainBlocks } from './train-blocks.ts';

export { refuseNeverDue, type RunnableTrain } from './train-blocks.ts';

export interface ProjectOptions {
  /** Folders that data and weights may be read from, besides the file's own. */
  readonly data?: readonly string[];
  /** `--set path=value` */
  readonly overrides?: readonly Override[];
  /** Stands in for looking at the data. */
  readonly describe?: (plan: DataPlan) => DataDescription;
}

export interface Project extends TrainBlocks {
  readonly path: string;
  readonly source: Source;
  readonly program: Program;
  readonly files: Files;
}

/** From `dist/tools/driver/` and from the sources alike: the folder that holds `stdlib/`. */
export const packageRoot = ((): string => {
  const here = dirname(fileURLToPath(import.meta.url));
  const up = resolve(here, '../..');
  return up.endsWith(`${posix.sep}dist`) ? dirname(up) : up;
})();

export async function openProject(path: string, options: ProjectOptions = {}): Promise<Project> {
  const folder = dirname(resolve(path));
  // A module of the standard library is the same one, whether it is opened or used.
  const name = folder === join(packageRoot, 'stdlib') ? `stdlib/${basename(path)}` : path;
  const source = { name, text: readModel(path) };
  const files = grantFiles({ modelFolder: folder, data: options.data ?? [] });
  const program = loadProgram(source, (name, from) => readModule(name, from, path, files), standardModules());
  const describe: Describe = async (plan, line) => {
    try {
      return options.describe?.(plan) ?? (await describeData(plan, files));
    } catch (error) {
      throw placed(error, line === undefined ? undefined : showPlace(line));
    }
  };
  const shown = { name: path, ask: (block: string) => `, after the file: \`${path} ${block}\`` };
  return { path, source, program, files, ...trainBlocks(program, shown, describe, options.overrides) };
}

function readModel(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT') throw new UserError('no-file', `There is no file ${path}.`);
    if (code === 'EISDIR') throw new UserError('no-file', `${path} is a folder, not a .model file.`);
    if (code === 'EACCES') throw new UserError('no-file', `${path} may not be read.`);
    throw error;
  }
}

const standardModules = (): string[] =>
  readdirSync(join(packageRoot, 'stdlib')).flatMap((file) =>
    file.endsWith('.model') ? [`std.${basename(file, '.model')}`] : [],
  );

/** `std.layers` from the standard library; `./blocks.model` from beside the file that uses it, inside the entry's folder. */
function readModule(name: string, from: Source, entry: string, files: Files): Source | undefined {
  const standard = /^std\.([a-z_]+)$/.exec(name);
  if (standard !== null) {
    const path = join(packageRoot, 'stdlib', `${standard[1]}.model`);
    try {
      return { name: `stdlib/${standard[1]}.model`, text: readFileSync(path, 'utf8') };
    } catch {
      return undefined;
    }
  }
  if (!name.endsWith('.model')) return undefined;
  const path = join(dirname(from.name), name);
  const inside = relative(dirname(entry), path);
  return { name: path, text: new TextDecoder().decode(files.read(inside)) };
}
