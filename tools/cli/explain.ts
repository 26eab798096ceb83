/** `nacre explain`: writes the page that says what became of a train block. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { UserError } from '../../runtime/errors.ts';
import { analyzeTrain } from '../driver/analysis.ts';
import { asTrained } from '../driver/compact.ts';
import { measureKernels } from '../driver/measure-kernels.ts';
import { showBytes } from '../driver/numbers.ts';
import { openProject } from '../driver/project.ts';
import { renderPage } from '../explain/page.ts';
import { checkSettings, parseSettings } from './settings.ts';
import { exit, type Terminal } from './terminal.ts';

export interface ExplainCommand {
  readonly output: string;
  /** Measure every kernel. */
  readonly run: boolean;
  readonly threads?: number;
  readonly set: readonly string[];
  readonly data: readonly string[];
}

export async function explain(
  file: string,
  name: string | undefined,
  options: ExplainCommand,
  terminal: Terminal,
): Promise<number> {
  const threads = options.threads ?? availableParallelism();
  const overrides = parseSettings(options.set);
  const project = await openProject(file, { data: options.data, overrides });
  const runnable = asTrained(await project.train(name));
  checkSettings(overrides, project, runnable.block.name);
  const analysis = await analyzeTrain(runnable, { threads });
  if (analysis.notice !== undefined) terminal.err(`${analysis.notice}\n`);
  const measured = options.run ? await measureKernels(project, runnable, analysis) : undefined;
  const page = await renderPage({ project, runnable, analysis, ...(measured && { measured }) });
  try {
    mkdirSync(dirname(options.output), { recursive: true });
    writeFileSync(options.output, page);
  } catch (error) {
    throw new UserError(
      'no-write',
      `${options.output} cannot be written: ${error instanceof Error ? error.message : String(error)}.`,
    );
  }
  terminal.out(`${options.output}: ${analysis.main.analysis.kernels.length} kernels, ${showBytes(page.length)}\n`);
  return exit.ok;
}
