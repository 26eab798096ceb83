/** What the grammar says about a text it cannot read: data, several per file, never thrown. */
import type { Source, Span } from '../compiler/base/source.ts';

export interface SyntaxError {
  readonly code: SyntaxErrorCode;
  /** One or two plain sentences. */
  readonly message: string;
  readonly span: Span;
  /** What the writer could do about it. */
  readonly hint?: string;
}

export type SyntaxErrorCode =
  | 'file-too-large'
  | 'forbidden-character'
  | 'unknown-character'
  | 'unterminated-string'
  | 'unterminated-comment'
  | 'bad-escape'
  | 'bad-hole'
  | 'nesting-too-deep'
  | 'unclosed-bracket'
  | 'stray-bracket'
  | 'unknown-declaration'
  | 'unexpected-token'
  | 'unused-value'
  | 'comparison-chain'
  | 'number-too-large'
  | 'assignment-target'
  | 'duplicate-application';

/** An error at a range of offsets. */
export function syntaxError(
  code: SyntaxErrorCode,
  message: string,
  source: Source,
  start: number,
  end: number,
  hint?: string,
): SyntaxError {
  const span = { source, start, end: Math.max(start, end) };
  return hint === undefined ? { code, message, span } : { code, message, span, hint };
}
