/** A step from its first to its last kernel, each as wide as it takes; and the kernels as a graph of who reads what whom wrote. */
import { printDot, type DotEdge } from '../../compiler/analyze/dot.ts';
import type { Buffer } from '../../compiler/loop/loop.ts';
import { showBytes } from '../driver/numbers.ts';
import { anchorOf, escapeHtml, timeText } from './html.ts';
import { secondsOf, type KernelView } from './view.ts';

const width = 1000;
const height = 46;

/** Bars as wide as the time of each kernel, or as its bytes where no time is known. */
export function renderTimeline(kernels: readonly KernelView[]): string {
  const weightOf = (kernel: KernelView): number =>
    secondsOf(kernel) ?? kernel.runs * (kernel.cost.bytesRead + kernel.cost.bytesWritten);
  const total = kernels.reduce((sum, kernel) => sum + weightOf(kernel), 0);
  let at = 0;
  const bars = kernels.map((kernel) => {
    const wide = (width * weightOf(kernel)) / total;
    const x = at;
    at += wide;
    const label =
      wide > kernel.kernel.name.length * 8 + 4
        ? `<text x="${(x + wide / 2).toFixed(1)}" y="${height / 2 + 4}">${escapeHtml(kernel.kernel.name)}</text>`
        : '';
    return `<a href="#${anchorOf(kernel)}" class="${kernel.phase}"><title>${escapeHtml(`${kernel.kernel.name} ${kernel.layer}: ${timeText(secondsOf(kernel))}`)}</title><rect x="${x.toFixed(2)}" y="0" width="${Math.max(0.5, wide - 0.6).toFixed(2)}" height="${height}"/>${label}</a>`;
  });
  return `<figure class="timeline"><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="The kernels in order, each as wide as its time">${bars.join('')}</svg></figure>`;
}

/** Kernels in the clusters of their layers, arrows for what one reads of another. */
export function dotOfKernels(name: string, kernels: readonly KernelView[], betweenPhases: boolean): string {
  const writers = new Map<Buffer, KernelView>();
  const edges: DotEdge[] = [];
  for (const kernel of kernels) {
    const bytes = new Map<KernelView, number>();
    for (const [buffer, read] of kernel.cost.reads) {
      const writer = writers.get(buffer);
      if (writer !== undefined && writer !== kernel) bytes.set(writer, (bytes.get(writer) ?? 0) + read);
    }
    for (const [writer, read] of bytes) {
      // What the forward pass leaves for the backward pass would tie a knot around everything else.
      const aside = writer.phase !== kernel.phase;
      if (!aside || betweenPhases)
        edges.push({
          from: writer.kernel.name,
          to: kernel.kernel.name,
          ...(!aside && read >= 65536 && { label: showBytes(read) }),
          aside,
        });
    }
    for (const buffer of kernel.cost.writes.keys()) writers.set(buffer, kernel);
  }
  return printDot(
    name,
    kernels.map((kernel) => ({
      id: kernel.kernel.name,
      lines: [`${kernel.kernel.name}  ${timeText(secondsOf(kernel))}`],
      path: `${kernel.phase}${kernel.layer === '' || kernel.layer === 'optimizer' ? '' : `.${kernel.layer}`}`,
      class: kernel.phase,
      link: `#${anchorOf(kernel)}`,
    })),
    edges,
  );
}
