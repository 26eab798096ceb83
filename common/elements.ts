/** How many elements tensors have. */

/** The elements of a tensor of this shape; of a part of a shape, those along its axes. */
export const elementCount = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** The elements of all of them together. */
export const totalElements = (tensors: readonly { readonly shape: readonly number[] }[]): number =>
  tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
