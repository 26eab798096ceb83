/**
 * The artefact the compiler hands to the runtime: everything a trainer needs to run a `train` block, and nothing that
 * needs the compiler. Versioned; the runtime refuses another version.
 */

export const programVersion = 1;

export type ElementType = 'f32' | 'f16' | 'bf16' | 'f64' | 'i32' | 'u32' | 'i8' | 'u8' | 'bool';
/** Bytes one element takes; bool is one byte, 0 or 1. */
export const elementBytes: Record<ElementType, number> = {
  f32: 4,
  f16: 2,
  bf16: 2,
  f64: 8,
  i32: 4,
  u32: 4,
  i8: 1,
  u8: 1,
  bool: 1,
};

export type TypedArray = Float32Array | Float64Array | Int32Array | Uint32Array | Uint16Array | Int8Array | Uint8Array;

/** A named tensor as the runtime sees it. f16 and bf16 are carried as Uint16Array, bool as Uint8Array. */
export interface Field {
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
}

/** A buffer of a compiled program. Temporaries share one stretch of memory, the arena, each at its `offset` in bytes. */
export interface ProgramBuffer extends Field {
  readonly role: 'batch' | 'scalar' | 'param' | 'state' | 'constant' | 'result' | 'temporary';
  /** The elements of a constant. */
  readonly data?: readonly number[];
  readonly offset?: number;
  /** Of the largest temporary: where it comes from, such as `what model.fc1 computes at net.model:12:9`. */
  readonly source?: string;
}

/** On a GPU: a launch on buffers, given the counters of the repeats around it, by name. */
export type ProgramStep =
  | {
      readonly kind: 'launch';
      /** Which of the kernels. */
      readonly kernel: number;
      readonly buffers: readonly string[];
      readonly arguments: readonly string[];
    }
  | {
      readonly kind: 'repeat';
      readonly index: string;
      readonly trips: number;
      readonly reverse: boolean;
      readonly body: readonly ProgramStep[];
    };

/**
 * One compiled program, loaded on a device. Params and states are shared by name with the other programs of the same
 * session; batch and scalar inputs are given to each run.
 */
export interface Executable {
  readonly inputs: readonly Field[];
  readonly results: readonly Field[];
  /** Runs once: reads the inputs, updates params and states in place, returns the results. Throws DeviceError. */
  run(inputs: ReadonlyMap<string, TypedArray>): Promise<ReadonlyMap<string, TypedArray>>;
  /** Gives back what it alone has, its code above all. Its runs are done by then; one that is begun later throws DeviceError. */
  close(): Promise<void>;
}

/** A device with the params and states of one training run in its memory. */
export interface Session {
  readonly target: string;
  /** A program may be run before the results of the one before are there: they queue. */
  readonly queues?: true;
  /** Every param and state, by name. Contents are undefined until written or computed by an `init` program. */
  readonly fields: ReadonlyMap<string, Field>;
  read(name: string): Promise<TypedArray>;
  write(name: string, data: TypedArray): void;
  close(): void;
}

/**
 * Where a step stands in its group of micro-batches. 'only': computes gradients and updates. With accumulation,
 * 'accumulate' adds to the gradients (sums and counts) and 'last' adds, updates and clears them.
 */
export type StepPhase = 'only' | 'accumulate' | 'last';

/**
 * The programs of one training run, compiled on demand for a batch size (the last batch of an epoch may be smaller).
 * A program is given the inputs it declares, by name: the data fields of its batch, and of the scalars `step` (u32, 1 at
 * the first update), `micro` (u32, the micro-batch within the step, from 0), `epoch` (u32, from 0), `seed` (u32[2], low
 * word first) those it wants.
 */
export interface Programs {
  readonly session: Session;
  /** Fills every param and state with its first value. */
  init(): Promise<Executable>;
  /** One (micro-)step. Results: `loss.sum` and `loss.count`; any other scalar, such as `lr` or `grad_norm`, is logged.
   * A program that scales its loss gives `skipped_in_a_row`: how many steps in a row it has skipped because their gradients
   * were not finite, this one included (0: it was good). */
  step(batch: number, phase: StepPhase): Promise<Executable>;
  /** One batch of the evaluation `name`. Results: `<metric>.sum` and `<metric>.count` for each of its metrics. */
  evaluate(name: string, batch: number): Promise<Executable>;
  /** Prunes as the line `index` of the plan says. Result: `sparsity`, the part of its weights that is 0 now. */
  prune(index: number): Promise<Executable>;
  /** Widens the ranges of what quantized weights are multiplied with, by one batch of training data. */
  calibrate(batch: number): Promise<Executable>;
  /** Computes codes and scales of the quantized weights. */
  quantize(): Promise<Executable>;
  /** Keeps the weights for a later rewind. */
  snapshot(): Promise<Executable>;
  /** Throws DeviceError where one of these cannot be had. They are named as a built trainer files them, which has no others: see `programKey`. */
  refuseMissing?(keys: readonly string[]): void;
  /** Which value of a skipped step did not fit the type it is stored in, and what to do; undefined where none is found. */
  explainSkip?(
    batch: number,
    phase: StepPhase,
    inputs: ReadonlyMap<string, TypedArray>,
  ): Promise<{ text: string; hint: string } | undefined>;
}

/** A run went wrong on the device: an index out of range, memory, a lost device. A sentence for the user. */
export class DeviceError extends Error {}

/** What the device needs is not on this machine: what it is, and how to get it. */
export class DeviceMissing extends DeviceError {}

