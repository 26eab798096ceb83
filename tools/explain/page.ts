/**
 * `nacre explain`: one HTML page that says what the compiler made of a train block. It needs nothing but itself: no
 * network, no script; sections fold with details and summary, pictures are SVG.
 */
import { elementCount, totalElements } from '../../common/elements.ts';
import type { AnalyzedProgram } from '../driver/analysis.ts';
import { drawSvg } from '../driver/draw.ts';
import { showBytes, showCount, showFlops, showRate, showSeconds } from '../driver/numbers.ts';
import { renderFusion } from './fusion.ts';
import { escapeHtml, facts, table, typeText } from './html.ts';
import { renderKernels } from './kernels.ts';
import { renderLayers } from './layers.ts';
import { renderAsked } from './asked.ts';
import { renderMemory } from './memory.ts';
import { renderPasses } from './passes.ts';
import { style } from './style.ts';
import { dotOfKernels, renderTimeline } from './timeline.ts';
import { secondsOf, viewKernels, viewLayers, type Explained, type KernelView } from './view.ts';

/** Points of a picture's width that can still be read when it is made as wide as the page. */
const mostShrunk = 1300;

const fits = (picture: string): boolean =>
  Number(/<svg width="([\d.]+)pt"/.exec(picture)?.[1] ?? Infinity) <= mostShrunk;

/** More boxes than this are a knot with what is kept between the phases. */
const mostTied = 24;

/** More boxes than this make no picture that says anything. */
const mostDrawn = 160;

/** Few kernels with what is kept between the phases, where that is no wider than the page; then it stands open. */
async function renderGraph(name: string, kernels: readonly KernelView[]): Promise<string> {
  if (kernels.length > mostDrawn) return `<p>${kernels.length} kernels are too many for a picture.</p>`;
  const whole = kernels.length > mostTied ? undefined : await drawSvg(dotOfKernels(name, kernels, true));
  const tied = whole !== undefined && fits(whole);
  const picture = tied ? whole : await drawSvg(dotOfKernels(name, kernels, false));
  const between = tied
    ? ', a dashed one what is kept from one phase for another'
    : '; what is kept from one phase for another is not drawn';
  return `<p>Kernels by phase and layer; an arrow is what one reads of another${between}. Each box leads to its kernel below.</p><details${kernels.length > mostTied ? '' : ' open'}><summary>The picture</summary><div class="scroll graph${fits(picture) ? ' whole' : ''}">${picture}</div></details>`;
}

export async function renderPage(explained: Explained): Promise<string> {
  const {
    project,
    runnable: { block, plan },
    analysis,
    measured,
  } = explained;
  const kernels = viewKernels(explained);
  const { main } = analysis;
  const once = main.kind === 'step' ? 'step' : 'run';
  const asked = renderAsked(explained.runnable, analysis);
  const weights = totalElements(plan.parameters);
  const sections: readonly (readonly [string, string, string])[] = [
    ['step', titleOf(main), `${renderTimeline(kernels)}${legend(main, kernels)}${timesText(explained, kernels)}`],
    ['model', 'The model and its kernels', renderLayers(viewLayers(block), kernels)],
    ['graph', 'The graph', await renderGraph(main.name, kernels)],
    ['kernels', 'Every kernel', renderKernels(kernels)],
    ['memory', 'Memory', renderMemory(main.analysis.memory, kernels)],
    ['passes', 'Passes', renderPasses(main.graph)],
    ['fusion', 'Fusion', renderFusion(main.stages.decisions)],
    ...(asked === '' ? [] : [['asked', 'Pruned, quantized, computed again', asked] as const]),
    ['parameters', 'Parameters', renderParameters(explained)],
    [
      'source',
      'Source',
      `<details><summary>${escapeHtml(project.path)}</summary><pre>${escapeHtml(project.source.text)}</pre></details>`,
    ],
  ];
  const header = facts([
    ['weights', showCount(weights), showBytes(analysis.memory.parameters)],
    ['batch', showCount(main.kind === 'eval' ? plan.evaluations[0].batch : analysis.batch)],
    [
      'kernels',
      showCount(kernels.length),
      `${kernels.reduce((sum, { runs, launches }) => sum + runs * launches, 0)} launches`,
    ],
    ['computes', showFlops(main.analysis.flops)],
    ['moves', showBytes(main.analysis.traffic)],
    ['peak memory', showBytes(analysis.memory.peak)],
    ...(main.analysis.seconds === undefined
      ? []
      : [['predicted', showSeconds(main.analysis.seconds), `per ${once}`] as const]),
    ...(measured === undefined
      ? []
      : [
          [
            'measured',
            showSeconds(measured.whole),
            `per ${once}, ${showRate(main.analysis.flops / measured.whole, 'FLOP')}`,
          ] as const,
        ]),
  ]);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(block.name)} — explained by Nacre</title><style>${style}</style></head><body>
