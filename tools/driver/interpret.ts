/** The interpreter as a device: what it finds wrong with data, or too large, is said as every device says it. */
import { showPlace } from '../../compiler/base/source.ts';
import type { Graph, Origin } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import { IndexOutOfRange, TensorTooLarge, type Arithmetic, type Tensor } from '../../compiler/graph/op.ts';
import { DeviceError } from '../../runtime/program.ts';

/** Runs a graph. Throws DeviceError where the data is wrong, or memory too small. */
export function interpret(
  graph: Graph,
  inputs: ReadonlyMap<string, Tensor>,
  precision: Arithmetic['precision'],
): Map<string, Tensor> {
  return explained(graph.name, () => interpretGraph(graph, inputs, { precision }));
}

/** What the interpreter's own errors mean to a person. */
export function explained<Result>(name: string, act: () => Result): Result {
  try {
    return act();
  } catch (error) {
    if (error instanceof IndexOutOfRange)
      throw new DeviceError(
        `An index was out of range in ${name}: ${error.index} in ${showOrigin(error.origin, name)}, where a label, token or gathered position has to be from 0 to ${error.size - 1}.`,
      );
    if (error instanceof TensorTooLarge)
      throw new DeviceError(
        `${showOrigin(error.origin, name)}: a tensor of type ${error.type.dtype}[${error.type.shape.join(', ')}] is too large for the reference interpreter.`,
      );
    // What JavaScript says where an array does not fit into memory; there is no other mark on it.
    if (error instanceof RangeError && /array (length|buffer allocation)/i.test(error.message))
      throw new DeviceError(`${name} has a tensor that is too large for the reference interpreter.`);
    throw error;
  }
}

function showOrigin(origin: Origin | undefined, name: string): string {
  return origin?.span === undefined ? (origin?.place ?? name) : showPlace(origin.span);
}
