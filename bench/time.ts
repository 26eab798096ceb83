/** Times of something run many times in one process. */

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Median milliseconds of a run: a warm-up, then at least `least` runs and at least half a second. */
export async function timeRuns(run: () => Promise<unknown>, least = 10): Promise<number> {
  for (let warm = 0; warm < 3; warm++) await run();
  const times: number[] = [];
  const started = performance.now();
  while (times.length < least || performance.now() - started < 500) {
    const before = performance.now();
    await run();
    times.push(performance.now() - before);
    if (performance.now() - started > 20_000 && times.length >= 3) break;
  }
  return median(times);
}
