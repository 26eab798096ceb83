/** What is wrong in a `.model` file, on its way to whoever prints it. */
import type { Diagnostic } from '../../compiler/base/diagnostics.ts';

export class Diagnosed extends Error {
  readonly diagnostics: readonly Diagnostic[];
  constructor(diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map(({ message }) => message).join('\n'));
    this.diagnostics = diagnostics;
  }
}
