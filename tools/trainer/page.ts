/** The page of a built trainer: nothing but what the script fills. */
import { totalElements } from '../../common/elements.ts';
import { escapeHtml } from '../../runtime/chart.ts';
import type { TrainPlan } from '../../runtime/program.ts';
import { style } from '../../runtime/report.ts';

/** `on`: where it computes, in words. */
export function trainerPage({ name, parameters, batch }: TrainPlan, on: string): string {
  const count = totalElements(parameters);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(name)} — a Nacre trainer</title>
<style>${style}
button { font: inherit; padding: .3rem 1rem; margin: 0 1rem 0 0; }
#state { font-variant-numeric: tabular-nums; }</style>
</head><body>
<h1>${escapeHtml(name)}</h1>
<p>${count.toLocaleString('en-US')} parameters, batches of ${batch}, trained in this page on ${on}; nothing leaves it.</p>
<p><button id="start">Train</button><button id="stop" hidden>Stop</button><span id="state" role="status"></span></p>
<div id="charts"></div>
<p id="weights"></p>
<script type="module" src="web/web.js"></script>
</body></html>
`;
}
