/** Which name was meant: what every hint in the compiler and the runtime asks. */

/** The candidate that was probably meant: at most this share of the letters differ. */
export function nearest(name: string, candidates: Iterable<string>, share = 1 / 3): string | undefined {
  let best: string | undefined;
  // One letter is like any other: only its case can be wrong.
  let bestDistance = name.length === 1 ? 1 : Math.max(1, Math.floor(name.length * share)) + 1;
  for (const candidate of candidates) {
    const distance = candidate.toLowerCase() === name.toLowerCase() ? 0.5 : editDistance(name, candidate);
    if (distance < bestDistance && candidate !== name) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours that turn one word into the other. */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let value = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) value = Math.min(value, before[j - 2] + 1);
      next.push(value);
    }
    [before, row] = [row, next];
  }
  return row[b.length];
}
