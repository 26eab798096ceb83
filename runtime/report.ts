/** The page of a run: loss and metrics as curves, what was trained and how. One HTML file that needs nothing else. */
import { totalElements } from '../common/elements.ts';
import { drawChart, escapeHtml, shortNumber, type Line, type Point } from './chart.ts';
import type { MetricsLine, RunConfig } from './run-folder.ts';

/** Points in a curve at most; more cannot be seen at its width. */
const mostPoints = 1500;

/** Renders the page from what the run folder holds. */
export function renderReport({ plan, settings, source }: RunConfig, lines: readonly MetricsLine[]): string {
  const steps = lines.filter((line) => line.event === 'step');
  const losses = pointsOf(steps, 'loss');
  const evaluations = measured(lines);
  const lossLines: Line[] = [
    { label: 'each step', style: 'raw', points: thin(losses) },
    { label: 'smoothed', style: 'main', points: thin(smooth(losses)) },
  ];
  const heldLoss = evaluations.find(({ metric }) => metric === 'loss');
  if (heldLoss !== undefined)
    lossLines.push({ label: `loss on ${heldLoss.data}`, style: 'other', points: thin(heldLoss.points) });
  const charts = [
    drawChart({ title: 'Training loss', xLabel: 'step', lines: lossLines }),
    ...evaluations
      .filter((entry) => entry !== heldLoss)
      .map(({ data, metric, points }) =>
        drawChart({
          title: `${metric} on ${data}`,
          xLabel: 'step',
          lines: [{ label: metric, style: 'other', points: thin(points) }],
        }),
      ),
    ...['lr', 'grad_norm'].map((name) =>
      drawChart({
        title: name === 'lr' ? 'Learning rate' : 'Norm of the gradient',
        xLabel: 'step',
        lines: [{ label: name, style: 'main', points: thin(pointsOf(steps, name)) }],
      }),
    ),
  ];
  const count = (trained: boolean): number =>
    totalElements(plan.parameters.filter((field) => field.trained === trained));
  const last = steps.at(-1);
  const facts: [string, string][] = [
    ['steps', String(last?.step ?? 0)],
    ['epochs', String(last?.epoch ?? 0)],
    ['time', duration(Number(last?.seconds ?? 0))],
    ['last loss', shortNumber(Number(last?.loss ?? NaN))],
    ['trained weights', count(true).toLocaleString('en')],
    ...(count(false) > 0 ? [['frozen weights', count(false).toLocaleString('en')] as [string, string]] : []),
    ['batch', plan.accumulate > 1 ? `${plan.batch} × ${plan.accumulate}` : String(plan.batch)],
    ['seed', String(plan.seed)],
    ...evaluations.map(({ data, metric, points }): [string, string] => [
      `${metric} on ${data}`,
      shortNumber(points.at(-1)?.y ?? NaN),
    ]),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(plan.name)} — Nacre run</title><style>${style}</style></head><body>
<h1>${escapeHtml(plan.name)}</h1>
<dl>${facts.map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`).join('')}</dl>
${charts.join('\n')}
${source === undefined ? '' : `<details><summary>${escapeHtml(source.path)}</summary><pre>${escapeHtml(source.text)}</pre></details>`}
<details><summary>Parameters</summary><table><tr><th>name</th><th>shape</th><th>trained</th></tr>${plan.parameters
    .map(
      (field) =>
        `<tr><td>${escapeHtml(field.name)}</td><td>${field.dtype}[${field.shape.join(', ')}]</td><td>${field.trained ? 'yes' : 'frozen'}</td></tr>`,
    )
    .join('')}</table></details>
<details><summary>Settings</summary><pre>${escapeHtml(JSON.stringify(settings, null, 2))}</pre></details>
</body></html>
`;
}

interface Measured {
  readonly data: string;
  readonly metric: string;
  readonly points: readonly Point[];
}

/** The values of every metric of every evaluation, over the steps at which they were measured. */
function measured(lines: readonly MetricsLine[]): Measured[] {
  const found = new Map<string, { data: string; metric: string; points: Point[] }>();
  for (const line of lines) {
    if (line.event !== 'eval') continue;
    const data = String(line.data);
    for (const [metric, value] of Object.entries(line)) {
      if (['event', 'step', 'epoch', 'data'].includes(metric) || typeof value !== 'number') continue;
      const key = `${data}\n${metric}`;
      const entry = found.get(key) ?? { data, metric, points: [] };
      found.set(key, entry);
      entry.points.push({ x: line.step, y: value });
    }
  }
  return [...found.values()];
}

const pointsOf = (lines: readonly MetricsLine[], name: string): Point[] =>
  lines.flatMap((line) => (typeof line[name] === 'number' ? [{ x: line.step, y: line[name] }] : []));

/** The moving average that forgets over about a hundred-and-fiftieth of the run; its first values are not pulled towards zero. */
function smooth(points: readonly Point[]): Point[] {
  const keep = 1 - 1 / Math.max(1, points.length / 150);
  let sum = 0;
  let weight = 0;
  return points.map(({ x, y }) => {
    sum = keep * sum + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    return { x, y: sum / weight };
  });
}

/** Means over neighbours, so that a long run makes a short page. */
function thin(points: readonly Point[]): Point[] {
  const group = Math.ceil(points.length / mostPoints);
  if (group <= 1) return [...points];
  return Array.from({ length: Math.ceil(points.length / group) }, (_, i) => {
    const some = points.slice(i * group, (i + 1) * group);
    return { x: some[0].x, y: some.reduce((sum, { y }) => sum + y, 0) / some.length };
  });
}

function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${Math.floor(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Of pages about a run. */
export const style = `
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --faint: #888; --grid: #e4e4e4; --main: #1b5e9e; --raw: #1b5e9e44; --other: #c2571a; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #161616; --faint: #999; --grid: #333; --main: #6fb1ec; --raw: #6fb1ec55; --other: #f0965a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 800px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; }
dl { display: flex; flex-wrap: wrap; gap: .75rem 2rem; margin: 0 0 1.5rem; } dt { color: var(--faint); font-size: .8rem; } dd { margin: 0; font-variant-numeric: tabular-nums; }
figure { margin: 0 0 1.5rem; } figcaption { font-weight: 600; } small { font-weight: 400; color: var(--faint); }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--faint); font-size: 12px; }
.grid { stroke: var(--grid); } polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
polyline.main { stroke: var(--main); } polyline.raw { stroke: var(--raw); stroke-width: 1; } polyline.other { stroke: var(--other); } circle.main { fill: var(--main); } circle.other { fill: var(--other); }
.legend { margin: 0; font-size: .85rem; } .legend span { margin-right: 1rem; } .legend .main { color: var(--main); } .legend .raw { color: var(--faint); } .legend .other { color: var(--other); }
details { margin: .5rem 0; } summary { cursor: pointer; } pre { overflow-x: auto; background: var(--grid); padding: .75rem; border-radius: 4px; font-size: 13px; }
table { border-collapse: collapse; font-size: 13px; } td, th { text-align: left; padding: .15rem 1rem .15rem 0; }`;
