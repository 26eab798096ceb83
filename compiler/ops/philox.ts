/**
 * Philox4x32-10, the counter-based generator behind every random number: same (key, counter), same bits, on every
 * target.
 */

const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const bump0 = 0x9e3779b9;
const bump1 = 0xbb67ae85;

/** The high 32 bits of a 32×32-bit product, by halves (doubles hold 53 bits only). */
function high(a: number, b: number): number {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const low = a0 * b0;
  const middle = a1 * b0 + (low >>> 16);
  const cross = a0 * b1 + (middle % 0x10000);
  return (a1 * b1 + Math.floor(middle / 0x10000) + Math.floor(cross / 0x10000)) >>> 0;
}

/** The four 32-bit words for a counter of four words under a key of two. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = [high(multiplier0, c0), Math.imul(multiplier0, c0) >>> 0];
    const [high1, low1] = [high(multiplier1, c2), Math.imul(multiplier1, c2) >>> 0];
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + bump0) >>> 0;
    k1 = (k1 + bump1) >>> 0;
  }
  return [c0, c1, c2, c3];
}
