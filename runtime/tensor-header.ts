/**
 * The JSON header of a safetensors file, parsed strictly. JSON.parse would keep the last of two equal keys, round long
 * integers and let `__proto__` through; a header that needs any of that is not honest.
 */
import type { UserError } from './errors.ts';

export interface HeaderEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface TensorHeader {
  readonly metadata: ReadonlyMap<string, string>;
  readonly entries: readonly HeaderEntry[];
}

const forbiddenNames = new Set(['', '__proto__', 'constructor', 'prototype']);
const largestRank = 64;

/** Parses the header; `wrong` makes the error to throw from what is wrong with it. */
export function parseTensorHeader(text: string, wrong: (why: string) => UserError): TensorHeader {
  const reader = startReader(text, wrong);
  const metadata = new Map<string, string>();
  const entries: HeaderEntry[] = [];
  const names = new Set<string>();
  reader.members((name) => {
    if (names.has(name)) throw twice(name, wrong);
    names.add(name);
    if (name === '__metadata__') {
      reader.members((key) => {
        if (metadata.has(key)) throw twice(key, wrong);
        if (reader.peek() !== '"') throw wrong(`the metadata "${shorten(key)}" is not a string`);
        metadata.set(key, reader.string());
      });
      return;
    }
    if (forbiddenNames.has(name) || name.includes('\0'))
      throw wrong(`a tensor has the forbidden name ${JSON.stringify(shorten(name))}`);
    entries.push(readEntry(reader, name, wrong));
  });
  reader.finish();
  return { metadata, entries };
}

const twice = (key: string, wrong: (why: string) => UserError): UserError =>
  wrong(`its header has "${shorten(key)}" twice`);

type Reader = ReturnType<typeof startReader>;

function readEntry(reader: Reader, name: string, wrong: (why: string) => UserError): HeaderEntry {
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  reader.members((key) => {
    if (key === 'dtype' && dtype === undefined) dtype = reader.string();
    else if (key === 'shape' && shape === undefined) shape = reader.numbers();
    else if (key === 'data_offsets' && offsets === undefined) offsets = reader.numbers();
    else if (key === 'dtype' || key === 'shape' || key === 'data_offsets') throw twice(key, wrong);
    else throw wrong(`tensor "${shorten(name)}" has an unknown entry "${shorten(key)}"`);
  });
  if (dtype === undefined || shape === undefined || offsets === undefined || offsets.length !== 2) {
    throw wrong(`tensor "${shorten(name)}" lacks its dtype, its shape or its two data_offsets`);
  }
  if (shape.length > largestRank) throw wrong(`tensor "${shorten(name)}" has ${shape.length} axes`);
  return { name, dtype: shorten(dtype), shape, begin: offsets[0], end: offsets[1] };
}

const shorten = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text);

/** Whether the quote at this place belongs to its string: an odd number of backslashes stands before it. */
function isEscaped(text: string, place: number): boolean {
  let before = place;
  while (text[before - 1] === '\\') before--;
  return (place - before) % 2 === 1;
}

/** The value of a quoted JSON string; undefined where it is none, or holds half a character. */
function parseString(quoted: string): string | undefined {
  if (!/[\\\u0000-\u001f\ud800-\udfff]/u.test(quoted)) return quoted.slice(1, -1);
  try {
    const value: unknown = JSON.parse(quoted);
    return typeof value === 'string' && !/[\ud800-\udfff]/u.test(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A JSON reader for objects, strings and lists of whole numbers, which is all that a header may hold. */
function startReader(text: string, wrong: (why: string) => UserError) {
  let at = 0;
  const fail = (expected: string): UserError =>
    wrong(`its header is not valid JSON at character ${at + 1}: ${expected} was expected`);
  const skipSpace = (): void => {
    while (text[at] === ' ' || text[at] === '\n' || text[at] === '\t' || text[at] === '\r') at++;
  };
  const peek = (): string | undefined => {
    skipSpace();
    return text[at];
  };
  const take = (character: string): void => {
    if (peek() !== character) throw fail(`"${character}"`);
    at++;
  };
  const string = (): string => {
    skipSpace();
    if (text[at] !== '"') throw fail('a string');
    let end = text.indexOf('"', at + 1);
    while (end > 0 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
    if (end < 0) throw fail('the end of a string');
    const value = parseString(text.slice(at, end + 1));
    if (value === undefined) throw fail('a string');
    at = end + 1;
    return value;
  };
  /** Sticky, so that it starts where the reader stands. */
  const numberPattern = /(?:0|[1-9][0-9]{0,15})(?![0-9.eE+-])/y;
  const number = (): number => {
    skipSpace();
    numberPattern.lastIndex = at;
    const match = numberPattern.exec(text);
    const value = Number(match?.[0]);
    if (match === null || !Number.isSafeInteger(value)) throw fail('a whole number from 0 to 2^53');
    at = numberPattern.lastIndex;
    return value;
  };
  /** `open item, item … close` */
  const list = (open: string, close: string, item: () => void): void => {
    take(open);
    if (peek() === close) {
      at++;
      return;
    }
    for (;;) {
      item();
      if (peek() === ',') at++;
      else break;
    }
    take(close);
  };
  return {
    peek,
    string,
    /** An object; `member` reads the value of each key. */
    members(member: (key: string) => void): void {
      list('{', '}', () => {
        const key = string();
        take(':');
        member(key);
      });
    },
    numbers(): number[] {
      const values: number[] = [];
      list('[', ']', () => values.push(number()));
      return values;
    },
    finish(): void {
      if (peek() !== undefined) throw fail('the end');
    },
  };
}
