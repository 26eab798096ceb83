/** The entry of a built trainer in Node: `node DIR/train.js --data …`. Bundled with the runtime; the compiler is not there. */
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { builtPrograms, type OpenBuilt, readTrainer } from '../../runtime/artefact.ts';
import { UserError } from '../../runtime/errors.ts';
import { grantFiles } from '../../runtime/files.ts';
import { DeviceError, PackageMissing, type Programs } from '../../runtime/program.ts';
import { openRun } from '../../runtime/run-folder.ts';
import { trainThroughLosses } from '../../runtime/survive.ts';
import { Progress, summary } from '../cli/progress.ts';
import { quote } from '../cli/quote.ts';
import { continuedSettings, newRunSettings } from '../cli/run-settings.ts';
import { listenForStop } from '../cli/stop.ts';
import { exit, printError, printJson, printMistake, systemTerminal, type Terminal } from '../cli/terminal.ts';
import { helpText, Misuse, readFlags } from './flags.ts';
import { readerOf } from './read-folder.ts';

async function run(folder: string, openBuilt: OpenBuilt, terminal: Terminal): Promise<number> {
  const read = readerOf(folder);
  const trainer = readTrainer(await read('trainer.json'));
  const flags = readFlags(process.argv.slice(2));
  if (flags === undefined) {
    terminal.out(`Trains ${trainer.plan.name}, built for the target ${trainer.target}.\n\n${helpText()}`);
    return exit.ok;
  }
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
    if (error instanceof UserError) printError(terminal, error.message, error.hint);
    else if (error instanceof PackageMissing) printError(terminal, error.in(quote(folder)).message);
    else if (error instanceof DeviceError) printError(terminal, error.message);
    else printMistake(terminal, error);
    process.exitCode = error instanceof Misuse ? exit.misuse : exit.failed;
  }
}
