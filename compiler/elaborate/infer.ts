/** A model of a train block applied to inputs, as it runs after training: what is asked of it outside of evaluations. */
import type { Diagnostics } from '../base/diagnostics.ts';
import { diagnose, Problem } from '../base/diagnostics.ts';
import type { Graph } from '../graph/graph.ts';
import { createBuilder } from '../ops/builder.ts';
import type { TensorType } from '../types/tensor.ts';
import { applyValue, createContext } from './evaluate.ts';
import { lowered } from './step.ts';
import type { TrainBlock } from './train.ts';
import { describe, tensor } from './value.ts';

/** The inputs are `x0`, `x1` and so on, the results `y0`, `y1`: one, or as many as the model gives. */
export function buildInference(
  block: TrainBlock,
  root: string,
  inputs: readonly TensorType[],
  diagnostics: Diagnostics,
): Graph {
  const model = block.roots.get(root);
  if (model === undefined) throw new Error(`${block.name} has no model ${root}`);
  const name = `${block.name}.${root}`;
  const build = createBuilder(name);
  const context = createContext(build, diagnostics);
  const operands = inputs.map((type, at) => tensor(build.input(`x${at}`, 'batch', type)));
  // The line that makes the model: it is applied nowhere in the text.
  const line = block.declaration.entries.find((entry) => entry.kind === 'setting' && entry.name.name === root);
  const { span } = line ?? block.declaration.name;
  const given = applyValue(context, model, operands, span);
  const results = given.kind === 'tuple' ? given.elements : [given];
  const values = results.map((result) => {
    if (result.kind === 'tensor') return result.value;
    throw new Problem(
      diagnose('wrong-kind', { what: `What \`${root}\` gives`, wanted: 'a tensor', found: describe(result) }, [
        { span, text: '' },
      ]),
    );
  });
  const forward = lowered(block, name, { context, values }, 'integers');
  forward.values.forEach((value, at) => forward.context.root.output(`y${at}`, 'result', value));
  return forward.context.root.finish();
}
