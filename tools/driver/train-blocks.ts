/** The train blocks of a program, bound to the data behind them; what describes the data comes from outside. */
import { Diagnostics, type Diagnostic } from '../../compiler/base/diagnostics.ts';
import type { Span } from '../../compiler/base/source.ts';
import { checkModule } from '../../compiler/elaborate/generic.ts';
import { checkTrain } from '../../compiler/elaborate/check-train.ts';
import { checkDue, stepsOf } from '../../compiler/elaborate/due.ts';
import { findCutOff, leaveOut } from '../../compiler/elaborate/cut-off.ts';
import type { DataDescription } from '../../compiler/elaborate/describe.ts';
import type { Program } from '../../compiler/elaborate/modules.ts';
import type { Override } from '../../compiler/elaborate/overrides.ts';
import { planTrain, type BoundData } from '../../compiler/elaborate/step.ts';
import { elaborateTest, type TestCase } from '../../compiler/elaborate/tests.ts';
import { resolveTrain, type TrainBlock } from '../../compiler/elaborate/train.ts';
import type { TrainDeclaration } from '../../grammar/ast.ts';
import { orderSamples } from '../../runtime/data/order.ts';
import { nearestName, UserError } from '../../runtime/errors.ts';
import type { DataPlan, TrainPlan } from '../../runtime/program.ts';
import { Diagnosed, diagnosed } from './diagnosed.ts';

/** A train block that can run: its data was found. */
export interface RunnableTrain {
  readonly block: TrainBlock;
  readonly plan: TrainPlan;
  readonly data: BoundData;
}

export interface TrainBlocks {
  /** Names of the train blocks. */
  readonly trains: readonly string[];
  /** Everything that is wrong with the file, in the order of its text. */
  check(): Diagnostic[];
  /** A train block by name, or the only one; throws UserError, or Diagnosed with what is wrong in the file. */
  train(name?: string): Promise<RunnableTrain>;
  tests(): TestCase[];
}

/** Says what a data plan gives; `line` is the one that asks for it. */
export type Describe = (plan: DataPlan, line: Span | undefined) => Promise<DataDescription>;

/** What messages call the program, and how one of its blocks is asked for there. */
export interface Shown {
  readonly name: string;
  readonly ask: (block: string) => string;
}

export function trainBlocks(
  program: Program,
  shown: Shown,
  describe: Describe,
  overrides: readonly Override[] = [],
): TrainBlocks {
  const declarations = program.entry.loaded.tree.declarations.filter(
    (declaration): declaration is TrainDeclaration => declaration.kind === 'train',
  );
  return {
    trains: declarations.map(({ name }) => name.name),
    check() {
      const diagnostics = new Diagnostics();
      program.diagnostics.all.forEach((diagnostic) => diagnostics.report(diagnostic));
      for (const module of program.modules) if (module === program.entry) checkModule(module, diagnostics);
      for (const declaration of declarations) {
        const block = resolveTrain(declaration, program.entry.scope, diagnostics, overrides);
        if (block === undefined) continue;
        checkTrain(block, diagnostics);
        const steps = stepsOf(block, samplesWithoutLooking(block.data.plan));
        if (diagnostics.isEmpty && steps !== undefined) checkDue(block, steps, diagnostics);
      }
      for (const test of testsOf(program))
        if (test.rejects === undefined) test.diagnostics.forEach((diagnostic) => diagnostics.report(diagnostic));
      return diagnostics.sorted();
    },
    async train(name) {
      // First: a block that seems not to be there may be one that could not be read.
      if (!program.diagnostics.isEmpty) throw new Diagnosed(program.diagnostics.sorted());
      const declaration = choose(declarations, name, shown);
      const diagnostics = new Diagnostics();
      const written = resolveTrain(declaration, program.entry.scope, diagnostics, overrides);
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

/** Refuses a block that asks for pruning which its own number of steps never comes to. */
export function refuseNeverDue({ block, data }: RunnableTrain): void {
  const diagnostics = new Diagnostics();
  const steps = stepsOf(block, data.train.count);
  if (steps !== undefined) diagnosed(diagnostics, () => checkDue(block, steps, diagnostics));
}

/** The number of samples, where the data are no files. */
function samplesWithoutLooking(plan: DataPlan): number | undefined {
  const sourceOf = (of: DataPlan): DataPlan => ('of' in of ? sourceOf(of.of) : of);
  const source = sourceOf(plan);
  return source.kind === 'generate' ? orderSamples(plan, source.count).count : undefined;
}

function testsOf(program: Program): TestCase[] {
  return program.entry.loaded.tree.declarations.flatMap((declaration) =>
    declaration.kind === 'test' ? elaborateTest(declaration, program.entry.scope) : [],
  );
}

function choose(declarations: readonly TrainDeclaration[], name: string | undefined, shown: Shown): TrainDeclaration {
  const names = declarations.map((declaration) => declaration.name.name);
  if (declarations.length === 0) throw new UserError('no-train', `${shown.name} has no train block.`);
  if (name === undefined) {
    if (declarations.length === 1) return declarations[0];
    throw new UserError(
      'which-train',
      `${shown.name} has ${declarations.length} train blocks: ${names.join(', ')}.`,
      `Say which${shown.ask(names[0])}.`,
    );
  }
  const found = declarations.find((declaration) => declaration.name.name === name);
  if (found !== undefined) return found;
  const near = nearestName(name, names);
  throw new UserError(
    'unknown-train',
    `${shown.name} has no train block \`${name}\`; it has ${names.join(', ')}.`,
    near === undefined ? undefined : `Did you mean \`${near}\`?`,
  );
}
