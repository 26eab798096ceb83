/** The programs of a train block, compiled on a target when the trainer first asks for them. */
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { showPlace } from '../../compiler/base/source.ts';
import { buildPrune, buildSnapshot } from '../../compiler/elaborate/masks.ts';
import { buildCalibration, buildQuantize } from '../../compiler/elaborate/quantize.ts';
import { buildEvaluation, buildInit, buildStep, type BoundData } from '../../compiler/elaborate/step.ts';
import type { TrainBlock } from '../../compiler/elaborate/train.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { optimize } from '../../compiler/optimize/index.ts';
import { probeCasts, type Probe } from '../../compiler/optimize/probe-casts.ts';
import type { Executable, Programs } from '../../runtime/program.ts';
import { chooseInputs } from '../../runtime/step.ts';
import { diagnosed } from './diagnosed.ts';
import type { Target } from './targets/backend.ts';

export function createPrograms(block: TrainBlock, data: BoundData, target: Target): Programs {
  const loaded = new Map<string, Promise<Executable>>();
  const once = (key: string, build: (diagnostics: Diagnostics) => Graph): Promise<Executable> => {
    const known = loaded.get(key);
    if (known !== undefined) return known;
    const executable = target.load(built(build));
    loaded.set(key, executable);
    return executable;
  };
  return {
    session: target.session,
    init: () => once('init', (diagnostics) => buildInit(block, diagnostics)),
    step: (batch, phase) =>
      once(`step ${batch} ${phase}`, (diagnostics) => buildStep(block, data.train, batch, phase, diagnostics)),
    evaluate(name, batch) {
      const index = block.evaluations.findIndex((evaluation) => evaluation.name === name);
      return once(`${name} ${batch}`, (diagnostics) =>
        buildEvaluation(block, index, data.evaluations[index], batch, diagnostics),
      );
    },
    prune: (index) => once(`prune ${index}`, (diagnostics) => buildPrune(block, index, diagnostics)),
    calibrate: (batch) =>
      once(`calibrate ${batch}`, (diagnostics) => buildCalibration(block, data.train, batch, diagnostics)),
    quantize: () => once('quantize', () => buildQuantize(block)),
    snapshot: () => once('snapshot', () => buildSnapshot(block)),
    async explainSkip(batch, phase, inputs) {
      const step = optimize(
        built((diagnostics) => buildStep(block, data.train, batch, phase, diagnostics)),
        { after: 'remove-casts' },
      );
      const { graph, probes } = probeCasts(step);
      const program = await target.load(graph);
      const peaks = await program.run(chooseInputs(program, inputs, new Map()));
      for (const probe of probes) {
        const size = peaks.get(probe.name)?.[0] ?? 0;
        if (!(size <= largest[probe.dtype])) return explainOverflow(probe, size);
      }
      return undefined;
    },
  };
}

/** The largest finite numbers. */
const largest = { f16: 65_504, bf16: 3.3895313892515355e38 } as const;

function explainOverflow({ dtype, origin: { path, span } }: Probe, size: number): { text: string; hint: string } {
  const where = span === undefined ? '' : ` (${showPlace(span)})`;
  const what = path === undefined ? `a value of the loss${where}` : `\`${path}\`${where}`;
  const found = Number.isFinite(size) ? `reaches ${Math.round(size).toLocaleString('en')}` : 'is not finite';
  // The model itself is not an exception but everything.
  const hints = [
    ...(path?.includes('.') === true ? [`Keep it in f32: \`precision = … except ${path}\`.`] : []),
    ...(dtype === 'f16' ? ['bf16 goes as far as f32: `precision = mixed(bf16)`.'] : []),
  ];
  return {
    text: `${what} ${found}, and ${dtype} ends at ${largest[dtype].toLocaleString('en')}.`,
    hint: hints.join(' '),
  };
}

/** A batch of another size than the one that was checked (the last of an epoch) may be what a file does not allow. */
function built(build: (diagnostics: Diagnostics) => Graph): Graph {
  const diagnostics = new Diagnostics();
  return diagnosed(diagnostics, () => build(diagnostics));
}
