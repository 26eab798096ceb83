/**
 * What a run leaves on disk: config.json, metrics.jsonl, checkpoints/, best.safetensors, last.safetensors, report.html.
 * A checkpoint counts once its manifest is there, which is written last and holds the hash of the rest; so a crash at
 * any moment leaves the run with its previous checkpoint.
 */
import { createHash } from 'node:crypto';
import { UserError } from './errors.ts';
import type { InputFile } from './files.ts';
import type { Field, TrainPlan, TypedArray } from './program.ts';
import { createRunDirectory, openRunDirectory, type RunDirectory } from './run-directory.ts';
import { renderReport } from './report.ts';
import { encodeWeights } from './safetensors.ts';
import { notWeights } from './weights.ts';

/** Where training stands: everything besides the tensors that a bit-exact continuation needs. */
export interface Progress {
  /** Optimizer updates done. */
  readonly step: number;
  /** The epoch in progress, from 0, and how many of its micro-batches are done. */
  readonly epoch: number;
  readonly batch: number;
  /** Loss of the latest step. */
  readonly last: number;
  /** Loss of this epoch so far. */
  readonly loss: { readonly sum: number; readonly count: number };
  /** The evaluations that have been done since this step. */
  readonly measured: readonly string[];
  /** Best value so far of each metric that is saved by. */
  readonly best: readonly { readonly metric: string; readonly value: number; readonly step: number }[];
  /** Seconds spent, over all continuations. */
  readonly seconds: number;
}

/** What config.json holds: enough to tell later what was run. */
export interface RunConfig {
  readonly plan: TrainPlan;
  /** The command's settings. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** The `.model` file as it was. */
  readonly source?: { readonly path: string; readonly text: string };
}

/** One line of metrics.jsonl. */
export type MetricsLine = Readonly<Record<string, string | number | null>> & {
  readonly event: string;
  readonly step: number;
};

export interface Tensor {
  readonly field: Field;
  readonly data: TypedArray;
}

export interface Checkpoint {
  readonly name: string;
  readonly progress: Progress;
  open(): InputFile;
}

const manifestVersion = 1;

interface Manifest {
  readonly version: number;
  readonly bytes: number;
  readonly sha256: string;
  readonly progress: Progress;
}

/** The folder of one run. */
export interface RunFolder {
  readonly path: string;
  config(): RunConfig;
  writeConfig(config: RunConfig): void;
  /** Adds a line to metrics.jsonl; it reaches the disk with the next `flush`. */
  log(line: MetricsLine): void;
  flush(): void;
  metrics(): MetricsLine[];
  /** Forgets the lines after this step, which the continuation will write again. */
  rewindMetrics(step: number): void;
  saveCheckpoint(progress: Progress, weights: readonly Tensor[], rest: readonly Tensor[]): void;
  /** The newest checkpoint that is whole. */
  newestCheckpoint(): Checkpoint | undefined;
  /** Writes `<name>.safetensors`, the weights alone. */
  saveWeights(name: string, weights: readonly Tensor[], metadata: ReadonlyMap<string, string>): void;
  openWeights(name: string): InputFile | undefined;
  writeReport(): void;
  /** Lets other processes train in the folder again. */
  release(): void;
}

/** Where runs are kept. */
export interface Runs {
  create(name: string, config: RunConfig): RunFolder;
  /** Throws UserError where there is no such run. */
  reopen(path: string): RunFolder;
}

/** In folders below `out`. */
export const runFolders = (out: string): Runs => ({
  create: (name, config) => createRun(out, name, config),
  reopen: reopenRun,
});

/** Starts a folder `<out>/<name>-<number>` for a new run, and keeps other processes from training in it. */
export function createRun(out: string, name: string, config: RunConfig): RunFolder {
  const directory = createRunDirectory(out, name);
  const folder = runFolder(directory, directory.lock());
  folder.writeConfig(config);
  return folder;
}

/** Opens the folder of an earlier run, to continue or to evaluate it. */
export function openRun(path: string): RunFolder {
  return runFolder(openRunDirectory(path));
}

