/** `nacre build`: a train block compiled into a folder that trains without the compiler. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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
/** In the folder: files wait there until all are written. What a build that was killed left there goes with the next one. */
const unfinished = '.unfinished';

/**
 * Writes the folder: `trainer.json`, which lists the others, comes last. What an earlier build left there goes; a folder that holds
 * anything else is left alone. Where it cannot be written, everything is as it was. Gives the names and the bytes of all of it.
 */
export function writeFolder(
  folder: string,
  trainer: Omit<Trainer, 'files'>,
  files: readonly BuiltFile[],
): { readonly names: readonly string[]; readonly bytes: number } {
  if (!isEmptyFolder(folder) && !existsSync(join(folder, trainerFile)))
    throw new UserError(
      'build-folder',
      `${folder} is there already and no trainer that Nacre built.`,
      'Name another folder after -o.',
    );
  const whole: Trainer = { ...trainer, files: files.map(({ name }) => name) };
  const all = [...files, { name: trainerFile, bytes: new TextEncoder().encode(`${JSON.stringify(whole)}\n`) }];
  const names = all.map(({ name }) => name);
  const waiting = join(folder, unfinished);
  let made: string | undefined;
  try {
    rmSync(waiting, { recursive: true, force: true });
    made = makeFolders(waiting);
    for (const { name, bytes } of all) {
      mkdirSync(dirname(join(waiting, name)), { recursive: true });
      writeFileSync(join(waiting, name), bytes);
    }
    const before = filesOf(folder);
    for (const name of names) mkdirSync(dirname(join(folder, name)), { recursive: true });
    for (const name of names) renameSync(join(waiting, name), join(folder, name));
    for (const name of before) if (!names.includes(name)) rmSync(join(folder, name), { force: true });
    rmSync(waiting, { recursive: true });
  } catch (error) {
    if (made !== undefined) rmSync(made, { recursive: true, force: true });
    throw explainDiskError(error, `write ${folder}`);
  }
  return { names, bytes: all.reduce((sum, { bytes }) => sum + bytes.length, 0) };
}

/** Nothing there is as good as an empty folder. */
function isEmptyFolder(folder: string): boolean {
  try {
    return !existsSync(folder) || readdirSync(folder).every((name) => name === unfinished);
  } catch (error) {
    if (errorCode(error) !== 'ENOTDIR') throw explainDiskError(error, `read ${folder}`);
    throw new UserError(
      'build-folder',
      `${folder} is a file, and what is built is a folder.`,
      'Name another folder after -o.',
    );
  }
}

/** The files of an earlier build, where it says so: names in the folder and no others. */
function filesOf(folder: string): readonly string[] {
  try {
    const { files } = readTrainer(readFileSync(join(folder, trainerFile)));
    return files.filter((name) => isInside(resolve(folder), resolve(folder, name)));
  } catch {
    return [];
  }
}
