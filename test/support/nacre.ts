/** The command line in this process: what it prints, and its exit code. */
import { main } from '../../tools/cli/main.ts';
import type { Terminal } from '../../tools/cli/terminal.ts';

export async function nacre(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const written = { out: '', err: '' };
  const terminal: Terminal = {
    out: (text) => void (written.out += text),
    err: (text) => void (written.err += text),
    isInteractive: false,
    color: false,
    columns: 80,
  };
  return { code: await main(argv, terminal), ...written };
}
