/** A source text and places in it. The lowest file of the house: everything above may point at source. */

/** One `.model` text. `name` is what error messages show (a path relative to where the user stands). */
export interface Source {
  readonly name: string;
  readonly text: string;
}

/** A half-open range of UTF-16 offsets in one source. */
export interface Span {
  readonly source: Source;
  readonly start: number;
  readonly end: number;
}

/** 1-based line and column of an offset. */
export function position(source: Source, offset: number): { line: number; column: number } {
  const before = source.text.slice(0, offset);
  const line = before.split('\n').length;
  return { line, column: offset - (before.lastIndexOf('\n') + 1) + 1 };
}

/** `file:line:column` of where a span begins. */
export function showPlace(span: Span): string {
  const { line, column } = position(span.source, span.start);
  return `${span.source.name}:${line}:${column}`;
}

/** The smallest span that covers both (they must be of one source). */
export function cover(first: Span, last: Span): Span {
  return { source: first.source, start: Math.min(first.start, last.start), end: Math.max(first.end, last.end) };
}
