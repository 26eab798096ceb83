/** A run that is kept in memory, for a page in a browser: its weights can be taken away, and nothing is on a disk. */
import type { RunConfig, RunFolder } from './run-folder.ts';
import type { MetricsLine } from './run-folder.ts';
import { encodeWeights } from './safetensors.ts';

export interface MemoryRun extends RunFolder {
  /** Each saved file of weights, by name: `best.safetensors`, `last.safetensors`. */
  readonly saved: ReadonlyMap<string, readonly Uint8Array[]>;
}

export function createMemoryRun(name: string, first: RunConfig): MemoryRun {
  let config = first;
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
    saveCheckpoint() {},
    newestCheckpoint: () => undefined,
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
