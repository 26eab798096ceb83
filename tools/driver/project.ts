/**
 * A `.model` file with everything around it: the modules it uses, the folders it may read, its train blocks bound to the data
 * that is there, its tests.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, posix, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Diagnostics, type Diagnostic } from '../../compiler/base/diagnostics.ts';
import { showPlace, type Source, type Span } from '../../compiler/base/source.ts';
import { checkModule } from '../../compiler/elaborate/generic.ts';
import { loadProgram, type Program } from '../../compiler/elaborate/modules.ts';
import { findCutOff, leaveOut } from '../../compiler/elaborate/cut-off.ts';
import { checkTrain } from '../../compiler/elaborate/check-train.ts';
import { planTrain, type BoundData } from '../../compiler/elaborate/step.ts';
import { elaborateTest, type TestCase } from '../../compiler/elaborate/tests.ts';
import type { Override } from '../../compiler/elaborate/overrides.ts';
import { resolveTrain, type TrainBlock } from '../../compiler/elaborate/train.ts';
import type { DataDescription } from '../../compiler/elaborate/describe.ts';
import type { TrainDeclaration } from '../../grammar/ast.ts';
import { describeData } from '../../runtime/data/load.ts';
import { nearestName, placed, UserError } from '../../runtime/errors.ts';
import { grantFiles, type Files } from '../../runtime/files.ts';
import type { DataPlan, TrainPlan } from '../../runtime/program.ts';
import { Diagnosed } from './diagnosed.ts';

export interface ProjectOptions {
  /** Folders that data and weights may be read from, besides the file's own. */
  readonly data?: readonly string[];
  /** `--set path=value` */
  readonly overrides?: readonly Override[];
  /** Stands in for looking at the data. */
  readonly describe?: (plan: DataPlan) => DataDescription;
}

/** A train block that can run: its data was found. */
export interface RunnableTrain {
  readonly block: TrainBlock;
  readonly plan: TrainPlan;
  readonly data: BoundData;
}

export interface Project {
  readonly path: string;
  readonly source: Source;
  readonly program: Program;
  readonly files: Files;
  /** Everything that is wrong with the file, in the order of its text. */
  check(): Diagnostic[];
  /** Names of its train blocks. */
  readonly trains: readonly string[];
  /** A train block by name, or the only one; throws UserError, or Diagnosed with what is wrong in the file. */
  train(name?: string): Promise<RunnableTrain>;
  tests(): TestCase[];
}

/** From `dist/tools/driver/` and from the sources alike: the folder that holds `stdlib/`. */
export const packageRoot = ((): string => {
  const here = dirname(fileURLToPath(import.meta.url));
  const up = resolve(here, '../..');
  return up.endsWith(`${posix.sep}dist`) ? dirname(up) : up;
})();

