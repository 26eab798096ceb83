/** `nacre train`: opens the file, its data and the target, and lets the runtime train. */
import { resolve } from 'node:path';
import { openRun, type RunConfig } from '../../runtime/run-folder.ts';
import { train as runTraining } from '../../runtime/trainer.ts';
import { createPrograms } from '../driver/programs.ts';
import { openProject } from '../driver/project.ts';
import { openTarget, targets, type TargetName } from '../driver/target.ts';
import { quote, startsNacre } from './command.ts';
import { number, Progress } from './progress.ts';
import { checkSettings, parseSettings, settingPath } from './settings.ts';
import { listenForStop } from './stop.ts';
import { exit, printJson, type Terminal } from './terminal.ts';

export interface TrainCommand {
  readonly target?: TargetName;
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

export async function train(
  file: string,
  name: string | undefined,
  options: TrainCommand,
  terminal: Terminal,
): Promise<number> {
  const config = options.resume === undefined ? undefined : openRun(options.resume).config();
  const settings = config === undefined ? newSettings(options) : continued(config, options);
  const { data: folders, set, seed, threads } = settings;
  const overrides = parseSettings(set);
  const project = await openProject(file, { data: folders, overrides });
  const { block, plan, data } = await project.train(name ?? config?.plan.name);
  checkSettings(overrides, project, block.name);
  const progress = new Progress(terminal);
  const target = await openTarget(settings.target ?? 'auto', threads === undefined ? {} : { threads });
  if (target.notice !== undefined) progress.line(target.notice);
  if (config?.source !== undefined && config.source.text !== project.source.text)
    progress.line(`${file} has changed since this run was last trained; it goes on with the file as it is now.`);
  const stop = listenForStop(terminal, (text) => progress.line(text));
  try {
    const result = await runTraining({
      plan: seed === undefined ? plan : { ...plan, seed },
      programs: createPrograms(block, data, target),
      files: project.files,
      out: options.out,
      ...(options.resume !== undefined && { resume: options.resume }),
      ...(settings.epochs !== undefined && { epochs: settings.epochs }),
      ...(settings.steps !== undefined && { steps: settings.steps }),
      settings: { file, name: block.name, ...settings, target: target.session.target },
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
      progress.line(`to go on: ${startsNacre('.')} train ${quote(file)} ${block.name} --resume ${quote(result.run)}`);
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

/** What a run is started with, and continued with. */
interface Settings {
  readonly target?: TargetName;
  /** Given alone, one lifts the other. */
  readonly epochs?: number;
  readonly steps?: number;
  readonly set: readonly string[];
  /** Whole paths, for a continuation may start in another folder. */
  readonly data: readonly string[];
  readonly seed?: number;
  readonly threads?: number;
}

function newSettings({ target, epochs, steps, set, data, seed, threads }: TrainCommand): Settings {
  return {
    ...(target !== undefined && { target }),
    ...(epochs !== undefined && { epochs }),
    ...(steps !== undefined && { steps }),
    set,
    data: data.map((folder) => resolve(folder)),
    ...(seed !== undefined && { seed }),
    ...(threads !== undefined && { threads }),
  };
}

/** What the run that is continued was started with, where it is not said anew. */
function continued({ settings: before }: RunConfig, options: TrainCommand): Settings {
  const said = newSettings(options);
  const texts = (key: string): string[] => {
    const found = before[key];
    return Array.isArray(found) ? found.filter((text): text is string => typeof text === 'string') : [];
  };
  const numbers = (...keys: readonly string[]): Record<string, number> =>
    Object.fromEntries(
      keys.flatMap((key): [string, number][] => (typeof before[key] === 'number' ? [[key, before[key]]] : [])),
    );
  const target = targets.find((one) => one === before['target']);
  const replaced = said.set.map(settingPath);
  return {
    ...(target !== undefined && { target }),
    ...(said.epochs === undefined && said.steps === undefined && numbers('epochs', 'steps')),
    ...numbers('seed', 'threads'),
    ...said,
    set: [...texts('set').filter((text) => !replaced.includes(settingPath(text))), ...said.set],
    data: said.data.length > 0 ? said.data : texts('data'),
  };
}