/** Like `openRun`, for the one process that goes on with the run: keeps others out, removes what a crash left half-written. */
export function reopenRun(path: string): RunFolder {
  const directory = openRunDirectory(path);
  const release = directory.lock();
  directory.clean();
  return runFolder(directory, release);
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const sha256 = (chunks: readonly Uint8Array[]): string => {
  const hash = createHash('sha256');
  chunks.forEach((chunk) => hash.update(chunk));
  return hash.digest('hex');
};

const checkpointName = (step: number): string => String(step).padStart(9, '0');
const fileOf = (checkpoint: string): string => `checkpoints/${checkpoint}.safetensors`;

/** Where the checkpoint of a step lies in its run folder. */
export const checkpointFile = (step: number): string => fileOf(checkpointName(step));
const manifestOf = (checkpoint: string): string => `checkpoints/${checkpoint}.json`;

/** The file of a checkpoint, in pieces; a `load` takes the weights of it. */
export function encodeCheckpoint(weights: readonly Tensor[], rest: readonly Tensor[]): Uint8Array[] {
  const metadata = new Map([
    ['nacre', 'checkpoint'],
    [notWeights, JSON.stringify(rest.map(({ field }) => field.name))],
  ]);
  return encodeWeights([...weights, ...rest], metadata);
}

function runFolder(directory: RunDirectory, release = (): void => {}): RunFolder {
  let lines: string[] = [];
  const flush = (): void => {
    if (lines.length === 0) return;
    directory.append('metrics.jsonl', lines.join(''));
    lines = [];
  };
  const metrics = (): MetricsLine[] => {
    flush();
    return directory.has('metrics.jsonl') ? parseLines(new TextDecoder().decode(directory.read('metrics.jsonl'))) : [];
  };
  const checkpoints = (): Checkpoint[] =>
    directory
      .list('checkpoints')
      .filter((name) => /^\d+\.json$/.test(name))
      .map((name) => name.slice(0, -'.json'.length))
      .reverse()
      .flatMap((name) => {
        const manifest = wholeCheckpoint(directory, name);
        return manifest === undefined
          ? []
          : [{ name, progress: manifest.progress, open: () => directory.open(fileOf(name)) }];
      });
  return {
    path: directory.path,
    release,
    config: () => parseConfig(directory),
    writeConfig: (config) => directory.write('config.json', [encode(`${JSON.stringify(config, null, 2)}\n`)]),
    log: (line) => {
      lines.push(`${JSON.stringify(line)}\n`);
    },
    flush,
    metrics,
    rewindMetrics(step) {
      const kept = metrics().filter((line) => line.step <= step);
      directory.write('metrics.jsonl', [encode(kept.map((line) => `${JSON.stringify(line)}\n`).join(''))]);
    },
    saveCheckpoint(progress, weights, rest) {
      const name = checkpointName(progress.step);
      const chunks = encodeCheckpoint(weights, rest);
      const manifest: Manifest = {
        version: manifestVersion,
        bytes: chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0),
        sha256: sha256(chunks),
        progress,
      };
      // The same step saved again (an evaluation was done since) changes the manifest alone, and that in one instant.
      if (wholeCheckpoint(directory, name)?.sha256 !== manifest.sha256) {
        if (directory.has(manifestOf(name))) directory.remove(manifestOf(name));
        directory.write(fileOf(name), chunks);
      }
      directory.write(manifestOf(name), [encode(`${JSON.stringify(manifest)}\n`)]);
      dropOld(directory, name);
    },
    newestCheckpoint: () => checkpoints()[0],
    saveWeights: (name, weights, metadata) => directory.write(`${name}.safetensors`, encodeWeights(weights, metadata)),
    openWeights: (name) => (directory.has(`${name}.safetensors`) ? directory.open(`${name}.safetensors`) : undefined),
    writeReport: () => directory.write('report.html', [encode(renderReport(parseConfig(directory), metrics()))]),
  };
}

/** The manifest of a checkpoint whose file is there with the right size and hash. */
function wholeCheckpoint(directory: RunDirectory, name: string): Manifest | undefined {
  if (!directory.has(manifestOf(name)) || !directory.has(fileOf(name))) return undefined;
  try {
    const manifest = JSON.parse(new TextDecoder().decode(directory.read(manifestOf(name)))) as Manifest;
    if (manifest.version > manifestVersion) {
      throw new UserError(
        'checkpoint-version',
        `Checkpoint ${name} in ${directory.path} was written by a newer Nacre.`,
        'Update Nacre to continue this run.',
      );
    }
    return hashFile(directory.open(fileOf(name))) === `${manifest.bytes} ${manifest.sha256}` ? manifest : undefined;
  } catch (error) {
    // A manifest that does not parse is that of no checkpoint.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function hashFile(file: InputFile): string {
  const hash = createHash('sha256');
  const piece = 2 ** 24;
  try {
    for (let at = 0; at < file.size; at += piece) hash.update(file.read(at, Math.min(piece, file.size - at)));
    return `${file.size} ${hash.digest('hex')}`;
  } finally {
    file.close();
  }
}

const keptCheckpoints = 2;

/** Keeps the newest checkpoints; deletes older ones only after the new one was read back and found whole. */
function dropOld(directory: RunDirectory, newest: string): void {
  const names = directory.list('checkpoints');
  const manifests = names.filter((name) => /^\d+\.json$/.test(name)).map((name) => name.slice(0, -'.json'.length));
  if (manifests.length <= keptCheckpoints || wholeCheckpoint(directory, newest) === undefined) return;
  const kept = new Set(manifests.reverse().slice(0, keptCheckpoints));
  for (const name of names) {
    const stem = name.split('.')[0];
    // The manifest goes first (".json" sorts before ".safetensors"): a file without one is no checkpoint.
    if (!kept.has(stem)) directory.remove(`checkpoints/${name}`);
  }
}

function parseLines(text: string): MetricsLine[] {
  return text.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [JSON.parse(line) as MetricsLine];
    } catch {
      // The last line of a process that was killed.
      return [];
    }
  });
}

function parseConfig(directory: RunDirectory): RunConfig {
  try {
    return JSON.parse(new TextDecoder().decode(directory.read('config.json'))) as RunConfig;
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new UserError('run-not-found', `config.json in ${directory.path} cannot be read.`);
    throw error;
  }
}
