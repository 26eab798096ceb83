/** Small pieces of HTML that all sections of the page are made of. */
import { escapeHtml } from '../../runtime/chart.ts';
import { showBytes, showSeconds } from '../driver/numbers.ts';
import type { KernelView, SourceLine } from './view.ts';

export { escapeHtml };

/** Cells that begin with a digit stand to the right. Cells are HTML already. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], caption?: string): string {
  const cell = (tag: string, html: string): string =>
    `<${tag}${/^(?:[\d+−–]|<[ab][^>]*>\d)/.test(html) || html === '' ? ' class="n"' : ''}>${html}</${tag}>`;
  const numeric = head.map((_, at) => rows.length > 0 && rows.every((row) => /^(?:[\d+−–]|$)/.test(row[at] ?? '')));
  return `<div class="scroll"><table>${caption === undefined ? '' : `<caption>${escapeHtml(caption)}</caption>`}<thead><tr>${head.map((text, at) => `<th${numeric[at] ? ' class="n"' : ''}>${escapeHtml(text)}</th>`).join('')}</tr></thead><tbody>${rows
    .map((row) => `<tr>${row.map((html) => cell('td', html)).join('')}</tr>`)
    .join('')}</tbody></table></div>`;
}

export const facts = (of: readonly (readonly [string, string, string?])[]): string =>
  `<dl class="facts">${of.map(([name, value, more]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}${more === undefined || more === '' ? '' : ` <small>${escapeHtml(more)}</small>`}</dd></div>`).join('')}</dl>`;

/** The lines of one file, its name above them, what was compiled marked in them. */
export function quoteLines(lines: readonly SourceLine[]): string {
  const files = [...new Set(lines.map(({ file }) => file))];
  return files
    .map((file) => {
      const own = lines.filter((line) => line.file === file);
      const rows = own.map(({ line, text, marks }, at) => {
        const gap = at > 0 && own[at - 1].line + 1 < line ? '<span class="gap">⋮</span>\n' : '';
        return `${gap}<span class="line">${line}</span>${marked(text, marks)}`;
      });
      return `<figure class="source"><figcaption>${escapeHtml(file)}</figcaption><pre>${rows.join('\n')}</pre></figure>`;
    })
    .join('');
}

function marked(text: string, marks: SourceLine['marks']): string {
  let html = '';
  let at = 0;
  for (const [start, end] of marks) {
    html += `${escapeHtml(text.slice(at, start))}<mark>${escapeHtml(text.slice(start, end))}</mark>`;
    at = end;
  }
  return html + escapeHtml(text.slice(at));
}

export const typeText = ({ dtype, shape }: { readonly dtype: string; readonly shape: readonly unknown[] }): string =>
  `${dtype}${shape.length === 0 ? '' : `[${shape.join(', ')}]`}`;

export const anchorOf = ({ kernel }: Pick<KernelView, 'kernel'>): string => `kernel-${kernel.name}`;
export const linkTo = (of: Pick<KernelView, 'kernel' | 'phase'>): string =>
  `<a class="kernel ${of.phase}" href="#${anchorOf(of)}">${escapeHtml(of.kernel.name)}</a>`;

/** A bar as long as its share of the largest. */
export const bar = (value: number, most: number, phase: string): string =>
  `<span class="bar ${phase}" style="width:${most > 0 ? ((value / most) * 100).toFixed(1) : 0}%"></span>`;

export const timeText = (seconds: number | undefined): string =>
  seconds === undefined ? '–' : seconds < 1e-6 ? '< 1 µs' : showSeconds(seconds);
export const movedText = ({ cost }: Pick<KernelView, 'cost'>): string => showBytes(cost.bytesRead + cost.bytesWritten);
