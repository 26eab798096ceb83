/**
 * `nacre`: reads the command line and hands over to one file per command, loaded only when it is asked for, so that
 * `nacre check` opens no native library and `nacre --help` opens nothing.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { DeviceError, DeviceMissing } from '../../runtime/program.ts';
import { UserError } from '../../runtime/errors.ts';
import { programKinds, type ProgramKind } from '../driver/program-kind.ts';
import {
  type CodeTarget,
  codeTargets,
  type Language,
  targetNames,
  targets,
  type TargetName,
} from '../driver/targets/index.ts';
import { exit, printDiagnostics, printError, printMistake, type Terminal } from './terminal.ts';

export { systemTerminal } from './terminal.ts';

/** Errors that say the command was wrong, not the file. */
const misuses = new Set([
  'no-file',
  'no-train',
  'which-train',
  'unknown-train',
  'unknown-set',
  'unknown-pass',
  'ir-format',
  'ir-stage',
  'exists',
  'bad-name',
]);

/** Runs one command line (without `node` and the script); gives the exit code. Never throws. */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  let code: number = exit.ok;
  const program = createProgram(terminal, (result) => (code = result));
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exit.ok : exit.misuse;
    const json = argv.includes('--json');
    const { Diagnosed } = await import('../driver/diagnosed.ts');
    if (error instanceof Diagnosed) {
      printDiagnostics(terminal, error.diagnostics, json);
      return exit.failed;
    }
    if (error instanceof UserError) {
      printError(terminal, error.message, error.hint);
      return misuses.has(error.code) ? exit.misuse : exit.failed;
    }
    if (error instanceof DeviceError) {
      const hint = '`nacre doctor` says what this machine has and what is missing; `--target wasm` runs everywhere.';
      printError(terminal, error.message, error instanceof DeviceMissing ? hint : undefined);
      return exit.failed;
    }
    printMistake(terminal, error);
    return exit.failed;
  }
}

