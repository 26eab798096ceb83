/** What every device checks, in the same words. */
import { DeviceError, type Field, type ProgramBuffer, type TypedArray } from '../program.ts';
import { isLasting } from './area.ts';

const describe = ({ dtype, shape }: Field): string => `${dtype}[${shape.join(', ')}]`;

/** A param or state is one and the same in all programs of a session: looked at before anything of a program is taken in. */
export function assertSame(fields: ReadonlyMap<string, Field>, lasting: readonly Field[], program: string): void {
  for (const found of lasting) {
    const known = fields.get(found.name);
    if (known !== undefined && describe(known) !== describe(found))
      throw new DeviceError(`${found.name} is ${describe(known)} in one program and ${describe(found)} in ${program}.`);
  }
}

export const assertShared = (
  fields: ReadonlyMap<string, Field>,
  { name, buffers }: { readonly name: string; readonly buffers: readonly ProgramBuffer[] },
): void => assertSame(fields, buffers.filter(isLasting), name);

export const isClosed = (program: string): DeviceError => new DeviceError(`${program} is closed.`);

export function assertFits(
  name: string,
  target: { readonly constructor: Function; readonly length: number },
  data: TypedArray,
): void {
  if (data.constructor === target.constructor && data.length === target.length) return;
  throw new DeviceError(
    `${name} needs ${target.constructor.name} of ${target.length} elements, but was given ${data.constructor.name} of ${data.length}.`,
  );
}

export const outOfRange = (program: string): DeviceError =>
  new DeviceError(
    `An index was out of range in ${program}: a label, token or gathered position is negative or not below the size of its axis.`,
  );

export const notGiven = (program: string, input: string): DeviceError =>
  new DeviceError(`${program} needs the input ${input}, which was not given.`);
