/** What lines of the train block make of weights and activations: pruned, quantized, computed again. */
import { elementCount } from '../../common/elements.ts';
import { quantizedWeights } from '../../compiler/elaborate/quantize.ts';
import { typeOf } from '../../compiler/elaborate/compact.ts';
import { slotPath } from '../../compiler/elaborate/value.ts';
import { codesType, scaleType } from '../../compiler/quantize/weights.ts';
import { concrete } from '../../compiler/types/dim.ts';
import { dtypeBytes } from '../../compiler/types/dtype.ts';
import type { TensorType } from '../../compiler/types/tensor.ts';
import type { TrainAnalysis } from '../driver/analysis.ts';
import { describeIdle, idleCheckpoints } from '../driver/idle-checkpoints.ts';
import { describeCutOff } from '../driver/notices.ts';
import type { RunnableTrain } from '../driver/project.ts';
import { showBytes, showCount } from '../driver/numbers.ts';
import { escapeHtml, table } from './html.ts';

/** Empty where nothing was asked for. */
export const renderAsked = (runnable: RunnableTrain, analysis: TrainAnalysis): string =>
  [
    renderPruned(runnable),
    renderQuantized(runnable),
    renderRecomputed(runnable, analysis),
    renderCutOff(runnable),
  ].join('');

function renderPruned({ block }: RunnableTrain): string {
  const rows = block.prunes.flatMap(({ weights, written, structured, globally, every, rewind }) =>
    weights.map((slot) => {
      const before = concrete(slot.type.shape);
      const left = concrete(typeOf(block, slot).shape);
      const when = every === undefined ? 'before the first step' : `every ${every} steps`;
      return [
        code(slotPath(slot)),
        code(written.source.text.slice(written.start, written.end)),
        structured ? `columns: [${before.join(', ')}] → [${left.join(', ')}]` : 'elements, by a mask',
        `${when}${globally ? ', judged together' : ''}${rewind === undefined ? '' : `, back to step ${rewind}`}`,
        structured ? '' : showBytes(elementCount(concrete(slot.type.shape))),
      ];
    }),
  );
  return rows.length === 0
    ? ''
    : `<h3>Pruned</h3>${table(['weight', 'pruner', 'what goes', 'when', 'bytes of the mask'], rows)}`;
}

function renderQuantized({ block }: RunnableTrain): string {
  const rows = quantizedWeights(block).map(({ slot, scheme }) => {
    const type = typeOf(block, slot);
    const now = bytes(codesType(type, scheme)) + bytes(scaleType(type, scheme));
    return [
      code(slotPath(slot)),
      `int${scheme.bits}, ${scheme.group === undefined ? 'a scale for each column' : `a scale for ${scheme.group} rows of a column`}`,
      scheme.activations ? 'product of integers' : 'decoded where it is read',
      showBytes(bytes(type)),
      showBytes(now),
    ];
  });
  return rows.length === 0
    ? ''
    : `<h3>Quantized</h3>${table(['weight', 'as', 'evaluations', 'bytes, f32', 'bytes'], rows)}`;
}

function renderRecomputed(runnable: RunnableTrain, analysis: TrainAnalysis): string {
  const { recompute } = runnable.block;
  if (recompute.length === 0) return '';
  const layers = `${showCount(recompute.length)} layer${recompute.length === 1 ? '' : 's'}`;
  const idle = idleCheckpoints(runnable, analysis).map((one) => ` ${escapeHtml(describeIdle(one))}.`);
  return `<h3>Computed again</h3><p>For the backward pass, instead of being kept: the activations of ${layers}, ${recompute.map((path) => code(path)).join(', ')}.${idle.join('')}</p>`;
}

function renderCutOff({ block }: RunnableTrain): string {
  const text = describeCutOff(block);
  return text === undefined ? '' : `<h3>Left out</h3><p>${escapeHtml(text)}.</p>`;
}

const code = (text: string): string => `<code>${escapeHtml(text)}</code>`;
const bytes = ({ shape, dtype }: TensorType): number => elementCount(concrete(shape)) * dtypeBytes[dtype];