/** A package that the device needs is not installed. */
export class PackageMissing extends DeviceMissing {
  readonly target: string;
  readonly needs: string;

  constructor(target: string, needs: string, options = '') {
    super(
      `The ${target} target needs the package ${needs}, which is not installed: run \`npm install ${options}${needs}\`.`,
    );
    this.target = target;
    this.needs = needs;
  }

  /** For what looks for packages in this folder, written as for a shell, wherever it is started. */
  in(folder: string): PackageMissing {
    return new PackageMissing(this.target, this.needs, `--prefix ${folder} `);
  }
}

/** A program does not fit into what the device has left. */
export class NoRoom extends DeviceError {}

/** The device went away, and with it what it held; another session may be opened. */
export class DeviceLost extends DeviceError {}

/** Where samples come from and in which order: resolved from a `data` declaration, before `map`. */
export type DataPlan =
  | { readonly kind: 'idx'; readonly fields: readonly { readonly name: string; readonly path: string }[] }
  | { readonly kind: 'npy'; readonly fields: readonly { readonly name: string; readonly path: string }[] }
  /** Columns become fields: numbers (`i32`: whole ones), or texts by their place among the sorted distinct ones, as
   * i32. Without a header line columns are named by their number, from "1". */
  | {
      readonly kind: 'csv';
      readonly path: string;
      readonly columns: readonly {
        readonly name: string;
        readonly columns: readonly string[];
        readonly dtype: 'f32' | 'i32' | 'category';
      }[];
      readonly header: boolean;
    }
  /** A text as character ids (vocabulary: its distinct characters, sorted), cut into windows of length + 1 at every `stride`. */
  | {
      readonly kind: 'text';
      readonly path: string;
      readonly length: number;
      readonly stride: number;
      readonly input: string;
      readonly target: string;
    }
  /** No storage: the step program computes the fields from `index`; the runtime feeds the sample numbers as i32[B]. */
  | { readonly kind: 'generate'; readonly count: number; readonly index: string }
  /** Samples from ⌊start·n⌋ to ⌊end·n⌋ of `of`. */
  | { readonly kind: 'slice'; readonly of: DataPlan; readonly start: number; readonly end: number }
  /** The first `count` samples (all, where there are fewer). */
  | { readonly kind: 'take'; readonly of: DataPlan; readonly count: number }
  /** A new order each epoch: a permutation that is a pure function of (seed, epoch). Below a slice or take the order
   * stays that of epoch 0, so that the parts of a split never mix. */
  | { readonly kind: 'shuffle'; readonly of: DataPlan; readonly seed: number }
  /** Only as the outermost stage. */
  | { readonly kind: 'batch'; readonly of: DataPlan; readonly size: number; readonly last: 'keep' | 'drop' };

/** One `train` block with everything resolved except what the compiled programs hold. Written to the run folder as JSON. */
export interface TrainPlan {
  readonly version: typeof programVersion;
  /** Name of the train block. */
  readonly name: string;
  readonly seed: number;
  readonly data: DataPlan;
  readonly batch: number;
  /** The columns that structured pruning left of weights, by path: what the run's programs are made from. */
  readonly columns?: Readonly<Record<string, readonly number[]>>;
  /** When weights are pruned: before the first step, or after every `every`; `rewind`: they go back to what they were after that step. */
  /** `place`: `file:line:column` of the line. */
  readonly prunes?: readonly { readonly every?: number; readonly rewind?: number; readonly place?: string }[];
  /** What was pruned before the first step, in words that tell one pruner from another; `definition`: of one in the file. */
  readonly prunedFirst?: readonly { readonly line: string; readonly definition?: string }[];
  /** Weights that are kept and saved in few bits, each in these states; `calibrate`: batches looked at before the first step. */
  readonly quantization?: {
    readonly calibrate: number;
    readonly weights: readonly {
      readonly name: string;
      readonly bits: 8 | 4;
      /** Rows that share a scale; all of a column's where absent. */
      readonly group?: number;
      /** Codes, scales and, where what it is multiplied with is quantized as well, its range. */
      readonly states: readonly string[];
    }[];
  };
  /** One of the two bounds at least. */
  readonly epochs?: number;
  readonly steps?: number;
  /** Optimizer steps between accumulations: micro-batches per step. */
  readonly accumulate: number;
  /** What is rounded, and to what; f32 throughout when absent. */
  readonly precision?: { readonly products: string; readonly storage: string; readonly except: readonly string[] };
  readonly evaluations: readonly {
    readonly name: string;
    readonly data: DataPlan;
    readonly batch: number;
    readonly metrics: readonly string[];
    readonly every?: number;
  }[];
  readonly saves: readonly (
    | { readonly kind: 'best'; readonly metric: string; readonly order: 'max' | 'min' }
    | { readonly kind: 'every'; readonly steps: number }
    | { readonly kind: 'last' }
  )[];
  /** `place`: `file:line:column` of the line, for what is wrong with its file. */
  readonly loads: readonly { readonly path: string; readonly rules: readonly LoadRule[]; readonly place?: string }[];
  /** Of the model: path, whether it is trained, its tag. */
  readonly parameters: readonly (Field & { readonly trained: boolean; readonly tag?: string })[];
  /** Buffers belong to the model (running statistics) and go with its weights; the others are the optimizer's. */
  readonly states: readonly (Field & { readonly buffer: boolean })[];
}

export type LoadRule =
  | { readonly kind: 'map'; readonly from: string; readonly to: string }
  | { readonly kind: 'skip'; readonly from: string }
  | { readonly kind: 'fresh'; readonly to: string };
