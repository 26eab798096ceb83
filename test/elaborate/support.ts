/** What the tests of the evaluator share: a program from a text, with the standard library behind it. */
import { readFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { Diagnostics, renderDiagnostic } from '../../compiler/base/diagnostics.ts';
import type { Source } from '../../compiler/base/source.ts';
import { checkTrain } from '../../compiler/elaborate/check-train.ts';
import { checkDue, stepsOf } from '../../compiler/elaborate/due.ts';
import { createContext, evaluate } from '../../compiler/elaborate/evaluate.ts';
import type { Context, ContextOptions } from '../../compiler/elaborate/context.ts';
import { checkModule } from '../../compiler/elaborate/generic.ts';
import { loadProgram, type Program } from '../../compiler/elaborate/modules.ts';
import { createScope, type Scope } from '../../compiler/elaborate/scope.ts';
import { evaluateBlock } from '../../compiler/elaborate/statements.ts';
import { resolveTrain } from '../../compiler/elaborate/train.ts';
import type { Value } from '../../compiler/elaborate/value.ts';
import { createBuilder } from '../../compiler/ops/builder.ts';

const stdlib = join(import.meta.dirname, '../../stdlib');

/** Reads `std.…` from the repository; files from `others`. */
export function reader(others: Record<string, string> = {}): (name: string, from: Source) => Source | undefined {
  return (name) => {
    if (name in others) return { name, text: others[name] };
    if (!name.startsWith('std.')) return undefined;
    const path = join(stdlib, `${name.slice('std.'.length)}.model`);
    return existsSync(path)
      ? { name: `stdlib/${name.slice('std.'.length)}.model`, text: readFileSync(path, 'utf8') }
      : undefined;
  };
}

export function load(text: string, others: Record<string, string> = {}, name = 'test.model'): Program {
  return loadProgram({ name, text }, reader(others), ['std.layers', 'std.optim', 'std.pruning']);
}

export interface Run {
  readonly value: Value;
  readonly context: Context;
  readonly diagnostics: Diagnostics;
  readonly scope: Scope;
}

/** Evaluates the body of the first test of a text. */
export function run(text: string, options: ContextOptions = {}, others: Record<string, string> = {}): Run {
  const program = load(text, others);
  const context = createContext(createBuilder('test'), program.diagnostics, options);
  const scope = createScope(program.entry.scope);
  const test = program.entry.loaded.tree.declarations.find((declaration) => declaration.kind === 'test');
  if (test?.kind !== 'test') throw new Error('the text has no test');
  let value: Value = { kind: 'unknown' };
  try {
    value = evaluateBlock(context, scope, test.body, { effects: true });
  } catch (error) {
    if (!(error instanceof Error) || !('diagnostic' in error)) throw error;
    program.diagnostics.report(error.diagnostic as never);
  }
  return { value, context, diagnostics: program.diagnostics, scope };
}

/** Everything that is wrong with a text, as a person sees it. */
export function complaints(text: string, others: Record<string, string> = {}): string {
  const program = load(text, others);
  checkModule(program.entry, program.diagnostics);
  for (const declaration of program.entry.loaded.tree.declarations) {
    if (declaration.kind !== 'train') continue;
    const block = resolveTrain(declaration, program.entry.scope, program.diagnostics);
    if (block === undefined) continue;
    checkTrain(block, program.diagnostics);
    const steps = stepsOf(block, undefined);
    if (program.diagnostics.isEmpty && steps !== undefined) checkDue(block, steps, program.diagnostics);
  }
  return shown(program.diagnostics);
}

export const shown = (diagnostics: Diagnostics): string =>
  diagnostics
    .sorted()
    .map((diagnostic) => renderDiagnostic(diagnostic, { color: false }))
    .join('\n\n');

export { evaluate };
