/** Every kernel on its own: where it came from, what it reads and writes, what it computes, how long it takes. */
import type { Buffer } from '../../compiler/loop/loop.ts';
import { printStep } from '../../compiler/loop/text.ts';
import { showBytes, showCount, showFlops, showRate, showSeconds } from '../driver/numbers.ts';
import { anchorOf, bar, escapeHtml, facts, quoteLines, table, timeText, typeText } from './html.ts';
import { describe } from './layers.ts';
import { secondsOf, type KernelView } from './view.ts';

export function renderKernels(kernels: readonly KernelView[]): string {
  const most = Math.max(...kernels.map((kernel) => secondsOf(kernel) ?? 0));
  return `<div class="kernels">${kernels.map((kernel) => renderKernel(kernel, most)).join('')}</div>`;
}

function renderKernel(of: KernelView, most: number): string {
  const { kernel, phase, layer, runs, cost, launches, prediction, measured, sources } = of;
  const text: string[] = [];
  printStep(kernel, '', text);
  const intensity = cost.flops / (cost.bytesRead + cost.bytesWritten);
  const seconds = secondsOf(of);
  const bound =
    prediction === undefined
      ? ''
      : prediction.arithmetic > prediction.traffic
        ? 'bound by arithmetic'
        : 'bound by memory';
  const numbers: (readonly [string, string, string?])[] = [
    ['reads', showBytes(cost.bytesRead)],
    ['writes', showBytes(cost.bytesWritten)],
    ['computes', showFlops(cost.flops), `${intensity.toFixed(intensity < 10 ? 1 : 0)} per byte`],
    ['launches', showCount(launches), runs > 1 ? `× ${showCount(runs)} in a loop` : ''],
    ...(prediction === undefined ? [] : [['predicted', showSeconds(runs * prediction.seconds), bound] as const]),
    ...(measured === undefined
      ? []
      : [
          [
            'measured',
            showSeconds(measured.seconds / measured.together),
            measured.together > 1
              ? `a share of ${measured.together} kernels timed together`
              : showRate((runs * cost.flops) / measured.seconds, 'FLOP'),
          ] as const,
        ]),
  ];
  return `<details id="${anchorOf(of)}"><summary><span class="kernel ${phase}">${escapeHtml(kernel.name)}</span> <span class="what">${layer === '' ? '' : `<b>${escapeHtml(layer)}</b> `}${escapeHtml(describe(of))}</span><span class="time">${timeText(seconds)}</span>${bar(seconds ?? 0, most, phase)}</summary>
<div class="body">${facts(numbers)}
${sources.length === 0 ? '' : quoteLines(sources)}
<div class="columns"><div>${uses('reads', cost.reads)}</div><div>${uses('writes', cost.writes)}</div></div>
<details class="ir"><summary>Loop IR</summary><pre>${escapeHtml(text.join('\n'))}</pre></details></div></details>`;
}

const uses = (caption: string, of: ReadonlyMap<Buffer, number>): string =>
  table(
    [caption, 'type', 'bytes', 'from'],
    [...of]
      .sort((a, b) => b[1] - a[1])
      .map(([buffer, bytes]) => [
        `<code>${escapeHtml(buffer.name)}</code>`,
        `<code>${typeText(buffer)}</code>`,
        showBytes(bytes),
        buffer.role,
      ]),
  );
