/** Where a command writes, and how it says what went wrong. */
import type { Diagnostic } from '../../compiler/base/diagnostics.ts';
import { renderDiagnostic } from '../../compiler/base/diagnostics.ts';
import { position } from '../../compiler/base/source.ts';

export interface Terminal {
  /** Results, on stdout. */
  readonly out: (text: string) => void;
  /** Everything else, on stderr. */
  readonly err: (text: string) => void;
  /** Whether stderr is a screen on which a line can be redrawn. */
  readonly isInteractive: boolean;
  readonly color: boolean;
  readonly columns: number;
  /** What to do once nobody reads what is written (`… | head`), instead of ending quietly. */
  readonly whenClosed?: (act: () => void) => void;
}

export const exit = { ok: 0, failed: 1, misuse: 2, interrupted: 130, terminated: 143 } as const;

/** The process's own streams. */
export function systemTerminal(): Terminal {
  // A reader that stops reading (`nacre ir … | head`) is no error.
  let closed = (): void => process.exit(exit.ok);
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      closed();
    });
  const isInteractive = process.stderr.isTTY === true && process.env['CI'] === undefined;
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    isInteractive,
    color: process.stderr.isTTY === true && (process.env['NO_COLOR'] ?? '') === '',
    get columns() {
      return process.stderr.columns || 80;
    },
    whenClosed: (act) => (closed = act),
  };
}

/** One JSON value a line; numbers that JSON has no word for become null. */
export const printJson = (terminal: Terminal, value: unknown): void => terminal.out(`${JSON.stringify(value)}\n`);

/** `error: …` and what to do about it. */
export function printError(terminal: Terminal, message: string, hint?: string): void {
  const paint = (style: string, text: string): string => (terminal.color ? `\u001b[${style}m${text}\u001b[0m` : text);
  terminal.err(`${paint('1;31', 'error')}: ${message}\n`);
  if (hint !== undefined) terminal.err(`${paint('32', 'hint')}: ${hint}\n`);
}

/** What nobody thought of; where it happened is shown only when asked for. */
export function printMistake(terminal: Terminal, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  const hint = 'Please report it. NACRE_DEBUG=1 shows where it happened.';
  printError(terminal, `Nacre made a mistake of its own: ${message}`, hint);
  if ((process.env['NACRE_DEBUG'] ?? '') !== '' && error instanceof Error) terminal.err(`${error.stack ?? ''}\n`);
}

/** Diagnostics for a reader on stderr, or for a program on stdout. */
export function printDiagnostics(terminal: Terminal, diagnostics: readonly Diagnostic[], json: boolean): void {
  for (const diagnostic of diagnostics) {
    if (json) printJson(terminal, { event: 'diagnostic', ...plain(diagnostic) });
    else terminal.err(`${renderDiagnostic(diagnostic, { color: terminal.color })}\n\n`);
  }
}

function plain({ code, message, labels, notes, hint }: Diagnostic): Record<string, unknown> {
  const places = labels.map(({ span, text }) => {
    const { line, column } = position(span.source, span.start);
    return { file: span.source.name, line, column, text };
  });
  return {
    code,
    message,
    ...(places[0] === undefined ? {} : { file: places[0].file, line: places[0].line, column: places[0].column }),
    places,
    notes,
    ...(hint !== undefined && { hint }),
  };
}

/** `3 files`, `1 file` */
export const count = (number: number, one: string, many = `${one}s`): string =>
  `${number} ${number === 1 ? one : many}`;
