/** The surface of the language: text to syntax tree. Knows nothing of the compiler. */
import type { Source } from '../compiler/base/source.ts';
import type { Module } from './ast.ts';
import { lex } from './lex.ts';
import { ModelParser } from './parser.ts';
import { syntaxError } from './syntax-error.ts';
import type { SyntaxError } from './syntax-error.ts';

export type { SyntaxError, SyntaxErrorCode } from './syntax-error.ts';

/** What is said where the stack ran out. */
export const nestsTooDeep = (source: Source): SyntaxError =>
  syntaxError('nesting-too-deep', 'Something in this file nests too deep for me to read.', source, 0, 0);

let parser: ModelParser | undefined;

/**
 * The syntax tree of a source and everything that is wrong with its text, in order. Never throws: with errors, the module holds the
 * items that could be read.
 */
export function parse(source: Source): { module: Module; errors: SyntaxError[] } {
  const lexed = lex(source);
  parser ??= new ModelParser();
  let read: { module: Module; errors: SyntaxError[] };
  try {
    read = parser.read(source, lexed.tokens, lexed.comments);
  } catch (error) {
    // What the bracket limit did not foresee; the stack is the only thing that may run out.
    if (!(error instanceof RangeError)) throw error;
    const span = { source, start: 0, end: source.text.length };
    const module: Module = { kind: 'module', uses: [], declarations: [], comments: lexed.comments, span };
    read = { module, errors: [nestsTooDeep(source)] };
  }
  const news = read.errors.filter(
    ({ span }) => !lexed.swallowed.some(({ start, end }) => start <= span.start && span.start <= end),
  );
  const errors = [...lexed.errors, ...news].sort((a, b) => a.span.start - b.span.start);
  return { module: read.module, errors };
}
