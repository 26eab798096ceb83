/** `nacre build`: a train block compiled into a folder that trains without the compiler. */
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { gzipSync } from 'node:zlib';
import { dirname, join, resolve } from 'node:path';
import type { Graph } from '../../compiler/graph/graph.ts';
import {
  packedName,
  programKey,
  readTrainer,
  type BuiltProgram,
  type Trainer,
  trainerVersion,
} from '../../runtime/artefact.ts';
import { batchSizes } from '../../runtime/data/dataset.ts';
import { UserError } from '../../runtime/errors.ts';
import { errorCode, explainDiskError, isInside } from '../../runtime/files.ts';
import type { Session, StepPhase } from '../../runtime/program.ts';
import { makeFolders } from '../../runtime/run-directory.ts';
import { createPrograms } from './programs.ts';
import type { RunnableTrain } from './project.ts';
import type { BuiltFile } from './targets/backend.ts';
import { type CodeTarget, targets } from './targets/index.ts';

export interface BuildOptions {
  readonly target: CodeTarget;
  readonly threads?: number;
}

export interface BuiltFolder {
  readonly trainer: Omit<Trainer, 'files'>;
  readonly files: readonly BuiltFile[];
}

/** Every program that a run of the block may ask for, compiled. */
export async function buildTrainer(
  train: RunnableTrain,
  { target, threads = availableParallelism() }: BuildOptions,
): Promise<BuiltFolder> {
  const { plan, data } = train;
  const make = await (await targets[target].backend()).builder(threads);
  const programs: Record<string, BuiltProgram> = {};
  const files: BuiltFile[] = [];
  await everyProgram(train, async (graph, key) => {
    const made = await make(graph, key);
    programs[key] = made.program;
    for (const { name, bytes } of made.files)
      files.push({ name: packedName(name), bytes: gzipSync(bytes, { level: 9 }) });
  });
  return { trainer: { version: trainerVersion, target, samples: data.train.count, plan, programs }, files };
}

/** Gives the programs that a run of the block may ask for, one by one. */
export async function everyProgram(
  { block, plan, data }: RunnableTrain,
  take: (graph: Graph, key: string) => Promise<void>,
): Promise<void> {
  let key = '';
  const asked = createPrograms(block, data, {
    session: nowhere,
    async load(graph) {
      await take(graph, key);
      const run = (): Promise<never> => Promise.reject(new Error('a program that is only built'));
      return { inputs: [], results: [], run, close: () => Promise.resolve() };
    },
  });
  const build = async (name: string, ask: () => Promise<unknown>): Promise<void> => {
    key = name.replace(/[^A-Za-z0-9_-]+/g, '_');
    await ask();
  };
  await build(programKey.init(), () => asked.init());
  const phases: readonly StepPhase[] = plan.accumulate > 1 ? ['only', 'accumulate', 'last'] : ['only'];
  for (const batch of batchSizes(plan.data, data.train.count, plan.batch))
    for (const phase of phases) await build(programKey.step(batch, phase), () => asked.step(batch, phase));
  for (const [at, { name, batch, data: of }] of plan.evaluations.entries())
    for (const size of batchSizes(of, data.evaluations[at].count, batch))
      await build(programKey.evaluate(name, size), () => asked.evaluate(name, size));
  for (const [index, { rewind }] of (plan.prunes ?? []).entries()) {
    await build(programKey.prune(index), () => asked.prune(index));
    if (rewind !== undefined) await build(programKey.snapshot(), () => asked.snapshot());
  }
  if (plan.quantization !== undefined) {
    if (plan.quantization.calibrate > 0)
      for (const batch of batchSizes(plan.data, data.train.count, plan.batch))
        await build(programKey.calibrate(batch), () => asked.calibrate(batch));
    await build(programKey.quantize(), () => asked.quantize());
  }
}

const nowhere: Session = {
  target: 'nowhere',
  fields: new Map(),
  read: () => Promise.reject(new Error('nothing is held by a trainer that is only built')),
  write: () => {},
  close: () => {},
};

const trainerFile = 'trainer.json';
/** In the folder, from the first write to the last rename: new files wait there until all are written. */
const unfinished = '.unfinished';
/** There: the `trainer.json` of the build before, while other files are renamed. */
const replaced = 'replaced.json';

/**
 * Writes the folder. What an earlier build left there goes; a folder that holds anything else is left alone. Where a file cannot be
 * written, everything is as it was. Then the files are renamed into place: the old `trainer.json`, which lists the others, goes first
 * and the new one comes last, so that what is left where a rename fails, or the process is killed, has none: it does not train, and
 * can be built again. Gives the names and the bytes of all of it.
 */
export function writeFolder(
  folder: string,
  trainer: Omit<Trainer, 'files'>,
  files: readonly BuiltFile[],
): { readonly names: readonly string[]; readonly bytes: number } {
  if (!isFree(folder))
    throw new UserError(
      'build-folder',
      `${folder} is there already and no trainer that Nacre built.`,
      'Name another folder after -o.',
    );
  const whole: Trainer = { ...trainer, files: files.map(({ name }) => name) };
  const all = [...files, { name: trainerFile, bytes: new TextEncoder().encode(`${JSON.stringify(whole)}\n`) }];
  const names = all.map(({ name }) => name);
  const current = join(folder, trainerFile);
  const old = join(folder, unfinished, replaced);
  const waiting = join(folder, unfinished, 'new');
  const before = [current, old, join(waiting, trainerFile)].flatMap((path) => filesOf(folder, path));
  let made: string | undefined;
  try {
    made = makeFolders(join(folder, unfinished));
    rmSync(waiting, { recursive: true, force: true });
    for (const { name, bytes } of all) {
      mkdirSync(dirname(join(waiting, name)), { recursive: true });
      writeFileSync(join(waiting, name), bytes);
    }
    for (const name of names) mkdirSync(dirname(join(folder, name)), { recursive: true });
    // From here on what is unfinished stays: it says whose the folder is.
    made = undefined;
    if (existsSync(current)) renameSync(current, old);
    for (const name of names) renameSync(join(waiting, name), join(folder, name));
    for (const name of before) if (!names.includes(name)) rmSync(join(folder, name), { force: true });
    rmSync(join(folder, unfinished), { recursive: true });
  } catch (error) {
    if (made !== undefined) rmSync(made, { recursive: true, force: true });
    throw explainDiskError(error, `write ${folder}`);
  }
  return { names, bytes: all.reduce((sum, { bytes }) => sum + bytes.length, 0) };
}

/** Is there nothing, or what a build left, whole or not? */
function isFree(folder: string): boolean {
  try {
    const names = existsSync(folder) ? readdirSync(folder) : [];
    return (
      names.length === 0 ||
      names.includes(unfinished) ||
      statSync(join(folder, trainerFile), { throwIfNoEntry: false })?.isFile() === true
    );
  } catch (error) {
    if (errorCode(error) !== 'ENOTDIR') throw explainDiskError(error, `read ${folder}`);
    throw new UserError(
      'build-folder',
      `${folder} is a file, and what is built is a folder.`,
      'Name another folder after -o.',
    );
  }
}

/** The files of an earlier build, where its `trainer.json` says so: names in the folder and no others. */
function filesOf(folder: string, trainer: string): readonly string[] {
  try {
    const { files } = readTrainer(readFileSync(trainer));
    return files.filter((name) => isInside(resolve(folder), resolve(folder, name)));
  } catch {
    return [];
  }
}
