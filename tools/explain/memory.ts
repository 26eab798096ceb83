/** Memory over the step as a picture: every temporary a box, from its first to its last launch, at its place in the arena. */
import type { MemoryOverTime } from '../../compiler/analyze/lifetimes.ts';
import { showBytes } from '../driver/numbers.ts';
import { escapeHtml, table, typeText } from './html.ts';
import type { KernelView } from './view.ts';

const width = 960;
const height = 340;
const left = 64;
const curveHeight = 90;

export function renderMemory(memory: MemoryOverTime, kernels: readonly KernelView[]): string {
  if (memory.lifetimes.length === 0) return '<p>No temporaries are needed.</p>';
  const x = (moment: number): number => left + ((width - left) * moment) / memory.moments.length;
  const y = (offset: number): number => height - (height * offset) / memory.arena;
  const kernelAt = (moment: number): KernelView | undefined => kernels.findLast((kernel) => kernel.moment <= moment);
  const boxes = memory.lifetimes.map(({ name, buffer, bytes, offset, first, last }) => {
    const top = y(offset + bytes);
    const box = { x: x(first), width: Math.max(1, x(last + 1) - x(first)), height: Math.max(0.75, y(offset) - top) };
    const from = kernelAt(first);
    const full = `${name} ${from?.layer.replace(/^[^.]*\./, '') ?? ''}`.trimEnd();
    const text = [full, name].find((one) => box.width > one.length * 6.3 + 10);
    const label =
      box.height > 13 && text !== undefined
        ? `<text x="${(box.x + 5).toFixed(1)}" y="${(top + box.height / 2 + 4).toFixed(1)}">${escapeHtml(text)}</text>`
        : '';
    return `<g class="box ${from?.phase ?? ''}"><title>${escapeHtml(`${name}: ${typeText(buffer)}, ${showBytes(bytes)} at ${showBytes(offset)}\n${from?.kernel.name ?? ''} to ${kernelAt(last)?.kernel.name ?? ''}`)}</title><rect x="${box.x.toFixed(1)}" y="${top.toFixed(1)}" width="${box.width.toFixed(1)}" height="${box.height.toFixed(1)}"/>${label}</g>`;
  });
  const most = Math.max(...memory.alive, 1);
  const curve = memory.alive
    .flatMap(
      (bytes, moment) =>
        [
          [x(moment), bytes],
          [x(moment + 1), bytes],
        ] as const,
    )
    .map(([at, bytes]) => `${at.toFixed(1)},${(curveHeight - (curveHeight * bytes) / memory.arena).toFixed(1)}`)
    .join(' ');
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(
    (share) =>
      `<line class="grid" x1="${left}" x2="${width}" y1="${(height * (1 - share)).toFixed(1)}" y2="${(height * (1 - share)).toFixed(1)}"/><text class="tick" x="${left - 6}" y="${(height * (1 - share) + (share === 1 ? 10 : 4)).toFixed(1)}">${showBytes(memory.arena * share)}</text>`,
  );
  const largest = [...memory.lifetimes].sort((a, b) => b.bytes - a.bytes).slice(0, 12);
  return `<p>The arena is ${showBytes(memory.arena)}; without sharing, the ${memory.lifetimes.length} temporaries would take ${showBytes(memory.unshared)}. At most ${showBytes(most)} are alive at once${memory.arena > 1.01 * most ? `; the other ${showBytes(memory.arena - most)} lie between lives that do not fit together` : ''}. A box is as wide as the launches it lives through and as high as its bytes; it has the colour of the phase that writes it.</p>
<figure class="memory"><svg viewBox="0 0 ${width} ${height + curveHeight + 56}" role="img" aria-label="Lifetimes of temporaries over the launches, at their places in the arena">
<text class="title" x="${left}" y="12">places in the arena</text><g transform="translate(0 20)">${ticks.join('')}${boxes.join('')}</g>
<g transform="translate(0 ${height + 46})"><text class="title" x="${left}" y="-8">bytes alive</text><polygon class="alive" points="${left},${curveHeight} ${curve} ${width},${curveHeight}"/><line class="grid" x1="${left}" x2="${width}" y1="${curveHeight}" y2="${curveHeight}"/><text class="tick" x="${left - 6}" y="10">${showBytes(memory.arena)}</text></g>
</svg><figcaption>${memory.moments.length} launches, from left to right</figcaption></figure>
<details><summary>The largest temporaries</summary>${table(
    ['name', 'type', 'bytes', 'lives', 'place'],
    largest.map(({ name, buffer, bytes, offset, first, last }) => [
      `<code>${escapeHtml(name)}</code>`,
      `<code>${typeText(buffer)}</code>`,
      showBytes(bytes),
      `${kernelAt(first)?.kernel.name ?? ''} to ${kernelAt(last)?.kernel.name ?? ''}`,
      showBytes(offset),
    ]),
  )}</details>`;
}
