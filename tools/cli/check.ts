/** `nacre check`: everything that is wrong in files, as far as can be known without data and without running. */
import { openProject } from '../driver/project.ts';
import { eachFile } from './model-files.ts';
import { count, exit, printDiagnostics, printJson, type Terminal } from './terminal.ts';

export async function check(
  paths: readonly string[],
  options: { readonly json: boolean },
  terminal: Terminal,
): Promise<number> {
  let errors = 0;
  const { files, unread, code } = await eachFile(paths, terminal, async (file) => {
    const diagnostics = (await openProject(file)).check();
    printDiagnostics(terminal, diagnostics, options.json);
    errors += diagnostics.length;
  });
  errors += unread;
  if (options.json) printJson(terminal, { event: 'done', files, errors });
  else if (errors === 0) terminal.out(`${count(files, 'file')} checked: nothing wrong.\n`);
  else terminal.err(`${count(errors, 'error')} in ${count(files, 'file')}.\n`);
  return Math.max(code, errors === 0 ? exit.ok : exit.failed);
}
