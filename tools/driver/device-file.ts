/** A machine in a file: what it can do and what it reaches, so that another machine can plan for it. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { Machine } from '../../compiler/analyze/predict.ts';
import { type Capabilities, matrixDtypes } from '../../compiler/targets/target.ts';
import { dtypes } from '../../compiler/types/dtype.ts';
import { UserError } from '../../runtime/errors.ts';
import { hostCapabilities } from './host.ts';
import { measureMachine } from './machine.ts';

export interface DeviceDescription {
  readonly version: 1;
  /** What the system calls its processor. */
  readonly processor: string;
  readonly capabilities: Capabilities;
  readonly machine: Machine;
}

/** Measures this machine and writes what was found. Throws DeviceError where there is no libLLVM. */
export async function saveDevice(path: string, threads?: number): Promise<DeviceDescription> {
  const capabilities = await hostCapabilities(threads);
  const machine = await measureMachine(threads);
  const description: DeviceDescription = { version: 1, processor: cpus()[0]?.model ?? '', capabilities, machine };
  const half = `${path}.part`;
  try {
    writeFileSync(half, `${JSON.stringify(description, undefined, 2)}\n`);
    renameSync(half, path);
  } catch (error) {
    rmSync(half, { force: true });
    throw new UserError('no-write', `${path} cannot be written: ${error instanceof Error ? error.message : ''}.`);
  }
  return description;
}

/** Reads a description; what is not one is refused. */
export function readDevice(path: string): DeviceDescription {
  const wrong = (why: string): UserError =>
    new UserError(
      'device-file',
      `${path} ${why}.`,
      `Write one on the machine that is meant: nacre doctor --save ${path}`,
    );
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    throw wrong('is no file that can be read');
  }
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    throw wrong('is no description of a machine: it is not valid JSON');
  }
  try {
    return descriptionOf(fields(found));
  } catch (error) {
    if (!(error instanceof WrongField)) throw error;
    throw wrong(`is no description of a machine that this version knows: its ${error.message} is missing or wrong`);
  }
}

/** A field that is not there, or not what it should be. */
class WrongField extends Error {}

type Fields = Readonly<Record<string, unknown>>;
const fields = (value: unknown): Fields => (typeof value === 'object' && value !== null ? { ...value } : {});
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

function positive(of: Fields, name: string): number {
  const value = of[name];
  if (typeof value === 'number' && value > 0 && Number.isFinite(value)) return value;
  throw new WrongField(name);
}

function descriptionOf(top: Fields): DeviceDescription {
  if (top['version'] !== 1) throw new WrongField('version');
  return {
    version: 1,
    processor: String(top['processor'] ?? ''),
    capabilities: capabilitiesIn(fields(top['capabilities'])),
    machine: machineIn(fields(top['machine'])),
  };
}

function capabilitiesIn(of: Fields): Capabilities {
  const known = dtypes.filter((dtype) => list(of['dtypes']).includes(dtype));
  if (known.length === 0) throw new WrongField('dtypes');
  return {
    vectorLanes: positive(of, 'vectorLanes'),
    vectorRegisters: positive(of, 'vectorRegisters'),
    workgroupThreads: positive(of, 'workgroupThreads'),
    subgroupThreads: positive(of, 'subgroupThreads'),
    nearMemory: positive(of, 'nearMemory'),
    cache: positive(of, 'cache'),
    units: positive(of, 'units'),
    smallestElement: positive(of, 'smallestElement'),
    halvesApart: of['halvesApart'] === true,
    dtypes: known,
    matrices: matrixDtypes.filter((dtype) => list(of['matrices']).includes(dtype)),
    wideMatrices: matrixDtypes.filter((dtype) => list(of['wideMatrices']).includes(dtype)),
    dotsBytes: of['dotsBytes'] === true,
  };
}

function machineIn(of: Fields): Machine {
  const cycles = fields(of['cycles']);
  const bandwidth = list(of['bandwidth']).map((one) => ({
    within: positive(fields(one), 'within'),
    rate: positive(fields(one), 'rate'),
  }));
  if (bandwidth.length === 0) throw new WrongField('bandwidth');
  return {
    threads: positive(of, 'threads'),
    contraction: positive(of, 'contraction'),
    cycles: {
      functions: positive(cycles, 'functions'),
      rest: positive(cycles, 'rest'),
      multiply: positive(cycles, 'multiply'),
      beside: positive(cycles, 'beside'),
    },
    bandwidth,
    launch: positive(of, 'launch'),
    meeting: positive(of, 'meeting'),
    call: positive(of, 'call'),
    between: positive(of, 'between'),
    gather: positive(of, 'gather'),
  };
}