<header><h1>${escapeHtml(block.name)} <small>${escapeHtml(project.path)}</small></h1>
<p class="lead">${leadOf(main)}: every kernel, where it came from, what it costs.</p>${header}
<nav>${sections.map(([id, title]) => `<a href="#${id}">${escapeHtml(title)}</a>`).join('')}</nav></header>
<main>${sections.map(([id, title, body]) => `<section id="${id}"><h2>${escapeHtml(title)}</h2>${body}</section>`).join('\n')}</main>
</body></html>
`;
}

const titleOf = ({ kind }: AnalyzedProgram): string =>
  kind === 'step' ? 'The step' : kind === 'eval' ? 'The evaluation' : 'The codes of the weights';

/** A block that takes no step shows what it runs. */
function leadOf({ kind, name }: AnalyzedProgram): string {
  if (kind === 'step') return 'What one training step is made of';
  return kind === 'eval'
    ? `Nothing is trained here, so no step is taken; this is what a batch of ${escapeHtml(name)} is made of`
    : 'Nothing is trained or measured here; this is what computes the codes of the weights';
}

function legend({ kind }: AnalyzedProgram, kernels: readonly KernelView[]): string {
  const total = kernels.reduce((sum, kernel) => sum + (secondsOf(kernel) ?? 0), 0);
  return `<p class="legend">${(['forward', 'backward', 'update'] as const)
    .map((phase) => {
      const own = kernels.filter((kernel) => kernel.phase === phase);
      if (kind !== 'step' && own.length === 0) return '';
      const seconds = own.reduce((sum, kernel) => sum + (secondsOf(kernel) ?? 0), 0);
      return `<span class="kernel ${phase}">${phase}</span> ${own.length} kernel${own.length === 1 ? '' : 's'}${total > 0 ? `, ${showSeconds(seconds)}` : ''}`;
    })
    .join('')}</p>`;
}

/** How the times came about. */
function timesText(
  { analysis: { machine, threads, notice, main }, measured }: Explained,
  kernels: readonly KernelView[],
): string {
  if (machine === undefined) return `<p>${escapeHtml(notice ?? '')}</p>`;
  const [near] = machine.bandwidth;
  const far = machine.bandwidth[machine.bandwidth.length - 1];
  const predicted = `Predicted: each kernel takes as long as the slower of its arithmetic and its memory traffic, at what this machine reached with ${threads} thread${threads === 1 ? '' : 's'} just before: ${showRate(machine.contraction, 'FLOP')} in matrix products, ${showRate(near.rate, 'B')} within ${showBytes(near.within)} and ${showRate(far.rate, 'B')} from memory.`;
  if (measured === undefined)
    return `<p class="note">${escapeHtml(predicted)} <code>--run</code> measures every kernel.</p>`;
  const apart = kernels.reduce((sum, kernel) => sum + (secondsOf(kernel) ?? 0), 0);
  return `<p class="note">${escapeHtml(`Measured: every kernel as a program of its own, on real weights and a real batch, the fastest of several runs: ${showSeconds(apart)} in all. As one program it took ${showSeconds(measured.whole)}; predicted were ${showSeconds(main.analysis.seconds ?? 0)}. ${predicted}`)}</p>`;
}

function renderParameters({ runnable: { plan } }: Explained): string {
  const bytes = (field: { readonly shape: readonly number[] }): number => 4 * elementCount(field.shape);
  const states = plan.states.filter(({ buffer }) => !buffer);
  const rows = plan.parameters.map((field) => {
    const own = states.filter(({ name }) => name.endsWith(`.${field.name}`));
    return [
      `<code>${escapeHtml(field.name)}</code>`,
      `<code>${typeText(field)}</code>`,
      showCount(elementCount(field.shape)),
      showBytes(bytes(field)),
      escapeHtml(field.tag ?? ''),
      field.trained ? 'trained' : 'frozen',
      own.map(({ name }) => escapeHtml(name.slice(0, -field.name.length - 1).replace(/^optimizer\./, ''))).join(', '),
    ];
  });
  const buffers = plan.states
    .filter(({ buffer }) => buffer)
    .map((field) => [
      `<code>${escapeHtml(field.name)}</code>`,
      `<code>${typeText(field)}</code>`,
      showCount(elementCount(field.shape)),
      showBytes(bytes(field)),
      '',
      'buffer',
      '',
    ]);
  return table(['name', 'type', 'weights', 'bytes', 'tag', 'kind', 'kept beside it'], [...rows, ...buffers]);
}
