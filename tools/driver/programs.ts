/** The programs of a train block, compiled on a target when the trainer first asks for them. */
import { Diagnostics, Problem } from '../../compiler/base/diagnostics.ts';
import { buildEvaluation, buildInit, buildStep, type BoundData } from '../../compiler/elaborate/step.ts';
import type { TrainBlock } from '../../compiler/elaborate/train.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import type { Executable, Programs } from '../../runtime/program.ts';
import { Diagnosed } from './diagnosed.ts';
import type { Target } from './target.ts';

export function createPrograms(block: TrainBlock, data: BoundData, target: Target): Programs {
  const loaded = new Map<string, Promise<Executable>>();
  const once = (key: string, build: (diagnostics: Diagnostics) => Graph): Promise<Executable> => {
    const known = loaded.get(key);
    if (known !== undefined) return known;
    const executable = target.load(diagnosed(build));
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

/** A batch of another size than the one that was checked (the last of an epoch) may be what a file does not allow. */
function diagnosed(build: (diagnostics: Diagnostics) => Graph): Graph {
  const diagnostics = new Diagnostics();
  try {
    const graph = build(diagnostics);
    if (diagnostics.isEmpty) return graph;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    diagnostics.report(error.diagnostic);
  }
  throw new Diagnosed(diagnostics.sorted());
}
