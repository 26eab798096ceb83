/** The programs of a train block, compiled on a target when the trainer first asks for them. */
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildEvaluation, buildInit, buildStep, type BoundData } from '../../compiler/elaborate/step.ts';
import type { TrainBlock } from '../../compiler/elaborate/train.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import type { Executable, Programs } from '../../runtime/program.ts';
import type { Target } from './target.ts';

export function createPrograms(block: TrainBlock, data: BoundData, target: Target): Programs {
  const loaded = new Map<string, Promise<Executable>>();
  const once = (key: string, build: (diagnostics: Diagnostics) => Graph): Promise<Executable> => {
    const known = loaded.get(key);
    if (known !== undefined) return known;
    const executable = target.load(build(new Diagnostics()));
    loaded.set(key, executable);
    return executable;
  };
  return {
    session: target.session,
    init: () => once('init', (diagnostics) => buildInit(block, diagnostics)),
    step: (batch, phase) => once(`step ${batch} ${phase}`, (diagnostics) => buildStep(block, data.train, batch, phase, diagnostics)),
    evaluate(name, batch) {
      const index = block.evaluations.findIndex((evaluation) => evaluation.name === name);
      return once(`${name} ${batch}`, (diagnostics) => buildEvaluation(block, index, data.evaluations[index], batch, diagnostics));
    },
  };
}
