/** The entry of a built trainer in Node: `node DIR/train.js --data …`. Bundled with the runtime; the compiler is not there. */
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { builtPrograms, type OpenBuilt, readTrainer, type Trainer } from '../../runtime/artefact.ts';
import { UserError } from '../../runtime/errors.ts';
import { grantFiles } from '../../runtime/files.ts';
import { DeviceError, PackageMissing, type Programs } from '../../runtime/program.ts';
import { openRun } from '../../runtime/run-folder.ts';
import { trainThroughLosses } from '../../runtime/survive.ts';
import { Progress, summary } from '../cli/progress.ts';
import { quote } from '../cli/quote.ts';
import { continuedSettings, newRunSettings, type RunSettings } from '../cli/run-settings.ts';
import { listenForStop } from '../cli/stop.ts';
import { exit, printError, printJson, printMistake, systemTerminal, type Terminal } from '../cli/terminal.ts';
import { readerOf } from './read-folder.ts';

interface Flags extends RunSettings {
  readonly out: string;
  readonly resume?: string;
  readonly json?: boolean;
}

const whole =
  (least: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < least)
      throw new InvalidArgumentError(`a whole number, at least ${least}.`);
    return value;
  };

function parse(trainer: Trainer, terminal: Terminal): Flags {
  const command = new Command('train.js')
    .description(`Trains ${trainer.plan.name}, built for the target ${trainer.target}.`)
    .exitOverride()
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.err })
    .addOption(
      new Option('--data <folder>', 'a folder that may be read, besides this one; may be repeated')
        .argParser((one: string, before: readonly string[]) => [...before, one])
        .default([], 'none'),
    )
    .option('--epochs <n>', "instead of the block's own", whole(1))
    .option('--steps <n>', "instead of the block's own", whole(1))
    .option('--seed <n>', 'of everything random', whole(0))
    .option('--threads <n>', 'CPU threads (all there are)', whole(1))
    .option('--out <folder>', 'where runs are kept', 'runs')
    .option('--resume <run>', 'continue this run folder, with its settings')
    .option('--json', 'results as JSON lines on stdout');
  command.parse();
  return command.opts<Flags>();
}

async function run(folder: string, openBuilt: OpenBuilt, terminal: Terminal): Promise<number> {
  const read = readerOf(folder);
  const trainer = readTrainer(await read('trainer.json'));
  const flags = parse(trainer, terminal);
  const said = newRunSettings(flags);
  const settings = flags.resume === undefined ? said : continuedSettings(openRun(flags.resume).config(), said);
  const { data, seed, epochs, steps, threads = availableParallelism() } = settings;
  const plan = seed === undefined ? trainer.plan : { ...trainer.plan, seed };
  const progress = new Progress(terminal);
  const open = async (): Promise<Programs> => builtPrograms(trainer, await openBuilt(threads), read);
  const stop = listenForStop(terminal, (text) => progress.line(text));
  try {
    const result = await trainThroughLosses({
      plan,
      programs: await open(),
      reopen: open,
      onLost: (text) => progress.line(text),
      files: grantFiles({ modelFolder: folder, data }),
      out: flags.out,
      ...(flags.resume !== undefined && { resume: flags.resume }),
      ...(epochs !== undefined && { epochs }),
      ...(steps !== undefined && { steps }),
      settings: { ...settings, target: trainer.target },
      signal: stop.signal,
      onEvent: (event) => {
        if (flags.json === true) printJson(terminal, event);
        progress.show(event);
      },
    });
    if (result.status === 'interrupted') {
      progress.line(`stopped at ${summary(result)}; go on with --resume ${result.run}`);
      return stop.code();
    }
    if (flags.json !== true) terminal.out(`done: ${summary(result)}\nrun: ${result.run}\n`);
    return exit.ok;
  } finally {
    progress.clear();
    stop.release();
  }
}

/** Called by the folder's entry, with the device of its target. */
export async function start(openBuilt: OpenBuilt): Promise<void> {
  const terminal = systemTerminal();
  const folder = dirname(dirname(fileURLToPath(import.meta.url)));
  try {
    process.exitCode = await run(folder, openBuilt, terminal);
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? exit.ok : exit.misuse;
    else {
      if (error instanceof UserError) printError(terminal, error.message, error.hint);
      else if (error instanceof PackageMissing) printError(terminal, error.in(quote(folder)).message);
      else if (error instanceof DeviceError) printError(terminal, error.message);
      else printMistake(terminal, error);
      process.exitCode = exit.failed;
    }
  }
}
