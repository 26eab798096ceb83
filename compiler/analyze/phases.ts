/** Which part of a training step a kernel is of, read off what depends on what. */
import type { Buffer } from '../loop/loop.ts';
import type { Cost } from './cost.ts';

/** `forward`: the loss needs it. `update`: it writes weights or states. `backward`: everything between. */
export type Phase = 'forward' | 'backward' | 'update';

/**
 * Of kernels in the order in which they run, each as the costs of its segments. A kernel with segments of several phases is
 * of the one that moves most. In a program without a loss, what any result needs is forward.
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
      return written.some(({ role }) => role === 'param' || role === 'state') ? 'update' : 'backward';
    });
    const moved = (phase: Phase): number =>
      segments.reduce((sum, cost, at) => (own[at] === phase ? sum + cost.bytesRead + cost.bytesWritten : sum), 0);
    phases.push((['update', 'backward', 'forward'] as const).reduce((a, b) => (moved(b) > moved(a) ? b : a)));
  }
  return phases.reverse();
}
