/**
 * A built trainer: what `nacre build` leaves in a folder, and everything a train block needs to run without the compiler.
 * `trainer.json` is this type; the code of each program is a file beside it, text or binary, as its target has it:
 *
 *   wasm    NAME.wasm             a module (`relaxed`: the same for engines with relaxed SIMD)
 *   webgpu  NAME.wgsl             WGSL modules one after the other, each a piece of the file
 *   cuda    NAME.ptx              PTX of all kernels
 *   cpu     NAME.ll               LLVM modules one after the other, each a piece of the file
 */
import { DeviceError, programVersion } from './program.ts';
import type { Executable, ProgramBuffer, Programs, ProgramStep, Session, StepPhase, TrainPlan } from './program.ts';

export type BuiltTarget = 'cpu' | 'cuda' | 'webgpu' | 'wasm';

interface Built {
  readonly name: string;
  readonly file: string;
  readonly buffers: readonly ProgramBuffer[];
  /** Bytes of the memory that holds all temporaries. */
  readonly arena: number;
}

/** From where to where in the file, in bytes. */
export type Piece = readonly [from: number, to: number];

export interface BuiltWasm extends Built {
  readonly relaxed?: string;
  readonly sharing: number;
  readonly scratch: number;
}

export interface BuiltCpu extends Built {
  readonly pieces: readonly Piece[];
  readonly scratch: number;
}

/** Grids, blocks and names as in the device's own program. */
export interface BuiltWebGpu extends Built {
  readonly kernels: readonly { readonly name: string; readonly grid: number; readonly piece: Piece }[];
  readonly steps: readonly ProgramStep[];
}

export interface BuiltCuda extends Built {
  readonly kernels: readonly { readonly name: string; readonly grid: number; readonly block: number }[];
  readonly steps: readonly ProgramStep[];
}

export interface BuiltPrograms {
  readonly cpu: BuiltCpu;
  readonly cuda: BuiltCuda;
  readonly webgpu: BuiltWebGpu;
  readonly wasm: BuiltWasm;
}

export interface Trainer<Target extends BuiltTarget = BuiltTarget> {
  readonly version: typeof programVersion;
  readonly target: Target;
  /** Samples that it was built for: how large the last batch of an epoch is. */
  readonly samples: number;
  readonly plan: TrainPlan;
  /** By what they are asked for: see `programKey`. */
  readonly programs: Readonly<Record<string, BuiltPrograms[Target]>>;
}

/** What a program is filed under, as the parameters of `Programs` have it. */
export const programKey = {
  init: () => 'init',
  step: (batch: number, phase: StepPhase) => `step-${batch}-${phase}`,
  evaluate: (name: string, batch: number) => `${name}-${batch}`,
  prune: (index: number) => `prune-${index}`,
  calibrate: (batch: number) => `calibrate-${batch}`,
  quantize: () => 'quantize',
  snapshot: () => 'snapshot',
} as const;

/** A session that takes programs as they are built: the device, and its programs put together from their files. */
export interface BuiltSession {
  readonly session: Session;
  load(program: BuiltPrograms[BuiltTarget], read: ReadFile): Promise<Executable>;
}

/** A file of the built folder. */
export type ReadFile = (name: string) => Promise<Uint8Array<ArrayBuffer>>;

/** Of the files of programs. */
const endings: Readonly<Record<BuiltTarget, string>> = { cpu: '.ll', cuda: '.ptx', webgpu: '.wgsl', wasm: '.wasm' };

/** The content of `trainer.json`. Throws DeviceError where this runtime cannot run it. */
export function readTrainer(file: Uint8Array): Trainer {
  let trainer: Trainer;
  try {
    trainer = JSON.parse(new TextDecoder().decode(file));
  } catch {
    throw new DeviceError('trainer.json is not whole: build the trainer again.');
  }
  if (typeof trainer !== 'object' || trainer === null)
    throw new DeviceError('trainer.json is no trainer: build it again.');
  if (trainer.version !== programVersion)
    throw new DeviceError(
      `This trainer was built by another version of Nacre (${trainer.version}; this runtime runs ${programVersion}): build it again.`,
    );
  const ending = endings[trainer.target];
  const others = Object.values(trainer.programs).filter(({ file }) => ending === undefined || !file.endsWith(ending));
  if (others.length > 0)
    throw new DeviceError(
      `This trainer says that it is for ${trainer.target}, but its programs are not (${others[0].file}): build it again.`,
    );
  return trainer;
}

/** The programs of a built trainer on a session of its target. */
export function builtPrograms(trainer: Trainer, { session, load }: BuiltSession, read: ReadFile): Programs {
  const loaded = new Map<string, Promise<Executable>>();
  const open = (key: string): Promise<Executable> => {
    const known = loaded.get(key);
    if (known !== undefined) return known;
    const program = trainer.programs[key];
    if (program === undefined)
      return Promise.reject(
        new DeviceError(
          `This trainer was built for ${trainer.samples} samples in batches of ${trainer.plan.batch}, and has no program ${key}: build it again for these data.`,
        ),
      );
    const executable = load(program, read);
    loaded.set(key, executable);
    return executable;
  };
  return {
    session,
    init: () => open(programKey.init()),
    step: (batch, phase) => open(programKey.step(batch, phase)),
    evaluate: (name, batch) => open(programKey.evaluate(name, batch)),
    prune: (index) => open(programKey.prune(index)),
    calibrate: (batch) => open(programKey.calibrate(batch)),
    quantize: () => open(programKey.quantize()),
    snapshot: () => open(programKey.snapshot()),
  };
}
