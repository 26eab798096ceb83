/** Programs that are compiled when they are first asked for; of those that nobody asked for since, only so many are kept. */
import type { Executable } from '../../runtime/program.ts';

export function recentPrograms(limit: number): (key: string, load: () => Promise<Executable>) => Promise<Executable> {
  /** Those asked for last are last. */
  const kept = new Map<string, Executable>();
  return async (key, load) => {
    const program = kept.get(key) ?? (await load());
    kept.delete(key);
    kept.set(key, program);
    if (kept.size > limit) {
      const [[oldest, unused]] = kept;
      kept.delete(oldest);
      await unused.close();
    }
    return program;
  };
}
