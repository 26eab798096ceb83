/** What is wrong in a `.model` file, on its way to whoever prints it. */
import { Problem, type Diagnostic, type Diagnostics } from '../../compiler/base/diagnostics.ts';

export class Diagnosed extends Error {
  readonly diagnostics: readonly Diagnostic[];
  constructor(diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map(({ message }) => message).join('\n'));
    this.diagnostics = diagnostics;
  }
}

/** Throws what is wrong, collected or thrown on the way, as Diagnosed. */
export function diagnosed<T>(diagnostics: Diagnostics, work: () => T): T {
  try {
    const result = work();
    if (diagnostics.isEmpty) return result;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    diagnostics.report(error.diagnostic);
  }
  throw new Diagnosed(diagnostics.sorted());
}
