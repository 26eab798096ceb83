/** The model as a tree: what each layer was made with, what it owns, and the kernels that its work became. */
import { position } from '../../compiler/base/source.ts';
import { modelTree } from '../../compiler/elaborate/model-text.ts';
import { showBytes, showCount } from '../driver/numbers.ts';
import { bar, escapeHtml, linkTo, timeText, typeText } from './html.ts';
import { secondsOf, type KernelView, type LayerView } from './view.ts';

export function renderLayers(roots: readonly LayerView[], kernels: readonly KernelView[]): string {
  const total = sum(kernels.map((kernel) => secondsOf(kernel) ?? 0));
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
  return `<div class="tree">${roots.map((root) => renderLayer(root, kernels, total, 0)).join('')}${[...others]
    .map(
      ([name, own]) =>
        `<details><summary><b>${escapeHtml(name)}</b> ${share(own, total)}</summary>${kernelList(own)}</details>`,
    )
    .join('')}</div>`;
}

function renderLayer(
  { path, instance, children }: LayerView,
  kernels: readonly KernelView[],
  total: number,
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
  const inside = `${slots.length === 0 ? '' : `<ul class="slots">${slots.join('')}</ul>`}${kernelList(own)}${children.map((child) => renderLayer(child, kernels, total, depth + 1)).join('')}`;
  const place = `${source.name}:${position(source, start).line}`;
  const head = `<b>${escapeHtml(instance.name ?? path)}</b> <span class="layer">${escapeHtml(tree.layer)}</span>${hyper === '' ? '' : ` <small>${escapeHtml(hyper)}</small>`} <small class="place">${escapeHtml(place)}</small> ${share(below, total)}`;
  return inside === ''
    ? `<div class="leaf">${head}</div>`
    : `<details${depth < 1 ? ' open' : ''}><summary>${head}</summary>${inside}</details>`;
}

function share(kernels: readonly KernelView[], total: number): string {
  if (kernels.length === 0) return '';
  const seconds = sum(kernels.map((kernel) => secondsOf(kernel) ?? 0));
  const moved = sum(kernels.map(({ cost, runs }) => runs * (cost.bytesRead + cost.bytesWritten)));
  const time = total > 0 ? `${timeText(seconds)}, ${((100 * seconds) / total).toFixed(0)} %` : '';
  return `<span class="share">${showCount(kernels.length)} kernel${kernels.length === 1 ? '' : 's'} · ${showBytes(moved)}${time === '' ? '' : ` · ${time}`}</span>`;
}

function kernelList(kernels: readonly KernelView[]): string {
  if (kernels.length === 0) return '';
  const most = Math.max(...kernels.map((kernel) => secondsOf(kernel) ?? 0));
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
