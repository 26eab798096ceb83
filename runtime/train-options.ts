/** What a training run is given, what it tells while it goes on, and what it gives back. */
import type { Files } from './files.ts';
import type { Programs, TrainPlan, TypedArray } from './program.ts';
import type { Pruned } from './prune.ts';
import type { Quantized } from './quantize.ts';
import type { RunConfig, Runs } from './run-folder.ts';

/** What happens in a run, in order. With --json each is a line. Epochs count from 1; numbers may be NaN, except losses. */
export type TrainEvent =
  | {
      readonly event: 'start';
      readonly run: string;
      readonly step: number;
      readonly steps: number;
      readonly epochs: number;
      readonly batches: number;
      readonly samples: number;
      readonly trained: number;
      readonly frozen: number;
      readonly resumed: boolean;
    }
  /** `loss` is that of this step alone; the program's other scalars (`lr`, `grad_norm`) stand beside it. */
  | {
      readonly event: 'step';
      readonly step: number;
      readonly epoch: number;
      readonly loss: number;
      readonly seconds: number;
      readonly [scalar: string]: number | string;
    }
  /** Closes an epoch, after its evaluations. `loss` is the mean over the epoch. */
  | {
      readonly event: 'epoch';
      readonly step: number;
      readonly epoch: number;
      readonly loss: number;
      readonly seconds: number;
    }
  | {
      readonly event: 'eval';
      readonly step: number;
      readonly epoch: number;
      readonly data: string;
      readonly [metric: string]: number | string;
    }
  /** Weights were pruned, after this step. */
  | ({ readonly event: 'prune'; readonly step: number } & Pruned)
  /** Weights are kept in few bits from here on. */
  | ({ readonly event: 'quantize'; readonly step: number } & Quantized)
  | { readonly event: 'save'; readonly step: number; readonly file: string }
  | {
      readonly event: 'done';
      readonly run: string;
      readonly steps: number;
      readonly loss: number;
      readonly status: 'done' | 'interrupted';
      readonly [metric: string]: number | string;
    };

export interface TrainOptions {
  readonly plan: TrainPlan;
  readonly programs: Programs;
  readonly files: Files;
  /** Folder in which a new run gets its own. */
  readonly out: string;
  /** Where runs are kept instead of folders below `out`. */
  readonly runs?: Runs;
  /** Folder of a run to continue instead. */
  readonly resume?: string;
  /** Override the plan's bounds. Given alone, one lifts the other. */
  readonly epochs?: number;
  readonly steps?: number;
  /** For config.json: the command's settings and the `.model` file. */
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly source?: RunConfig['source'];
  readonly onEvent?: (event: TrainEvent) => void | Promise<void>;
  /** What parameters and buffers begin with, instead of what the plan's `load` lines say. */
  readonly weights?: ReadonlyMap<string, TypedArray>;
  /** Asks to stop: the step is finished and saved first. */
  readonly signal?: AbortSignal;
}

export interface TrainResult {
  readonly status: 'done' | 'interrupted';
  readonly run: string;
  readonly steps: number;
  /** Of the last step. */
  readonly loss: number;
  /** The latest value of each metric evaluated. */
  readonly metrics: ReadonlyMap<string, number>;
}
