/** What every device checks, in the same words. */
import { DeviceError, type Field, type TypedArray } from '../program.ts';

const describe = ({ dtype, shape }: Field): string => `${dtype}[${shape.join(', ')}]`;

/** A param or state is one and the same in all programs of a session. */
export function assertSame(known: Field | undefined, found: Field, program: string): void {
  if (known === undefined || (known.dtype === found.dtype && known.shape.join() === found.shape.join())) return;
  throw new DeviceError(`${found.name} is ${describe(known)} in one program and ${describe(found)} in ${program}.`);
}

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
