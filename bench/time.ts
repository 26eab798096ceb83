/** Times of something run many times in one process. */

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Milliseconds of a run where the next is begun before the results of one are there, as a trainer does on a device that queues. */
export async function timeQueue(run: () => Promise<unknown>, least = 10): Promise<number> {
  const started = performance.now();
  let ahead = run();
  let count = 0;
  for (; count < least || performance.now() - started < 500; count++) {
    const current = ahead;
    ahead = run();
    await current;
  }
  await ahead;
  return (performance.now() - started) / (count + 1);
}

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
