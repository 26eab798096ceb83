/** What the runtime draws: the order of samples, as a pure function of (seed, epoch). */
import { highProduct, philox } from '../common/philox.ts';

/** The two words of a seed, low first, as programs and Philox keys take it. */
export function seedWords(seed: number): Uint32Array {
  return Uint32Array.of(seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0);
}

/** Philox counter word that keeps the sample order apart from every other stream drawn under the same seed. */
const orderStream = 0x6f726472;

/**
 * A permutation of 0 … count-1 that depends on nothing but (seed, epoch): Fisher and Yates's shuffle, every position drawn
 * without bias from Philox under key `seed` and counter (block, epoch, stream, 0).
 */
export function permutation(count: number, seed: number, epoch: number): Uint32Array {
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) order[i] = i;
  const [key0, key1] = seedWords(seed);
  const words = new Uint32Array(4);
  let used = 4;
  let block = 0;
  const draw = (): number => {
    if (used === 4) {
      philox(block++, epoch, orderStream, 0, key0, key1, words);
      used = 0;
    }
    return words[used++];
  };
  for (let last = count - 1; last > 0; last--) {
    const bound = last + 1;
    let word = draw();
    // The low product word tells whether this draw falls into the part that would favour small positions.
    if (Math.imul(word, bound) >>> 0 < bound) {
      const unfair = (2 ** 32 - bound) % bound;
      while (Math.imul(word, bound) >>> 0 < unfair) word = draw();
    }
    const other = highProduct(word, bound);
    const kept = order[last];
    order[last] = order[other];
    order[other] = kept;
  }
  return order;
}
