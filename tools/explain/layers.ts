/** The model as a tree: what each layer was made with, what it owns, and the kernels that its work became. */
import { position } from '../../compiler/base/source.ts';
import { modelTree } from '../../compiler/elaborate/model-text.ts';
import { showBytes, showCount } from '../driver/numbers.ts';
import { bar, escapeHtml, linkTo, timeText, typeText } from './html.ts';
import { secondsOf, type KernelView, type LayerView } from './view.ts';

export function renderLayers(roots: readonly LayerView[], kernels: readonly KernelView[]): string {
  const seconds = kernels.map((kernel) => secondsOf(kernel) ?? 0);
  const scale: Scale = { total: sum(seconds), most: Math.max(0, ...seconds) };
  const known = new Set<string>();
  const note = ({ path, children }: LayerView): void => {
    known.add(path);
    children.forEach(note);
  };
  roots.forEach(note);
  const others = new Map<string, KernelView[]>();
  for (const kernel of kernels)
    if (!known.has(kernel.layer)) {
      const name = kernel.layer === 'optimizer' ? 'optimizer' : kernel.layer === '' ? 'loss and data' : kernel.layer;
      others.set(name, [...(others.get(name) ?? []), kernel]);
    }
  return `<div class="tree">${roots.map((root) => renderLayer(root, kernels, scale, 0)).join('')}${[...others]
    .map(
      ([name, own]) =>
        `<details><summary>${row(`<b>${escapeHtml(name)}</b>`, own, scale)}</summary>${kernelList(own, scale)}</details>`,
    )
    .join('')}</div>`;
}

/** Of the whole step: its seconds, and those of its longest kernel. */
interface Scale {
  readonly total: number;
  readonly most: number;
}

function renderLayer(
  { path, instance, children }: LayerView,
  kernels: readonly KernelView[],
  scale: Scale,
  depth: number,
): string {
  const tree = modelTree(instance);
  const below = kernels.filter(({ layer }) => layer === path || layer.startsWith(`${path}.`));
  const own = kernels.filter(({ layer }) => layer === path);
  const { source, start } = instance.span;
  const hyper = tree.hyper.map(({ name, value }) => `${name} = ${value}`).join(', ');
  const slots = tree.slots.map(
    ({ role, name, dtype, shape, tag }) =>
      `<li>${role} <b>${escapeHtml(name)}</b> <code>${typeText({ dtype, shape })}</code>${tag === undefined ? '' : ` <small>as ${escapeHtml(tag)}</small>`}</li>`,
  );
  const inside = `${slots.length === 0 ? '' : `<ul class="slots">${slots.join('')}</ul>`}${kernelList(own, scale)}${children.map((child) => renderLayer(child, kernels, scale, depth + 1)).join('')}`;
  const { line } = position(source, start);
  const place = `<small class="place" title="${escapeHtml(source.name)}">${escapeHtml(`${source.name.split('/').at(-1) ?? ''}:${line}`)}</small>`;
  const text = `<b>${escapeHtml(instance.name ?? path)}</b> <span class="layer">${escapeHtml(tree.layer)}</span>${hyper === '' ? '' : ` <small>${escapeHtml(hyper)}</small>`} ${place}`;
  const head = row(text, below, scale);
  return inside === ''
    ? `<div class="leaf">${head}</div>`
    : `<details${depth < 1 ? ' open' : ''}><summary>${head}</summary>${inside}</details>`;
}

/** A line of the tree: what it is, and on the right what its kernels take. */
function row(text: string, kernels: readonly KernelView[], { total }: Scale): string {
  if (kernels.length === 0) return `<span class="row"><span>${text}</span></span>`;
  const seconds = sum(kernels.map((kernel) => secondsOf(kernel) ?? 0));
  const moved = sum(kernels.map(({ cost, runs }) => runs * (cost.bytesRead + cost.bytesWritten)));
  const time = total > 0 ? `${timeText(seconds)}, ${((100 * seconds) / total).toFixed(0)} %` : '';
  return `<span class="row"><span>${text}</span><span class="share">${showCount(kernels.length)} kernel${kernels.length === 1 ? '' : 's'} · ${showBytes(moved)}${time === '' ? '' : ` · ${time}`}</span></span>`;
}

function kernelList(kernels: readonly KernelView[], { most }: Scale): string {
  if (kernels.length === 0) return '';
  return `<ul class="kernels">${kernels
    .map((kernel) => {
      const seconds = secondsOf(kernel);
      return `<li>${linkTo(kernel)} <span class="what">${escapeHtml(describe(kernel))}</span> <span class="time">${timeText(seconds)}</span> ${bar(seconds ?? 0, most, kernel.phase)}</li>`;
    })
    .join('')}</ul>`;
}

/** What a kernel does, in a few words: the source text of what it keeps. */
export function describe({ work }: Pick<KernelView, 'work'>): string {
  const texts = work.flatMap(({ text, marks }) => marks.map(([start, end]) => text.slice(start, end).trim()));
  const shown = [...new Set(texts)].slice(0, 2).map((text) => (text.length > 52 ? `${text.slice(0, 50)}…` : text));
  return shown.join('  ·  ') + (texts.length > 2 ? '  · …' : '');
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
