/** `nacre test`: runs the tests that stand in files. */
import { openProject } from '../driver/project.ts';
import { runTest } from '../driver/run-tests.ts';
import type { TargetName } from '../driver/targets/index.ts';
import { eachFile } from './model-files.ts';
import { count, exit, printJson, printDiagnostics, type Terminal } from './terminal.ts';

export interface TestOptions {
  readonly target: TargetName;
  readonly data: readonly string[];
  readonly json: boolean;
}

export async function test(paths: readonly string[], options: TestOptions, terminal: Terminal): Promise<number> {
  let passed = 0;
  let failed = 0;
  const { unread, code } = await eachFile(paths, terminal, async (file) => {
    const project = await openProject(file, { data: options.data });
    const { diagnostics } = project.program;
    if (!diagnostics.isEmpty) {
      printDiagnostics(terminal, diagnostics.sorted(), options.json);
      failed += 1;
      return;
    }
    for (const one of project.tests()) {
      const result = await runTest(project, one, options.target);
      if (result.ok) passed += 1;
      else failed += 1;
      if (options.json) printJson(terminal, { event: 'test', file, ...result });
      else if (result.ok) terminal.out(`ok    ${result.name}\n`);
      else {
        terminal.out(`FAIL  ${result.name}\n`);
        for (const failure of result.failures) terminal.out(`${failure.replace(/^/gm, '      ')}\n`);
      }
    }
  });
  failed += unread;
  if (options.json) printJson(terminal, { event: 'done', passed, failed });
  else terminal.out(`${count(passed, 'test')} passed, ${failed} failed.\n`);
  return Math.max(code, failed === 0 ? exit.ok : exit.failed);
}