function createProgram(terminal: Terminal, finish: (code: number) => void): Command {
  const program = new Command('nacre')
    .description('A language for neural networks: check, train and test `.model` files.')
    .version('0.1.0', '-V, --version')
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.err })
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 something failed, 2 the command itself was wrong, 130 stopped with Ctrl-C.',
    );

  const target = (): Option =>
    new Option('-t, --target <target>', 'what to run on').choices([...targetNames]).default('auto');
  const threads = (): Option => new Option('--threads <n>', 'CPU threads (all there are)').argParser(whole(1));
  const data = (): Option =>
    new Option('--data <folder>', "a folder that may be read, besides the file's own; may be repeated")
      .argParser(gather)
      .default([], 'none');
  const set = (): Option =>
    new Option(
      '--set <path=value>',
      'another value for a setting or a hyperparameter, as model.hidden=256; may be repeated',
    )
      .argParser(gather)
      .default([], 'none');
  const memory = (): Option =>
    new Option(
      '--memory <size>',
      'recompute activations until the peak fits, as 200MB or 1.5GiB; changes no number of the training',
    ).argParser(bytes);
  const json = (): Option => new Option('--json', 'results as JSON lines on stdout');

  program
    .command('check')
    .description('Say what is wrong in files, without running them. A folder means its .model files.')
    .argument('<files...>')
    .addOption(json())
    .action(async (files: string[], options: { json?: boolean }) => {
      const { check } = await import('./check.ts');
      finish(await check(files, { json: options.json === true }, terminal));
    });
  program
    .command('fmt')
    .description('Write files in the one format. `-` reads stdin and writes stdout; a folder means its .model files.')
    .argument('<files...>')
    .option('--check', 'only say which files would change; exit 1 if any')
    .action(async (files: string[], options: { check?: boolean }) => {
      const { fmt } = await import('./fmt.ts');
      finish(await fmt(files, { check: options.check === true }, terminal));
    });
  program
    .command('test')
    .description('Run the tests in files. A folder means its .model files.')
    .argument('<files...>')
    .addOption(target())
    .addOption(data())
    .addOption(json())
    .action(async (files: string[], options: CommonOptions) => {
      const { test } = await import('./test.ts');
      finish(await test(files, { target: options.target, data: options.data, json: options.json === true }, terminal));
    });
  program
    .command('train')
    .description('Train what a train block says; continue a run with --resume.')
    .argument('<file>')
    .argument('[name]', 'the train block, where there are several')
    .addOption(
      new Option('-t, --target <target>', 'what to run on; auto where nothing is said').choices([...targetNames]),
    )
    .option('--epochs <n>', "instead of the block's own", whole(1))
    .option('--steps <n>', "instead of the block's own", whole(1))
    .addOption(set())
    .addOption(data())
    .option('--out <folder>', 'where runs are kept', 'runs')
    .option('--seed <n>', 'of everything random', whole(0))
    .addOption(threads())
    .addOption(memory())
    .option('--resume <run>', 'continue this run folder, with its own settings where no others are given')
    .addOption(json())
    .action(async (file: string, name: string | undefined, options: TrainFlags) => {
      const { train } = await import('./train.ts');
      finish(await train(file, name, { ...options, json: options.json === true }, terminal));
    });
  program
    .command('build')
    .description('Compile a train block into a folder that trains without the compiler, in Node or in a page.')
    .argument('<file>')
    .argument('[name]', 'the train block, where there are several')
    .requiredOption('-o, --output <folder>', 'the folder to write')
    .addOption(new Option('-t, --target <target>', 'what it will run on').choices([...codeTargets]).default('wasm'))
    .option('--web', 'also a page, index.html, that trains in the browser')
    .addOption(threads())
    .addOption(set())
    .addOption(data())
    .addOption(json())
    .action(async (file: string, name: string | undefined, options: BuildFlags) => {
      const { build } = await import('./build.ts');
      finish(await build(file, name, { ...options, web: options.web === true, json: options.json === true }, terminal));
    });
  program
    .command('eval')
    .description('Measure a run again with the eval lines of its train block.')
    .argument('<file>')
    .argument('<run>')
    .addOption(target())
    .addOption(threads())
    .addOption(data())
    .addOption(json())
    .action(async (file: string, run: string, options: CommonOptions & { threads?: number }) => {
      const { evaluate } = await import('./eval.ts');
      finish(await evaluate(file, run, { ...options, json: options.json === true }, terminal));
    });
  program
    .command('ir')
    .description('Show what the compiler makes of a train block, or of the text of a graph, loop or tile program.')
    .argument('<file>')
    .argument('[name]', 'the train block, where there are several')
    .addOption(
      new Option('--stage <stage>', 'which level; tensor, where nothing else is said').choices([
        'model',
        'tensor',
        'loop',
        'tile',
        ...codeTargets.map((name) => targets[name].language),
      ]),
    )
    .option(
      '--after <pass>',
      'stop after this pass, or after fuse, schedule, plan-memory or emit; `none`: before all of them',
    )
    .option('--diff <pass>', 'what this pass changed')
    .option('--without <passes>', 'leave these passes out; names with commas between', names)
    .option('--only <passes>', 'run no other passes', names)
    .option('--passes', 'the passes, what each does, and what it took and left here')
    .addOption(
      new Option('--format <format>', 'how to write it').choices(['text', 'json', 'dot', 'svg']).default('text'),
    )
    .option('--bitcode <file>', 'with --stage llvm: write bitcode through llvm-bindings instead')
    .addOption(
      new Option('--program <program>', 'which program; the step, or what a block without steps runs').choices([
        ...programKinds,
      ]),
    )
    .addOption(set())
    .addOption(data())
    .action(async (file: string, name: string | undefined, options: IrFlags) => {
      const { ir } = await import('./ir.ts');
      finish(
        await ir(file, name, { ...options, without: options.without ?? [], passes: options.passes === true }, terminal),
      );
    });
  program
    .command('plan')
    .description('Say what a training step will take before anything runs: kernels, memory, time.')
    .argument('<file>')
    .argument('[name]', 'the train block, where there are several')
    .option('--batch <n>', "instead of the block's own", whole(1))
    .addOption(threads())
    .option('--device <file>', 'for another machine, as `nacre doctor --save` described it there')
    .addOption(memory())
    .addOption(set())
    .addOption(data())
    .addOption(json())
    .action(async (file: string, name: string | undefined, options: PlanFlags) => {
      const { plan } = await import('./plan.ts');
      finish(await plan(file, name, { ...options, json: options.json === true }, terminal));
    });
  program
    .command('explain')
    .description('Write one HTML page that shows what became of a train block: kernels, memory, fusions.')
    .argument('<file>')
    .argument('[name]', 'the train block, where there are several')
    .requiredOption('-o, --output <page>', 'the page to write')
    .option('--run', 'also measure how long every kernel takes')
    .addOption(threads())
    .addOption(set())
    .addOption(data())
    .action(async (file: string, name: string | undefined, options: ExplainFlags) => {
      const { explain } = await import('./explain.ts');
      finish(await explain(file, name, { ...options, run: options.run === true }, terminal));
    });
  program
    .command('doctor')
    .description('Say what this machine has, and for what is missing the command that gives it.')
    .option('--save <file>', 'measure it, and write what `nacre plan --device` reads elsewhere')
    .addOption(json())
    .action(async ({ json: isJson, save }: { json?: boolean; save?: string }) => {
      const { doctor } = await import('./doctor.ts');
      finish(await doctor({ json: isJson === true, ...(save !== undefined && { save }) }, terminal));
    });
  program
    .command('new')
    .description('Write a small project that trains at once into a new folder.')
    .argument('<folder>')
    .action(async (folder: string) => {
      const { createProject } = await import('./new.ts');
      finish(await createProject(folder, terminal));
    });
  for (const command of program.commands)
    command.exitOverride().configureOutput({ writeOut: terminal.out, writeErr: terminal.err });
  return program;
}

