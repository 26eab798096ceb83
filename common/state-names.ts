/** How states that belong to a weight are called: the compiler makes them, and both sides tell them from others. */

const [mask, range] = ['mask.', 'range.'];

/** Bool, of a pruned weight's shape: what of it stays. */
export const maskName = (path: string): string => `${mask}${path}`;

/** The weight that a mask is of; undefined where it is no mask. */
export const maskedBy = (state: string): string | undefined =>
  state.startsWith(mask) ? state.slice(mask.length) : undefined;

/** The largest size of what a quantized weight is multiplied with. */
export const rangeName = (path: string): string => `${range}${path}`;

export const isRange = (state: string): boolean => state.startsWith(range);
