/**
 * A built trainer: what `nacre build` leaves in a folder, and everything a train block needs to run without the compiler.
 * `trainer.json` is this type; the code of each program is a file beside it, as its target has it and `devices/TARGET-built.ts` says,
 * with gzip, which also tells whether it is whole.
 */
import { inflate } from './inflate.ts';
import { DeviceError } from './program.ts';
import type { Executable, ProgramBuffer, Programs, Session, StepPhase, TrainPlan } from './program.ts';

/** What programs of all targets have; what else there is, the target's device knows. */
export interface BuiltProgram {
  readonly name: string;
  /** Before it is packed: see `packedName`. */
  readonly file: string;
  readonly buffers: readonly ProgramBuffer[];
  /** Bytes of the memory that holds all temporaries. */
  readonly arena: number;
}

/** From where to where in the text of a file. */
export type Piece = readonly [from: number, to: number];

/** 2: programs are packed, and the files of the folder are listed. */
export const trainerVersion = 2;

export interface Trainer {
  readonly version: typeof trainerVersion;
  readonly target: string;
  /** Every other file of the folder, so that another build there can remove them. */
  readonly files: readonly string[];
  /** Samples that it was built for: how large the last batch of an epoch is. */
  readonly samples: number;
  readonly plan: TrainPlan;
  /** By what they are asked for: see `programKey`. */
  readonly programs: Readonly<Record<string, BuiltProgram>>;
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

/** A file of the built folder. */
export type ReadFile = (name: string) => Promise<Uint8Array<ArrayBuffer>>;

/** What a file of a program is called in the folder. */
export const packedName = (name: string): string => `${name}.gz`;

/** A session that takes programs as they are built: the device, and its programs put together from their files. */
export interface BuiltSession {
  readonly session: Session;
  load(program: BuiltProgram, read: ReadFile): Promise<Executable>;
}

/** Throws DeviceError where the device is not there. */
export type OpenBuilt = (threads: number) => Promise<BuiltSession>;

/** A built session whose programs are of one kind: those of its target. */
export const taking = <Program extends BuiltProgram>(
  session: Session,
  load: (program: Program, read: ReadFile) => Promise<Executable>,
): BuiltSession => ({ session, load: (program, read) => load(program as Program, read) });

/** The content of `trainer.json`. Throws DeviceError where this runtime cannot run it. */
export function readTrainer(file: Uint8Array): Trainer {
  let trainer: Trainer;
  try {
    trainer = JSON.parse(new TextDecoder().decode(file));
  } catch {
    throw new DeviceError('trainer.json is not whole: build the trainer again.');
  }
  if (typeof trainer !== 'object' || trainer === null || !('version' in trainer))
    throw new DeviceError('trainer.json is no trainer: build it again.');
  if (trainer.version !== trainerVersion)
    throw new DeviceError(
      `This trainer was built by another version of Nacre (${trainer.version}; this runtime runs ${trainerVersion}): build it again.`,
    );
  if (typeof trainer.plan !== 'object' || typeof trainer.programs !== 'object')
    throw new DeviceError('trainer.json is not whole: build the trainer again.');
  return trainer;
}

/** The programs of a built trainer on a session of its target. Throws DeviceError where they are of another. */
export function builtPrograms(trainer: Trainer, { session, load }: BuiltSession, read: ReadFile): Programs {
  if (trainer.target !== session.target)
    throw new DeviceError(
      `This trainer says that it is for ${trainer.target}, but what is in its folder runs on ${session.target}: build it again.`,
    );
  const readPacked: ReadFile = async (name) => {
    const file = packedName(name);
    const bytes = await read(file);
    return inflate(bytes).catch(() => {
      throw new DeviceError(`${file} is damaged: build the trainer again.`);
    });
  };
  const find = (key: string): BuiltProgram => {
    const program = trainer.programs[key];
    if (program !== undefined) return program;
    const others = Object.keys(trainer.programs).filter((other) => other.split('-')[0] === key.split('-')[0]);
    const only = others.length === 0 ? '' : `, only ${others.join(', ')}`;
    throw new DeviceError(
      `This trainer has no program ${key}${only}: it was built for ${trainer.samples} training samples in batches of ${trainer.plan.batch}, and evaluation data of one size. Build it again for these data.`,
    );
  };
  const loaded = new Map<string, Promise<Executable>>();
  const open = async (key: string): Promise<Executable> => {
    const executable = loaded.get(key) ?? load(find(key), readPacked);
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
    refuseMissing: (keys) => keys.forEach(find),
  };
}