export async function openProject(path: string, options: ProjectOptions = {}): Promise<Project> {
  const folder = dirname(resolve(path));
  // A module of the standard library is the same one, whether it is opened or used.
  const name = folder === join(packageRoot, 'stdlib') ? `stdlib/${basename(path)}` : path;
  const source = { name, text: readModel(path) };
  const files = grantFiles({ modelFolder: folder, data: options.data ?? [] });
  const program = loadProgram(source, (name, from) => readModule(name, from, path, files), standardModules());
  const declarations = program.entry.loaded.tree.declarations.filter(
    (declaration): declaration is TrainDeclaration => declaration.kind === 'train',
  );
  const trains = declarations.map(({ name }) => name.name);

  const describe = async (plan: DataPlan, line: Span | undefined): Promise<DataDescription> => {
    try {
      return options.describe?.(plan) ?? (await describeData(plan, files));
    } catch (error) {
      throw placed(error, line === undefined ? undefined : showPlace(line));
    }
  };

  return {
    path,
    source,
    program,
    files,
    trains,
    check() {
      const diagnostics = new Diagnostics();
      program.diagnostics.all.forEach((diagnostic) => diagnostics.report(diagnostic));
      for (const module of program.modules) if (module === program.entry) checkModule(module, diagnostics);
      for (const declaration of declarations) {
        const block = resolveTrain(declaration, program.entry.scope, diagnostics, options.overrides);
        if (block !== undefined) checkTrain(block, diagnostics);
      }
      for (const test of testsOf(program))
        if (test.rejects === undefined) test.diagnostics.forEach((diagnostic) => diagnostics.report(diagnostic));
      return diagnostics.sorted();
    },
    async train(name) {
      const declaration = choose(declarations, name, path);
      if (!program.diagnostics.isEmpty) throw new Diagnosed(program.diagnostics.sorted());
      const diagnostics = new Diagnostics();
      const written = resolveTrain(declaration, program.entry.scope, diagnostics, options.overrides);
      if (written === undefined) throw new Diagnosed(diagnostics.sorted());
      const line = declaration.entries.find((entry) => entry.kind === 'setting' && entry.name.name === 'data');
      const data = {
        train: await describe(written.data.plan, line?.span),
        evaluations: await Promise.all(
          written.evaluations.map((evaluation) => describe(evaluation.data.plan, evaluation.declaration.span)),
        ),
      };
      const metrics = checkTrain(written, diagnostics, data);
      if (!diagnostics.isEmpty) throw new Diagnosed(diagnostics.sorted());
      const block = leaveOut(written, findCutOff(written, data));
      return { block, plan: planTrain(block, data, metrics, diagnostics), data };
    },
    tests: () => testsOf(program),
  };
}

function testsOf(program: Program): TestCase[] {
  return program.entry.loaded.tree.declarations.flatMap((declaration) =>
    declaration.kind === 'test' ? elaborateTest(declaration, program.entry.scope) : [],
  );
}

function choose(declarations: readonly TrainDeclaration[], name: string | undefined, path: string): TrainDeclaration {
  const names = declarations.map((declaration) => declaration.name.name);
  if (declarations.length === 0) throw new UserError('no-train', `${path} has no train block.`);
  if (name === undefined) {
    if (declarations.length === 1) return declarations[0];
    throw new UserError(
      'which-train',
      `${path} has ${declarations.length} train blocks: ${names.join(', ')}.`,
      `Say which, after the file: \`${path} ${names[0]}\`.`,
    );
  }
  const found = declarations.find((declaration) => declaration.name.name === name);
  if (found !== undefined) return found;
  const near = nearestName(name, names);
  throw new UserError(
    'unknown-train',
    `${path} has no train block \`${name}\`; it has ${names.join(', ')}.`,
    near === undefined ? undefined : `Did you mean \`${near}\`?`,
  );
}

function readModel(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT') throw new UserError('no-file', `There is no file ${path}.`);
    if (code === 'EISDIR') throw new UserError('no-file', `${path} is a folder, not a .model file.`);
    if (code === 'EACCES') throw new UserError('no-file', `${path} may not be read.`);
    throw error;
  }
}

const standardModules = (): string[] =>
  readdirSync(join(packageRoot, 'stdlib')).flatMap((file) =>
    file.endsWith('.model') ? [`std.${basename(file, '.model')}`] : [],
  );

/** `std.layers` from the standard library; `./blocks.model` from beside the file that uses it, inside the entry's folder. */
function readModule(name: string, from: Source, entry: string, files: Files): Source | undefined {
  const standard = /^std\.([a-z_]+)$/.exec(name);
  if (standard !== null) {
    const path = join(packageRoot, 'stdlib', `${standard[1]}.model`);
    try {
      return { name: `stdlib/${standard[1]}.model`, text: readFileSync(path, 'utf8') };
    } catch {
      return undefined;
    }
  }
  if (!name.endsWith('.model')) return undefined;
  const path = join(dirname(from.name), name);
  const inside = relative(dirname(entry), path);
  return { name: path, text: new TextDecoder().decode(files.read(inside)) };
}
