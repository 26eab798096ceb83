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

/** The candidate that is most like `word`, if one is like it enough to be what was meant. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > 40) return undefined;
  let best: string | undefined;
  let bestDistance = word.length <= 3 ? 1.5 : 2.5;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) > 2) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours between two short words. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let cost = Math.min(replaced, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (beforePrevious[j - 2] ?? 0) + 1);
      }
      row.push(cost);
    }
    beforePrevious = previous;
    previous = row;
  }
  return previous[b.length] ?? 0;
}
