/** What is wrong with a model's text, for whoever calls. */
import { renderDiagnostic } from '../../compiler/base/diagnostics.ts';
import { Diagnosed } from '../driver/diagnosed.ts';

/** What is wrong with a model's text, as `nacre check` would say it. */
export class ModelError extends Error {}

export async function explained<Result>(act: () => Promise<Result>): Promise<Result> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof Diagnosed)) throw error;
    throw new ModelError(error.diagnostics.map((one) => renderDiagnostic(one, { color: false })).join('\n\n'));
  }
}
