/** `nacre fmt`: writes files in the one format. A file that does not parse is left as it is. */
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { formatSource, UnreadableSource } from '../../grammar/format.ts';
import { UserError } from '../../runtime/errors.ts';
import { modelFiles } from './model-files.ts';
import { count, exit, printDiagnostics, type Terminal } from './terminal.ts';

export async function fmt(
  paths: readonly string[],
  options: { readonly check: boolean },
  terminal: Terminal,
): Promise<number> {
  if (paths.includes('-')) return formatStream(terminal);
  const files = paths.flatMap(modelFiles);
  let changed = 0;
  let unread = 0;
  for (const file of files) {
    const text = readFileSync(file, 'utf8');
    const formatted = await format(text, file, terminal);
    if (formatted === undefined) unread += 1;
    else if (formatted !== text) {
      changed += 1;
      if (options.check) terminal.out(`${file} is not formatted.\n`);
      else replace(file, formatted);
    }
  }
  if (!options.check) terminal.err(`${count(files.length, 'file')}, ${changed} changed.\n`);
  return unread > 0 || (options.check && changed > 0) ? exit.failed : exit.ok;
}

async function format(text: string, name: string, terminal: Terminal): Promise<string | undefined> {
  try {
    return await formatSource(text, name);
  } catch (error) {
    if (!(error instanceof UnreadableSource)) throw error;
    const diagnostics = error.errors.map(({ code, message, span, hint }) => ({
      code,
      severity: 'error' as const,
      message,
      labels: [{ span, text: '' }],
      notes: [],
      ...(hint !== undefined && { hint }),
    }));
    printDiagnostics(terminal, diagnostics, false);
    return undefined;
  }
}

async function formatStream(terminal: Terminal): Promise<number> {
  const formatted = await format(readFileSync(0, 'utf8'), '<stdin>', terminal);
  if (formatted === undefined) return exit.failed;
  terminal.out(formatted);
  return exit.ok;
}

/** Never leaves half a file behind. */
function replace(file: string, text: string): void {
  const beside = `${file}.${process.pid}.tmp`;
  try {
    writeFileSync(beside, text, { mode: statSync(file).mode });
    renameSync(beside, file);
  } catch (error) {
    rmSync(beside, { force: true });
    throw new UserError(
      'write',
      `${file} could not be written: ${error instanceof Error ? error.message : String(error)}.`,
    );
  }
}
