/** What callers without TypeScript can get wrong, as sentences. All throw UserError. */
import { nearestName, UserError } from '../../runtime/errors.ts';
import { elementBytes, type TypedArray } from '../../runtime/program.ts';

const wrong = (message: string): UserError => new UserError('wrong-argument', message);

/** As the command line demands it. */
function assertWhole(name: string, value: number | undefined, least: number): void {
  if (value !== undefined && !(Number.isSafeInteger(value) && value >= least))
    throw wrong(`\`${name}\` is ${value}: it has to be a whole number, at least ${least}.`);
}

interface RunOptions {
  readonly train?: string;
  readonly threads?: number;
  readonly seed?: number;
  readonly data?: object;
  readonly files?: object;
}

/** By its tag: an object of another frame has another prototype. */
const isPlain = (value: unknown): boolean => Object.prototype.toString.call(value) === '[object Object]';

/** `known`: all that may be said. */
export function assertOptions(options: RunOptions, known: readonly string[]): void {
  if (!isPlain(options)) throw wrong('The options have to be an object.');
  if (options.train !== undefined && typeof options.train !== 'string') throw wrong('`train` has to be a string.');
  for (const name of ['data', 'files'] as const)
    if (options[name] !== undefined && !isPlain(options[name])) throw wrong(`\`${name}\` has to be a plain object.`);
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const near = nearestName(name, known);
    throw new UserError(
      'wrong-argument',
      `There is no option \`${name}\`; there are ${known.join(', ')}.`,
      near && `Did you mean \`${near}\`?`,
    );
  }
  assertWhole('threads', options.threads, 1);
  assertWhole('seed', options.seed, 0);
}

/** Of a sample or a tensor; `least`: the smallest size of an axis. */
export function assertType(name: string, type: unknown, least: number): void {
  const { dtype, shape } = Object(type) as { readonly dtype?: unknown; readonly shape?: unknown };
  if (typeof dtype !== 'string' || !Object.hasOwn(elementBytes, dtype))
    throw wrong(
      `The dtype of ${name} is ${String(dtype)}: it has to be one of ${Object.keys(elementBytes).join(', ')}.`,
    );
  if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && size >= least))
    throw wrong(
      `The shape of ${name} is ${JSON.stringify(shape)}: it has to be a list of whole numbers, each at least ${least}.`,
    );
}

export function assertArray(name: string, data: unknown): asserts data is TypedArray {
  if (!ArrayBuffer.isView(data) || !('length' in data))
    throw wrong(`${name} has to be a typed array, such as Float32Array.`);
}

export function assertFiles(files: Readonly<Record<string, unknown>>): void {
  for (const [name, bytes] of Object.entries(files))
    if (!(bytes instanceof Uint8Array)) throw wrong(`The file ${name} of \`files\` has to be its bytes, a Uint8Array.`);
}

export function assertText(source: unknown): asserts source is string {
  if (typeof source !== 'string') throw wrong('The text of the model has to be a string.');
}

export function assertFolder(folder: unknown): asserts folder is string | URL {
  if (typeof folder !== 'string' && !(folder instanceof URL)) throw wrong('The folder has to be a string or a URL.');
}
