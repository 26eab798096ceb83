/** The command line of a built trainer, read with Node's own parser: commander would be a third of the runtime. */
import { parseArgs } from 'node:util';
import { nearestName, UserError } from '../../runtime/errors.ts';
import type { RunSettings } from '../cli/run-settings.ts';

export interface Flags extends RunSettings {
  readonly out: string;
  readonly resume?: string;
  readonly json?: boolean;
}

interface Option {
  readonly short?: string;
  /** What is to be said after it; a number is a whole one, at least `least`. */
  readonly takes?: string;
  readonly least?: number;
  readonly says: string;
}

const options: Readonly<Record<string, Option>> = {
  data: {
    takes: '<folder>',
    says: 'a folder that may be read, besides this one; may be repeated',
  },
  epochs: { takes: '<n>', least: 1, says: "instead of the block's own" },
  steps: { takes: '<n>', least: 1, says: "instead of the block's own" },
  seed: { takes: '<n>', least: 0, says: 'of everything random' },
  threads: { takes: '<n>', least: 1, says: 'CPU threads (all there are)' },
  out: { takes: '<folder>', says: 'where runs are kept (runs)' },
  resume: { takes: '<run>', says: 'continue this run folder, with its settings' },
  json: { says: 'results as JSON lines on stdout' },
  help: { short: 'h', says: 'show this' },
};

/** The command line cannot be what was meant. */
export class Misuse extends UserError {
  constructor(message: string, hint?: string) {
    super('misuse', message, hint);
  }
}

/** What was said on the command line; undefined where help was asked for. Throws Misuse. */
export function readFlags(words: readonly string[]): Flags | undefined {
  const types = Object.entries(options).map(([name, { takes, short }]) => {
    const type = takes === undefined ? ('boolean' as const) : ('string' as const);
    return [name, short === undefined ? { type } : { type, short }] as const;
  });
  const found = parseArgs({ args: [...words], options: Object.fromEntries(types), strict: false, tokens: true });
  const said: Record<string, string | number | boolean> = {};
  const data: string[] = [];
  for (const token of found.tokens) {
    if (token.kind === 'positional')
      throw new Misuse(`There is no place for \`${token.value}\`: all it takes are options.`);
    if (token.kind !== 'option') continue;
    const { name, rawName, value } = token;
    if (!Object.hasOwn(options, name)) {
      const near = nearestName(name, Object.keys(options));
      throw new Misuse(`unknown option '${rawName}'`, near && `Did you mean --${near}?`);
    }
    const { takes, least } = options[name];
    if (takes === undefined && value !== undefined)
      throw new Misuse(`${rawName} takes no value${value && `, but is given ${value}`}.`);
    if (takes !== undefined && isNone(value)) throw new Misuse(`${rawName} is said without its ${takes}.`);
    if (name === 'data') data.push(value ?? '');
    else said[name] = least === undefined ? (value ?? true) : wholeNumber(rawName, value ?? '', least);
  }
  return said.help === true ? undefined : { out: 'runs', ...said, data };
}

/** Node's parser takes the next option for the value; a folder of such a name can be said as `./--name`. */
const isNone = (value = ''): boolean => /^($|--|-h$)/.test(value);

function wholeNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < least)
    throw new Misuse(`${name} is ${text}: it has to be a whole number, at least ${least}.`);
  return value;
}

/** All that the command line takes, a line each. */
export function helpText(): string {
  const names = Object.entries(options).map(([name, { short, takes }]) =>
    [short === undefined ? '' : `-${short}, `, `--${name}`, takes === undefined ? '' : ` ${takes}`].join(''),
  );
  const width = Math.max(...names.map(({ length }) => length));
  const lines = Object.values(options).map(({ says }, at) => `  ${names[at].padEnd(width)}  ${says}\n`);
  return `Usage: train.js [options]\n\nOptions:\n${lines.join('')}`;
}
