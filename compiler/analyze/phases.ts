/** Which part of a training step a kernel is of, read off what depends on what. */
import { isRange } from '../../common/state-names.ts';
import type { Buffer } from '../loop/loop.ts';
import type { Cost } from './cost.ts';

/**
 * `forward`: the loss needs it, or it is noted for quantization what range values have. `update`: it writes weights or other states.
 * `backward`: everything between; where there is no loss there is no such thing.
 */
export type Phase = 'forward' | 'backward' | 'update';

/**
 * Of kernels in the order in which they run, each as the costs of its segments. A kernel with segments of several phases is
 * of the one that moves most.
 */
export function phasesOf(kernels: readonly (readonly Cost[])[]): Phase[] {
  const results = new Set(
    kernels.flatMap((segments) =>
      segments.flatMap(({ writes }) => [...writes.keys()].filter(({ role }) => role === 'result')),
    ),
  );
  const losses = [...results].filter(({ name }) => name.startsWith('loss.'));
  const needed = new Set<Buffer>(losses.length > 0 ? losses : results);
  const phases: Phase[] = [];
  for (const segments of [...kernels].reverse()) {
    const own = segments.map(({ reads, writes }): Phase => {
      const written = [...writes.keys()];
      if (written.some((buffer) => needed.has(buffer))) {
        for (const buffer of reads.keys()) if (buffer.role === 'temporary') needed.add(buffer);
        return 'forward';
      }
      if (written.some(({ role, name }) => role === 'param' || (role === 'state' && !isRange(name)))) return 'update';
      return losses.length === 0 || written.some(({ name }) => isRange(name)) ? 'forward' : 'backward';
    });
    const moved = (phase: Phase): number =>
      segments.reduce((sum, cost, at) => (own[at] === phase ? sum + cost.bytesRead + cost.bytesWritten : sum), 0);
    phases.push((['update', 'backward', 'forward'] as const).reduce((a, b) => (moved(b) > moved(a) ? b : a)));
  }
  return phases.reverse();
}
