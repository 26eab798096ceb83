/** Runs that are kept in memory, for a page in a browser: their weights can be taken away, and nothing is on a disk. */
import { UserError } from './errors.ts';
import { memoryFiles } from './memory-files.ts';
import {
  type Checkpoint,
  encodeCheckpoint,
  type MetricsLine,
  type RunConfig,
  type RunFolder,
  type Runs,
} from './run-folder.ts';
import { encodeWeights, joined } from './safetensors.ts';

export interface MemoryRun extends RunFolder {
  /** Each saved file of weights, by name: `best.safetensors`, `last.safetensors`. */
  readonly saved: ReadonlyMap<string, readonly Uint8Array[]>;
}

export interface MemoryRuns extends Runs {
  /** The one that was begun last. */
  newest(): MemoryRun | undefined;
}

export function memoryRuns(): MemoryRuns {
  let newest: MemoryRun | undefined;
  return {
    newest: () => newest,
    create: (name, config) => (newest = createMemoryRun(name, config)),
    reopen(path) {
      if (newest?.path !== path) throw new UserError('no-run', `There is no run ${path}.`);
      return newest;
    },
  };
}

/** Of its checkpoints the last is kept. */
function createMemoryRun(name: string, first: RunConfig): MemoryRun {
  let config = first;
  let checkpoint: Checkpoint | undefined;
  const lines: MetricsLine[] = [];
  const saved = new Map<string, readonly Uint8Array[]>();
  return {
    path: name,
    saved,
    config: () => config,
    writeConfig: (next) => void (config = next),
    log: (line) => void lines.push(line),
    flush() {},
    metrics: () => lines,
    rewindMetrics(step) {
      lines.splice(0, lines.length, ...lines.filter((line) => line.step <= step));
    },
    saveCheckpoint(progress, weights, rest) {
      const file = joined(encodeCheckpoint(weights, rest));
      const open = (): ReturnType<Checkpoint['open']> =>
        memoryFiles(new Map([['the checkpoint', file]]), 'in memory').open('the checkpoint');
      checkpoint = { name, progress, open };
    },
    newestCheckpoint: () => checkpoint,
    // Encoded at once: the arrays are the training's own.
    saveWeights: (file, weights, metadata) =>
      void saved.set(
        `${file}.safetensors`,
        encodeWeights(weights, metadata).map((piece) => piece.slice()),
      ),
    openWeights: () => undefined,
    writeReport() {},
    release() {},
  };
}
