/** Every decision of fusion: what runs together, what is kept in memory, and why. */
import type { FusionDecision } from '../../compiler/fuse/fuse.ts';
import { showBytes, showCount } from '../driver/numbers.ts';
import { escapeHtml, table } from './html.ts';

export function renderFusion(decisions: readonly FusionDecision[]): string {
  const made = decisions.filter(({ fused }) => fused).sort((a, b) => b.bytesSaved - a.bytesSaved);
  const kept = decisions.filter(({ fused, consumer }) => !fused && consumer === 'its uses');
  const refused = unique(decisions.filter(({ fused, consumer }) => !fused && consumer !== 'its uses'));
  const saved = made.reduce((sum, { bytesSaved }) => sum + bytesSaved, 0);
  return `<p>${showCount(made.length)} fusions save ${showBytes(saved)} of memory traffic in each step. ${showCount(kept.length)} values are kept in memory rather than computed again at each use, and ${showCount(refused.length)} pairs that share memory could not run together. Everything else is computed where it is used.</p>
<details open><summary>Made <small>${showCount(made.length)}</small></summary>${byReason(made, ({ producer, consumer, bytesSaved }) => [name(producer), name(consumer), showBytes(bytesSaved)], ['what', 'into', 'bytes saved'])}</details>
<details><summary>Kept in memory <small>${showCount(kept.length)}</small></summary>${table(
    ['value', 'why it is not computed again'],
    kept.map(({ producer, reason }) => [name(producer), escapeHtml(reason)]),
  )}</details>
<details><summary>Refused <small>${showCount(refused.length)}</small></summary>${byReason(refused, ({ producer, consumer }) => [name(producer), name(consumer)], ['what', 'with'])}</details>`;
}

const name = (text: string): string => {
  const [, value, layer] = /^(.*?)(?: of (.*))?$/.exec(text) ?? [];
  return `<code>${escapeHtml(value ?? text)}</code>${layer === undefined ? '' : ` <small>${escapeHtml(layer)}</small>`}`;
};

function byReason(
  decisions: readonly FusionDecision[],
  row: (decision: FusionDecision) => readonly string[],
  head: readonly string[],
): string {
  const reasons = [...new Set(decisions.map(({ reason }) => reason))];
  return reasons
    .map((reason) => {
      const own = decisions.filter((decision) => decision.reason === reason);
      const saved = own.reduce((sum, { bytesSaved }) => sum + bytesSaved, 0);
      return `<details class="reason"><summary>${escapeHtml(reason)} <small>${showCount(own.length)}${saved > 0 ? `, ${showBytes(saved)}` : ''}</small></summary>${table(head, own.map(row))}</details>`;
    })
    .join('');
}

/** Fusion may ask about a pair more than once. */
const unique = (decisions: readonly FusionDecision[]): FusionDecision[] => [
  ...new Map(
    decisions.map((decision) => [`${decision.producer}\n${decision.consumer}\n${decision.reason}`, decision]),
  ).values(),
];
