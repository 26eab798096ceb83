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
  reader.members((name) => {
    if (name === '__metadata__') {
      reader.members((key) => {
        if (reader.peek() !== '"') throw wrong(`the metadata "${shorten(key)}" is not a string`);
        metadata.set(key, reader.string());
      });
      return;
    }
    if (forbiddenNames.has(name) || name.includes('\0')) throw wrong(`a tensor has the forbidden name ${JSON.stringify(shorten(name))}`);
    entries.push(readEntry(reader, name, wrong));
  });
  reader.finish();
  return { metadata, entries };
}

type Reader = ReturnType<typeof startReader>;

function readEntry(reader: Reader, name: string, wrong: (why: string) => UserError): HeaderEntry {
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  reader.members((key) => {
    if (key === 'dtype') dtype = reader.string();
    else if (key === 'shape') shape = reader.numbers();
    else if (key === 'data_offsets') offsets = reader.numbers();
    else throw wrong(`tensor "${shorten(name)}" has an unknown entry "${shorten(key)}"`);
  });
  if (dtype === undefined || shape === undefined || offsets === undefined || offsets.length !== 2) {
    throw wrong(`tensor "${shorten(name)}" lacks its dtype, its shape or its two data_offsets`);
  }
  if (shape.length > largestRank) throw wrong(`tensor "${shorten(name)}" has ${shape.length} axes`);
  return { name, dtype: shorten(dtype), shape, begin: offsets[0], end: offsets[1] };
}

const shorten = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text);

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
  /** Sticky, so that it starts where the reader stands. Every alternative starts with another character: linear time. */
  const stringPattern = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
  const string = (): string => {
    skipSpace();
    stringPattern.lastIndex = at;
    const match = stringPattern.exec(text);
    if (match === null) throw fail('a string');
    at = stringPattern.lastIndex;
    // The shape of a JSON string was just checked; JSON.parse only resolves its escapes.
    const value: unknown = match[0].includes('\\') ? JSON.parse(match[0]) : match[0].slice(1, -1);
    if (typeof value !== 'string' || /[\ud800-\udfff]/u.test(value)) throw fail('a string of whole characters');
    return value;
  };
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
    /** An object; `member` reads the value of each key. No key comes twice. */
    members(member: (key: string) => void): void {
      const seen = new Set<string>();
      list('{', '}', () => {
        const key = string();
        if (seen.has(key)) throw wrong(`its header has "${shorten(key)}" twice`);
        seen.add(key);
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
