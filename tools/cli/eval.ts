/** `nacre eval`: the metrics of a run, measured again. */
import { evaluateRun } from '../../runtime/evaluate.ts';
import { openRun } from '../../runtime/run-folder.ts';
import { asPlanned } from '../driver/compact.ts';
import { createPrograms } from '../driver/programs.ts';
import { openProject } from '../driver/project.ts';
import { openTarget } from '../driver/target.ts';
import type { TargetName } from '../driver/targets/index.ts';
import { number } from './progress.ts';
import { parseSettings } from './settings.ts';
import { exit, printJson, type Terminal } from './terminal.ts';

export interface EvalCommand {
  readonly target: TargetName;
  readonly threads?: number;
  readonly data: readonly string[];
  readonly json: boolean;
}

export async function evaluate(file: string, run: string, options: EvalCommand, terminal: Terminal): Promise<number> {
  const { plan: trained, settings } = openRun(run).config();
  const set = Array.isArray(settings['set'])
    ? settings['set'].filter((text): text is string => typeof text === 'string')
    : [];
  const project = await openProject(file, { data: options.data, overrides: parseSettings(set) });
  const { block, plan, data } = asPlanned(await project.train(trained.name), trained);
  const target = await openTarget(options.target, options.threads === undefined ? {} : { threads: options.threads });
  try {
    if (target.notice !== undefined) terminal.err(`${target.notice}\n`);
    const { from, metrics } = await evaluateRun({
      plan: { ...plan, seed: trained.seed },
      programs: createPrograms(block, data, target),
      files: project.files,
      run,
    });
    if (options.json) printJson(terminal, Object.fromEntries(metrics));
    else {
      for (const [name, value] of metrics) terminal.out(`${name} ${number(value)}\n`);
      terminal.err(`weights: ${from}\n`);
    }
    return exit.ok;
  } finally {
    target.session.close();
  }
}
