/**
 * What the compiler has to say to a user: a code, a sentence, the places it is about, where sizes came from, a hint.
 *
 * Diagnostics are collected, not thrown at the user: one run reports many. Inside the evaluator a `Problem` carries one up
 * to the nearest statement, where it is collected and work goes on.
 */
import { nearest } from '../../common/nearest.ts';
import { messages, type Code, type Holes } from './messages.ts';
import { position, type Span } from './source.ts';

/** A place and what is to be said about it. */
export interface Label {
  readonly span: Span;
  readonly text: string;
}

export interface Diagnostic {
  /** A code of messages.ts, or of a type rule in `ops/`. */
  readonly code: string;
  readonly severity: 'error';
  readonly message: string;
  /** The first is the primary place; the others belong to the clash. */
  readonly labels: readonly Label[];
  /** Where sizes came from, what was being applied. */
  readonly notes: readonly string[];
  readonly hint?: string;
}

export interface Extra {
  readonly notes?: readonly string[];
  readonly hint?: string;
}

/** A diagnostic whose sentence is that of `code` in messages.ts. */
export function diagnose<C extends Code>(
  code: C,
  holes: Holes<C>,
  labels: readonly Label[],
  extra: Extra = {},
): Diagnostic {
  const base = { code, severity: 'error', message: sentence(code, holes), labels, notes: extra.notes ?? [] } as const;
  return extra.hint === undefined ? base : { ...base, hint: extra.hint };
}

const sentences: { readonly [C in Code]: (holes: Holes<C>) => string } = messages;
const sentence = <C extends Code>(code: C, holes: Holes<C>): string => sentences[code](holes);

/** Carries a diagnostic to the nearest place that can go on without the failed value. */
export class Problem extends Error {
  readonly diagnostic: Diagnostic;
  constructor(diagnostic: Diagnostic) {
    super(diagnostic.message);
    this.diagnostic = diagnostic;
  }
}

/**
 * The code of what is no mistake: something depends on a value that is not known here — in a generic check, or because of a
 * mistake that was reported already. It ends the evaluation that needs the value and is never shown.
 */
export const undecided = 'undecided';

/** More than this many errors help nobody. */
const limit = 50;

/** Collects what was found in a run: no two of one code at one place, at most fifty. */
export class Diagnostics {
  readonly all: Diagnostic[] = [];
  private readonly seen = new Set<string>();

  report(diagnostic: Diagnostic): void {
    if (diagnostic.code === undecided) return;
    const at = diagnostic.labels[0]?.span;
    const key = `${diagnostic.code}|${at === undefined ? '' : `${at.source.name}:${at.start}-${at.end}`}`;
    if (this.seen.has(key) || this.all.length >= limit) return;
    this.seen.add(key);
    this.all.push(diagnostic);
  }

  get isEmpty(): boolean {
    return this.all.length === 0;
  }

  /** In the order of the files' text, for reading. */
  sorted(): Diagnostic[] {
    const key = (d: Diagnostic): [string, number] => [
      d.labels[0]?.span.source.name ?? '',
      d.labels[0]?.span.start ?? 0,
    ];
    return [...this.all].sort((a, b) => {
      const [fileA, startA] = key(a);
      const [fileB, startB] = key(b);
      return fileA === fileB ? startA - startB : fileA < fileB ? -1 : 1;
    });
  }
}

/** Throws a diagnostic about these places, the first of them the main one. */
export function refuse<C extends Code>(code: C, holes: Holes<C>, spans: readonly Span[], extra: Extra = {}): never {
  throw new Problem(
    diagnose(
      code,
      holes,
      spans.map((span) => ({ span, text: '' })),
      extra,
    ),
  );
}

/** `Did you mean …?`, where something is near enough. */
export function didYouMean(name: string, candidates: Iterable<string>): { hint?: string } {
  const found = nearest(name, candidates);
  return found === undefined ? {} : { hint: `Did you mean \`${found}\`?` };
}

/** A line, or of a very long one the part around a place; `before` is where the place is in it. */
function excerpt(line: string, place: number): { readonly text: string; readonly before: number } {
  const widest = 160;
  if (line.length <= widest) return { text: line, before: place };
  const start = Math.max(0, Math.min(place - 60, line.length - widest));
  const [head, tail] = [start > 0 ? '…' : '', start + widest < line.length ? '…' : ''];
  return { text: `${head}${line.slice(start, start + widest)}${tail}`, before: place - start + head.length };
}

/** As text for a terminal: place, sentence, source lines with carets, notes, hint. */
export function renderDiagnostic(diagnostic: Diagnostic, options: { readonly color: boolean }): string {
  const paint = (style: string, text: string): string => (options.color ? `\u001b[${style}m${text}\u001b[0m` : text);
  const lines = [`${paint('1;31', 'error')}${paint('1', `[${diagnostic.code}]: ${diagnostic.message}`)}`];
  const width = Math.max(
    0,
    ...diagnostic.labels.map((label) => String(position(label.span.source, label.span.start).line).length),
  );
  let file: string | undefined;
  diagnostic.labels.forEach((label, index) => {
    const { source } = label.span;
    const { line, column } = position(source, label.span.start);
    if (index === 0 || source.name !== file)
      lines.push(`${' '.repeat(width)}${paint('36', '-->')} ${source.name}:${line}:${column}`);
    file = source.name;
    const { text, before } = excerpt(source.text.split('\n')[line - 1] ?? '', column - 1);
    const length = Math.max(1, Math.min(label.span.end - label.span.start, text.length - before));
    const indent = text.slice(0, before).replace(/[^\t]/g, ' ');
    const style = index === 0 ? '1;31' : '1;36';
    lines.push(`${paint('36', `${String(line).padStart(width)} |`)} ${text}`);
    const carets = (index === 0 ? '^' : '-').repeat(length);
    lines.push(
      `${paint('36', `${' '.repeat(width)} |`)} ${indent}${paint(style, `${carets}${label.text === '' ? '' : ` ${label.text}`}`)}`,
    );
  });
  for (const note of diagnostic.notes) lines.push(`${' '.repeat(width)} ${paint('36', '=')} ${note}`);
  if (diagnostic.hint !== undefined) lines.push(`${' '.repeat(width)} ${paint('32', 'hint:')} ${diagnostic.hint}`);
  return lines.join('\n');
}
