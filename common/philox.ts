/**
 * Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw ("Parallel random numbers: as easy as
 * 1, 2, 3", 2011): 128 bits out for 128 bits of counter under a 64-bit key. The compiler and the
 * runtime share it; generated code has its own spelling, held to the same known answers.
 */

const multiplierA = 0xd2511f53;
const multiplierB = 0xcd9e8d57;
const keyStepA = 0x9e3779b9;
const keyStepB = 0xbb67ae85;

/** High 32 bits of the 64-bit product of two unsigned words. */
export function highProduct(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const low = Math.imul(aLow, bLow) >>> 0;
  const middle = (aHigh * bLow + (low >>> 16)) >>> 0;
  const cross = (aLow * bHigh + (middle & 0xffff)) >>> 0;
  return (aHigh * bHigh + (middle >>> 16) + (cross >>> 16)) >>> 0;
}

/** Writes the four words of one block to `out`. */
export function philox(
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  key0: number,
  key1: number,
  out: Uint32Array,
): void {
  let k0 = key0;
  let k1 = key1;
  for (let round = 0; round < 10; round++) {
    const highA = highProduct(multiplierA, c0 >>> 0);
    const lowA = Math.imul(multiplierA, c0);
    const highB = highProduct(multiplierB, c2 >>> 0);
    const lowB = Math.imul(multiplierB, c2);
    c0 = highB ^ c1 ^ k0;
    c1 = lowB;
    c2 = highA ^ c3 ^ k1;
    c3 = lowA;
    k0 = (k0 + keyStepA) | 0;
    k1 = (k1 + keyStepB) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

const block = new Uint32Array(4);

/** Word 0 of one block: what one element of a random tensor takes. */
export function philoxWord(c0: number, c1: number, c2: number, c3: number, key0: number, key1: number): number {
  philox(c0, c1, c2, c3, key0, key1, block);
  return block[0];
}
