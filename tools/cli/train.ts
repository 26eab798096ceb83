/** `nacre train`: opens the file, its data and the target, and lets the runtime train. */
import { availableParallelism } from 'node:os';
import { UserError } from '../../runtime/errors.ts';
import { openRun, type RunConfig } from '../../runtime/run-folder.ts';
import { trainThroughLosses } from '../../runtime/survive.ts';
import { createPrograms } from '../driver/programs.ts';
import { asBegun, compactTrain, prunesColumns } from '../driver/compact.ts';
import { noticesOf } from '../driver/notices.ts';
import { fitMemory, type Fitted } from '../driver/fit-memory.ts';
import { openProject, refuseNeverDue, type RunnableTrain } from '../driver/project.ts';
import { openTarget } from '../driver/target.ts';
import type { Target } from '../driver/targets/backend.ts';
import { targetNames, type TargetName } from '../driver/targets/index.ts';
import { startsNacre } from './command.ts';
import { Progress, summary } from './progress.ts';
import { quote } from './quote.ts';
import { continuedSettings, newRunSettings, numbersOf, type RunSettings, textsOf } from './run-settings.ts';
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
  /** Bytes that the planned peak has to fit into. */
  readonly memory?: number;
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
  const asked = await project.train(name ?? config?.plan.name);
  checkSettings(overrides, project, asked.block.name);
  // A run that is cut short, to see whether it goes, may end before what it does later.
  if (settings.epochs === undefined && settings.steps === undefined) refuseNeverDue(asked);
  const progress = new Progress(terminal);
  const seeded = seed === undefined ? asked : { ...asked, plan: { ...asked.plan, seed } };
  const open = (): Promise<Target> => openTarget(settings.target ?? 'auto', threads === undefined ? {} : { threads });
  const compacted =
    config === undefined && prunesColumns(seeded) ? await compactTrain(seeded, project.files, open) : undefined;
  if (compacted !== undefined) progress.line(compacted.notice);
  const begun =
    config === undefined || options.resume === undefined ? seeded : asBegun(seeded, options.resume, config.plan);
  const { train: fitted, notice } = await fit(compacted?.train ?? begun, settings);
  if (notice !== undefined) progress.line(notice);
  for (const line of noticesOf(fitted, { goesOn: config !== undefined })) progress.line(line);
  const { block, plan, data } = fitted;
  const target = await open();
  if (target.notice !== undefined) progress.line(target.notice);
  const hasChanged = config?.source !== undefined && config.source.text !== project.source.text;
  const stop = listenForStop(terminal, (text) => progress.line(text));
  try {
    let sparsity = 0;
    const result = await trainThroughLosses({
      plan,
      programs: createPrograms(block, data, target),
      reopen: async () => createPrograms(block, data, await open()),
      onLost: (text) => progress.line(text),
      files: project.files,
      ...(compacted !== undefined && { weights: compacted.weights }),
      out: options.out,
      ...(options.resume !== undefined && { resume: options.resume }),
      ...(settings.epochs !== undefined && { epochs: settings.epochs }),
      ...(settings.steps !== undefined && { steps: settings.steps }),
      settings: { file, name: block.name, ...settings, target: target.session.target },
      source: { path: file, text: project.source.text },
      signal: stop.signal,
      onEvent: (event) => {
        if (event.event === 'prune') sparsity = Math.max(sparsity, event.sparsity);
        if (options.json) printJson(terminal, event);
        progress.show(event);
        if (event.event === 'start' && hasChanged)
          progress.line(`${file} has changed since this run was last trained; it goes on with the file as it is now.`);
      },
    });
    if ((plan.prunes ?? []).length > 0 && sparsity === 0 && options.resume === undefined)
      progress.line(`no weight was pruned in these ${result.steps} steps`);
    if (result.status === 'interrupted') {
      progress.line(`stopped at ${summary(result)}`);
      progress.line(`to go on: ${startsNacre('.')} train ${quote(file)} ${block.name} --resume ${quote(result.run)}`);
      return stop.code();
    }
    if (!options.json) terminal.out(`done: ${summary(result)}\nrun: ${result.run}\n`);
    return exit.ok;
  } finally {
    progress.clear();
    stop.release();
  }
}

/** The budget is for the compiled program; the interpreter has no plan of its memory. */
async function fit(asked: RunnableTrain, { memory, target, threads }: Settings): Promise<Fitted> {
  if (memory === undefined) return { train: asked };
  if (target === 'reference')
    throw new UserError('memory-target', '--memory is for the cpu target: the reference interpreter plans no memory.');
  return fitMemory(asked, memory, threads ?? availableParallelism());
}

/** What a run is started with, and continued with. */
interface Settings extends RunSettings {
  readonly target?: TargetName;
  readonly set: readonly string[];
  readonly memory?: number;
}

function newSettings({ target, set, memory, ...rest }: TrainCommand): Settings {
  return {
    ...(target !== undefined && { target }),
    set,
    ...(memory !== undefined && { memory }),
    ...newRunSettings(rest),
  };
}

/** What the run that is continued was started with, where it is not said anew. */
function continued(config: RunConfig, options: TrainCommand): Settings {
  const { settings: before } = config;
  const said = newSettings(options);
  const target = targetNames.find((one) => one === before['target']);
  const replaced = said.set.map(settingPath);
  return {
    ...(target !== undefined && { target }),
    ...numbersOf(before, 'memory'),
    ...said,
    ...continuedSettings(config, said),
    set: [...textsOf(before, 'set').filter((text) => !replaced.includes(settingPath(text))), ...said.set],
  };
}
