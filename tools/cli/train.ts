/** `nacre train`: opens the file, its data and the target, and lets the runtime train. */
import { openRun } from '../../runtime/run-folder.ts';
import { train as runTraining } from '../../runtime/trainer.ts';
import { createPrograms } from '../driver/programs.ts';
import { openProject } from '../driver/project.ts';
import { openTarget, type TargetName } from '../driver/target.ts';
import { number, Progress } from './progress.ts';
import { checkSettings, parseSettings } from './settings.ts';
import { listenForStop } from './stop.ts';
import { exit, printJson, type Terminal } from './terminal.ts';

export interface TrainCommand {
  readonly target: TargetName;
  readonly epochs?: number;
  readonly steps?: number;
  readonly set: readonly string[];
  readonly data: readonly string[];
  readonly out: string;
  readonly seed?: number;
  readonly threads?: number;
  readonly resume?: string;
  readonly json: boolean;
}

export async function train(file: string, name: string | undefined, options: TrainCommand, terminal: Terminal): Promise<number> {
  const before = options.resume === undefined ? undefined : settingsOf(options.resume);
  const set = options.set.length > 0 ? options.set : (before?.set ?? []);
  const seed = options.seed ?? before?.seed;
  const overrides = parseSettings(set);
  const project = await openProject(file, { data: options.data, overrides });
  const wanted = name ?? before?.name;
  const { block, plan, data } = await project.train(wanted);
  checkSettings(overrides, project, block.name);
  const progress = new Progress(terminal);
  const target = await openTarget(options.target, options.threads === undefined ? {} : { threads: options.threads });
  if (target.notice !== undefined) progress.line(target.notice);
  const stop = listenForStop((text) => progress.line(text));
  try {
    const result = await runTraining({
      plan: seed === undefined ? plan : { ...plan, seed },
      programs: createPrograms(block, data, target),
      files: project.files,
      out: options.out,
      ...(options.resume !== undefined && { resume: options.resume }),
      ...(options.epochs !== undefined && { epochs: options.epochs }),
      ...(options.steps !== undefined && { steps: options.steps }),
      settings: { file, name: block.name, target: target.session.target, set, data: options.data, ...(seed !== undefined && { seed }), ...(options.threads !== undefined && { threads: options.threads }) },
      source: { path: file, text: project.source.text },
      signal: stop.signal,
      onEvent: (event) => {
        if (options.json) printJson(terminal, event);
        progress.show(event);
      },
    });
    const metrics = [...result.metrics].map(([metric, value]) => `  ${metric} ${number(value)}`).join('');
    const summary = `step ${result.steps}  loss ${number(result.loss)}${metrics}\n`;
    if (result.status === 'interrupted') {
      progress.line(`stopped at ${summary.trimEnd()}`);
      const folders = options.data.map((folder) => ` --data ${folder}`).join('');
      progress.line(`to go on: nacre train ${file} ${block.name} --resume ${result.run}${folders}`);
      return stop.code();
    }
    if (!options.json) terminal.out(`done: ${summary}run: ${result.run}\n`);
    return exit.ok;
  } finally {
    progress.clear();
    stop.release();
    target.session.close();
  }
}

/** What the run that is continued was started with. */
function settingsOf(run: string): { name: string; set: string[]; seed?: number } {
  const { plan, settings } = openRun(run).config();
  const set = settings['set'];
  const seed = settings['seed'];
  return {
    name: plan.name,
    set: Array.isArray(set) ? set.filter((text): text is string => typeof text === 'string') : [],
    ...(typeof seed === 'number' && { seed }),
  };
}