interface CommonOptions {
  readonly target: TargetName;
  readonly data: readonly string[];
  readonly json?: boolean;
}

interface TrainFlags extends Omit<CommonOptions, 'target'> {
  readonly target?: CommonOptions['target'];
  readonly epochs?: number;
  readonly steps?: number;
  readonly set: readonly string[];
  readonly out: string;
  readonly seed?: number;
  readonly threads?: number;
  readonly memory?: number;
  readonly resume?: string;
}

interface IrFlags {
  readonly stage?: 'model' | 'tensor' | 'loop' | 'tile' | Language;
  readonly format: 'text' | 'json' | 'dot' | 'svg';
  readonly after?: string;
  readonly diff?: string;
  readonly without?: readonly string[];
  readonly only?: readonly string[];
  readonly passes?: boolean;
  readonly bitcode?: string;
  readonly program?: ProgramKind;
  readonly set: readonly string[];
  readonly data: readonly string[];
}

interface PlanFlags {
  readonly batch?: number;
  readonly device?: string;
  readonly threads?: number;
  readonly memory?: number;
  readonly set: readonly string[];
  readonly data: readonly string[];
  readonly json?: boolean;
}

interface BuildFlags {
  readonly output: string;
  readonly target: CodeTarget;
  readonly web?: boolean;
  readonly threads?: number;
  readonly set: readonly string[];
  readonly data: readonly string[];
  readonly json?: boolean;
}

interface ExplainFlags {
  readonly output: string;
  readonly run?: boolean;
  readonly threads?: number;
  readonly set: readonly string[];
  readonly data: readonly string[];
}

const gather = (value: string, before: readonly string[]): readonly string[] => [...before, value];

const names = (value: string): readonly string[] =>
  value
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

const units: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};

/** `200MB`, `1.5 GiB` */
function bytes(value: string): number {
  const [, amount = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(value) ?? [];
  const factor = units[unit.toUpperCase()];
  if (factor === undefined || Number(amount) === 0)
    throw new InvalidArgumentError('It has to be a size, as 200MB or 1.5GiB.');
  return Number(amount) * factor;
}

const whole =
  (least: number) =>
  (value: string): number => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || !Number.isSafeInteger(number) || number < least) {
      throw new InvalidArgumentError(`It has to be a whole number, at least ${least}.`);
    }
    return number;
  };
