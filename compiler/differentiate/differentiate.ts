/** Reverse-mode differentiation: appends to a graph the nodes that compute the gradient of a loss. */
import type { Builder } from '../graph/build.ts';
import type { Value } from '../graph/graph.ts';
import { isFloat } from '../types/dtype.ts';
import { sweep } from '../ops/sweep.ts';

/**
 * The gradients of a scalar float `loss` with respect to each of `wrt`, in its type: zeros where the loss does not
 * depend
 * on it. Gradients flow through float values only; each appended node has the origin of the node it is the adjoint of.
 */
export function differentiate(build: Builder, loss: Value, wrt: readonly Value[]): Value[] {
  const { dtype, shape } = loss.type;
  if (!isFloat(dtype) || shape.length !== 0) throw new Error('only a scalar float has a gradient');
  const seed = build.constant(1, dtype);
  const adjoints = sweep(build, [...build.nodes], new Map([[loss, seed]]), wrt);
  return wrt.map((value) => adjoints.get(value) ?? build.constant(0, value.type.dtype, value.type.shape));
}
