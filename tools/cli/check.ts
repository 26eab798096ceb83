/** `nacre check`: everything that is wrong in files, as far as can be known without data and without running. */
import { openProject } from '../driver/project.ts';
import { count, exit, printDiagnostics, printJson, type Terminal } from './terminal.ts';

export async function check(files: readonly string[], options: { readonly json: boolean }, terminal: Terminal): Promise<number> {
  let errors = 0;
  for (const file of files) {
    const diagnostics = (await openProject(file)).check();
    printDiagnostics(terminal, diagnostics, options.json);
    errors += diagnostics.length;
  }
  if (options.json) printJson(terminal, { event: 'done', files: files.length, errors });
  else if (errors === 0) terminal.out(`${count(files.length, 'file')} checked: nothing wrong.\n`);
  else terminal.err(`${count(errors, 'error')} in ${count(files.length, 'file')}.\n`);
  return errors === 0 ? exit.ok : exit.failed;
}
